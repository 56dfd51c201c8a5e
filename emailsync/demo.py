"""`emailsyncd demo`: the whole system on one machine, with nothing installed beside Python.

An embedded Postgres, providers of all three types with many tenants' mailboxes in which things keep
happening, and the real daemon between them; at the end what is stored is held against what lies
there.
"""

import importlib.util
import json
import signal
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import anyio
from pydantic import ValidationError
from rich.console import Console
from rich.live import Live

from emailsync.api.server import bind
from emailsync.config import HttpSettings
from emailsync.crypto import KeyRing, create_secret_file, generate_key_file
from emailsync.demonstration.faults import IMAP_CUT
from emailsync.demonstration.http_providers import (
    APIS,
    CLIENT_ID,
    CLIENT_SECRET,
    NEWCOMERS,
    running_http_providers,
)
from emailsync.demonstration.observer import Observer
from emailsync.demonstration.servers import (
    Daemon,
    DemoFailed,
    running_daemon,
    running_mail_host,
)
from emailsync.demonstration.tenants import enrol, plan_tenants
from emailsync.demonstration.view import Moment, as_line, as_screen, as_summary
from emailsync.domain.accounts import ProviderType
from emailsync.domain.errors import SyncError
from emailsync.emulators.imap_server import LOOPBACK
from emailsync.logs import printable
from emailsync.store.database import open_database
from emailsync.store.embedded import embedded_postgres
from emailsync.store.migrations import migrate

CHANGES_PER_S = 4.0  #: new mail, reading, filing, deleting, over all mailboxes
INTERVALS_S = {"critical_s": 3, "high_s": 5, "normal_s": 8, "low_s": 10}
ACCOUNTS_AT_FULL_PACE = 30  #: with more, the intervals grow: this is one machine, maybe a small one
CATCH_UP_WITHIN_S = 120.0
SCREEN_EVERY_S = 0.5
LINE_EVERY_S = 2.0
USAGE = 2  #: exit code: the command line cannot be used

CONFIG = """\
[email_sync]
state_dir = {state_dir}

[database]
url = {dsn}

[http]
listen = {listen}
public_url = {public_url}

[credentials]
key_file = {key_file}

[imap]
allow_private_hosts = true
allowed_ports = [{imap_port}]

[circuit_breaker]
timeout_ms = 10000

[oauth.google]
client_id = {client_id}
client_secret_file = {client_secret_file}
token_url = {google_token_url}
auth_url = {google_auth_url}
api_url = {google_url}

[oauth.microsoft]
client_id = {client_id}
client_secret_file = {client_secret_file}
authority = {microsoft_authority}
api_url = {microsoft_url}
"""
CONFIG_OF_TYPE = """
[limits.{kind}]
concurrent = 8
per_tenant = 2
interval_ms = 500

[intervals.{kind}]
"""


@dataclass(frozen=True, slots=True)
class _Order:
    tenants: int
    listen: str
    seconds: int | None
    faults: bool


def run_demo(tenants: int, listen: str, seconds: int | None = None, *, faults: bool = False) -> int:
    """Run the demo until Ctrl-C, or for `seconds` and then until everything is stored.

    Args:
        tenants: how many, at least 1; each has one to three accounts.
        listen: `host:port` of the dashboard and the API.
        seconds: how long things happen in the mailboxes; None: until somebody ends the demo.
        faults: whether providers fail now and then; see demonstration/faults.py.

    Returns:
        0 when all was stored or somebody ended it, 1 when something failed or was not stored,
        2 when `listen` is no address.
    """
    try:
        address = HttpSettings(listen=listen).address
    except ValidationError as error:
        message = error.errors()[0]["msg"].removeprefix("Value error, ")
        return _fail(f"--listen: {message}, not {printable(repr(listen))}", code=USAGE)
    try:
        bind(*address).close()
    except OSError as error:
        return _fail(f"--listen: {listen}: {error.strerror}; choose another address or port")
    return anyio.run(_demo, _Order(tenants, listen, seconds, faults))


async def _demo(order: _Order) -> int:
    stage = _Stage()
    if importlib.util.find_spec("pymap") is None:
        return _fail("the demo needs its extra: pip install 'emailsync[demo]'")
    outcome: int | None = None
    with tempfile.TemporaryDirectory(prefix="emailsyncd-demo-") as folder:
        try:
            async with anyio.create_task_group() as group:
                group.start_soon(_cancel_at_signal, group.cancel_scope, name="signals")
                outcome = await _run(order, Path(folder), stage)
                group.cancel_scope.cancel()
        except* (DemoFailed, SyncError) as failures:
            outcome = _fail(str(_first_of(failures)))
    if outcome is None:
        stage.say("Ended by a signal; everything that belonged to the demo is removed.")
        return 0
    return outcome


async def _cancel_at_signal(scope: anyio.CancelScope) -> None:
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)  # SIGHUP: the terminal was closed
    with anyio.open_signal_receiver(*numbers) as signals:
        async for _ in signals:
            scope.cancel()


def _fail(message: str, *, code: int = 1) -> int:
    sys.stderr.write(f"emailsyncd demo: {message}\n")
    return code


def _first_of(failures: BaseExceptionGroup[BaseException]) -> BaseException:
    first = failures.exceptions[0]
    return _first_of(first) if isinstance(first, BaseExceptionGroup) else first


