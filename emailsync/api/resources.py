"""The whole API: the entries of all resources."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from emailsync.api.auth import Gate
from emailsync.api.backend import Reach
from emailsync.api.bell import Bell
from emailsync.api.changes import ChangeReader
from emailsync.api.connect import ConnectStart
from emailsync.api.connect_callback import ConnectCallback
from emailsync.api.dashboard import Dashboard
from emailsync.api.endpoints import Table
from emailsync.api.health import HealthPages
from emailsync.api.logins import Logins
from emailsync.api.messages import Messages
from emailsync.api.overview import Overviews
from emailsync.api.providers import Providers
from emailsync.api.retired import RETIRED
from emailsync.api.sessions import Sessions
from emailsync.api.tenants import Tenants
from emailsync.config import LiveSettings
from emailsync.metrics import Metrics
from emailsync.mime.attachments import AttachmentFinder
from emailsync.ports import Clock


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What the resources are made of."""

    reach: Reach
    gate: Gate
    sessions: Sessions
    bell: Bell  #: rung at every change
    settings: LiveSettings
    clock: Clock
    metrics: Metrics
    is_ready: Callable[[], Awaitable[bool]]


def resources(of: Surroundings) -> Table:
    """Return the table of everything that is served, but the document that describes it."""
    return (
        *HealthPages(of.metrics, of.is_ready).table,
        *Dashboard().table,
        *Logins(of.gate, of.sessions).table,
        *Overviews(of.reach, of.settings, of.metrics, of.clock).table,
        *Providers(of.reach, of.settings).table,
        *ConnectStart(of.reach, of.settings, of.gate).table,
        *ConnectCallback(of.reach, of.settings).table,
        *Tenants(of.reach).table,
        *Messages(of.reach, AttachmentFinder()).table,
        *ChangeReader(of.reach, of.bell, of.settings, of.clock).table,
        *RETIRED,
    )