async def _run(order: _Order, folder: Path, stage: "_Stage") -> int:
    tenants = plan_tenants(order.tenants)
    mailboxes = [mailbox for tenant in tenants for mailbox in tenant.mailboxes]
    stage.say(f"Making {len(mailboxes)} mailboxes of {len(tenants)} tenants, and a PostgreSQL ...")
    key_file = folder / "credentials.key"
    generate_key_file(key_file)
    create_secret_file(folder / "client-secret", CLIENT_SECRET)
    async with (
        running_mail_host() as imap,
        running_http_providers() as providers,
        embedded_postgres(folder) as dsn,
    ):
        of_each = CHANGES_PER_S / len(ProviderType)
        cut_share = IMAP_CUT if order.faults else 0.0
        imap_port = await imap.begin(mailboxes, of_each, cut_share=cut_share)
        await providers.begin(mailboxes, of_each, faults=order.faults)
        await migrate(dsn)
        async with open_database(dsn, pool_max=2) as database:
            api_urls = {kind: providers.urls[api] for kind, api in APIS.items()}
            await enrol(database, KeyRing.load(key_file), tenants, imap_port, api_urls)
            config = _write_config(
                order, folder, _places(folder, dsn, imap_port, providers.urls), len(mailboxes)
            )
            async with running_daemon(config, order.listen, folder) as daemon:
                await daemon.wait_until_ready()
                stage.say(_invitation(order, daemon))
                observer = Observer(database, daemon, imap, providers)
                return await _watch(order, stage, observer, daemon)


async def _watch(order: _Order, stage: "_Stage", observer: Observer, daemon: Daemon) -> int:
    """Show what happens; after the ordered time let the daemon catch up and judge the result."""
    quiet_at_s = order.seconds if order.seconds is not None else float("inf")
    quiet = False
    with stage.open():
        while True:
            daemon.check()
            moment = await observer.look(quiet=quiet)
            stage.show(moment)
            if quiet and (moment.is_complete or moment.elapsed_s > quiet_at_s + CATCH_UP_WITHIN_S):
                break
            quiet = moment.elapsed_s >= quiet_at_s
            await anyio.sleep(stage.pause_s)
    stage.say(as_summary(moment))
    return 0 if moment.is_complete else 1


def _places(
    folder: Path, dsn: str, imap_port: int, urls: Mapping[str, str]
) -> Mapping[str, str | int]:
    """Return where everything is, as the settings name it."""
    return {
        "state_dir": str(folder),
        "dsn": dsn,
        "key_file": str(folder / "credentials.key"),
        "imap_port": imap_port,
        "client_id": CLIENT_ID,
        "client_secret_file": str(folder / "client-secret"),
        "google_token_url": f"{urls['oauth']}/google/token",
        "google_auth_url": f"{urls['oauth']}/google/authorize",
        "google_url": urls["gmail"],
        "microsoft_authority": f"{urls['oauth']}/common",
        "microsoft_url": urls["graph"],
    }


def _write_config(
    order: _Order, folder: Path, places: Mapping[str, str | int], accounts: int
) -> Path:
    slower = -(-accounts // ACCOUNTS_AT_FULL_PACE)
    intervals = "".join(f"{key} = {value * slower}\n" for key, value in INTERVALS_S.items())
    values = {"listen": order.listen, "public_url": _public_url(order.listen), **places}
    # A JSON string is a TOML string.
    text = CONFIG.format(**{key: json.dumps(value) for key, value in values.items()})
    text += "".join(CONFIG_OF_TYPE.format(kind=kind) + intervals for kind in ProviderType)
    path = folder / "emailsyncd.toml"
    path.write_text(text)
    return path


def _public_url(listen: str) -> str:
    """Return where a browser on this machine reaches the daemon: the issuers are here alone."""
    if listen.startswith(("127.", "localhost:", "[::1]:")):
        return f"http://{listen}"
    return f"http://{LOOPBACK}:{listen.rpartition(':')[2]}"


def _invitation(order: _Order, daemon: Daemon) -> str:
    return (
        f"The dashboard: {_public_url(order.listen)}/#token={daemon.token()}\n"
        "Open it in a browser. To see how people connect a mailbox, add the account "
        f"{' or '.join(NEWCOMERS.values())} there.\n"
        "Ctrl-C ends the demo and removes everything."
    )


class _Stage:
    """Where the demo shows itself: tables on a terminal, plain lines elsewhere."""

    def __init__(self) -> None:
        self._console = Console()
        self._live: Live | None = None

    @property
    def pause_s(self) -> float:
        """How long one moment is shown."""
        return SCREEN_EVERY_S if self._console.is_terminal else LINE_EVERY_S

    def say(self, text: str) -> None:
        """Show a line that stays."""
        self._console.print(text, highlight=False, markup=False, soft_wrap=True)

    @contextmanager
    def open(self) -> Iterator[None]:
        """Show moments while the context lasts; on a terminal, each in place of the one before."""
        if not self._console.is_terminal:
            yield
            return
        with Live(console=self._console, auto_refresh=False) as self._live:
            yield

    def show(self, moment: Moment) -> None:
        """Show how things are now."""
        if self._live is None:
            self.say(as_line(moment))
        else:
            self._live.update(as_screen(moment), refresh=True)
