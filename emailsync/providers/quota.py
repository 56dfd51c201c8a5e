"""Our share of a provider's quota: each mailbox's, the project's, and requests at once.

How much a request costs is the provider's business; how a window counts is in sliding_window.py.
A mailbox has one holder at a time; the project's quota is shared out evenly among the daemons.
"""

import math
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Final

import anyio

from emailsync.config import LiveSettings
from emailsync.domain.accounts import AccountKey
from emailsync.domain.errors import Throttled
from emailsync.domain.retry import THROTTLE_WAIT
from emailsync.providers.sliding_window import SlidingWindow

PATIENCE_S: Final = (
    2.0  #: the longest wait in place; for a longer one the job gives its worker back
)
MINUTE_S: Final = 60.0
TEN_MINUTES_S: Final = 600.0


class ProjectThrottled(Throttled):
    """The provider asked all accounts of our application for a pause, not this one alone."""


class _Mailbox:
    """What is counted of one mailbox."""

    def __init__(self, window: SlidingWindow, parallel: Callable[[], float]) -> None:
        self.window = window
        self.users = 0  #: requests that wait or run
        self._parallel = parallel
        self._slots = anyio.CapacityLimiter(math.inf)
        self._turn = anyio.Lock()

    @asynccontextmanager
    async def lanes(self, count: int) -> AsyncIterator[None]:
        """Hold `count` slots, or all there are. Its own requests hold them up, so it waits."""
        held: list[object] = []
        try:
            async with self._turn:  # two that hold one each would wait for each other's for ever
                total = self._slots.total_tokens = self._parallel()
                for _ in range(int(min(count, total))):
                    slot = object()
                    await self._slots.acquire_on_behalf_of(slot)
                    held.append(slot)
            yield
        finally:
            for slot in held:
                self._slots.release_on_behalf_of(slot)


class ProviderQuota:
    """The quota of one provider type; one a daemon. Limits are asked for each time."""

    def __init__(
        self,
        *,
        window_s: float,
        mailbox_limit: Callable[[], float],
        project_limit: Callable[[], float],
        parallel: Callable[[], float],
    ) -> None:
        self.project = SlidingWindow("project's", project_limit, window_s)
        self.parallel = parallel
        self.mailbox_limit = mailbox_limit
        self._window_s = window_s
        self._mailboxes: OrderedDict[AccountKey, _Mailbox] = OrderedDict()

    def of(self, key: AccountKey) -> "AccountQuota":
        """Return the quota of one account; all that are asked for the same account share it."""
        return AccountQuota(self, key)

    def mailbox(self, key: AccountKey) -> _Mailbox:
        """Return what is counted of one mailbox, forgetting others that are idle."""
        mailbox = self._mailboxes.get(key)
        if mailbox is None:
            self._forget_idle()
            window = SlidingWindow("mailbox's", self.mailbox_limit, self._window_s)
            mailbox = self._mailboxes[key] = _Mailbox(window, self.parallel)
        return mailbox

    def _forget_idle(self) -> None:
        """Look at two mailboxes for each new one: more are forgotten than come."""
        for _ in range(min(2, len(self._mailboxes))):
            key, mailbox = self._mailboxes.popitem(last=False)
            if mailbox.users or not mailbox.window.is_idle:
                self._mailboxes[key] = mailbox


class AccountQuota:
    """One account's use of the provider's quota."""

    def __init__(self, provider: ProviderQuota, key: AccountKey) -> None:
        self._provider = provider
        self._key = key

    @property
    def largest(self) -> int:
        """The units that one request may cost at all: for sizing batches."""
        return int(min(self._provider.mailbox_limit(), self._provider.project.limit()))

    @property
    def parallel(self) -> float:
        """How many requests the mailbox may have under way at once; may be infinite."""
        return self._provider.parallel()

    @asynccontextmanager
    async def spend(self, units: int, *, lanes: int = 1) -> AsyncIterator[None]:
        """Hold units while a request is under way: entered when it may go, left when it is over.

        Raises:
            QuotaSpent: the units do not free within `PATIENCE_S`.
            Retryable: `units` is more than `largest`.
        """
        mailbox, project = self._provider.mailbox(self._key), self._provider.project
        mailbox.users += 1
        try:
            async with mailbox.lanes(lanes):
                until = anyio.current_time() + PATIENCE_S
                await mailbox.window.take(units, until=until)
                try:
                    await project.take(units, until=until)
                except BaseException:
                    mailbox.window.unsent(units)
                    raise
                try:
                    yield
                finally:
                    mailbox.window.answered(units)
                    project.answered(units)
        finally:
            mailbox.users -= 1

    def pause(self, wait: timedelta) -> None:
        """Send nothing more of this account for a time."""
        self._provider.mailbox(self._key).window.pause(wait)

    def pause_project(self, wait: timedelta | None) -> None:
        """Send nothing more of any account for a time; None: the provider named none."""
        self._provider.project.pause(wait or THROTTLE_WAIT)


def google_quota(settings: LiveSettings) -> ProviderQuota:
    """Return Gmail's quota: units a minute, of each mailbox and of the project."""

    def project_units() -> float:
        limits = settings.current.limits.google
        return limits.project_units_per_minute * limits.utilisation / settings.instances

    def mailbox_units() -> float:
        limits = settings.current.limits.google
        return limits.user_units_per_minute * limits.utilisation

    return ProviderQuota(
        window_s=MINUTE_S,
        mailbox_limit=mailbox_units,
        project_limit=project_units,
        parallel=lambda: math.inf,
    )


def microsoft_quota(settings: LiveSettings) -> ProviderQuota:
    """Return Graph's quota for Outlook: requests in ten minutes and at once, of each mailbox."""

    def mailbox_requests() -> float:
        limits = settings.current.limits.microsoft
        return limits.mailbox_requests_per_10_minutes * limits.utilisation

    def parallel() -> float:
        limits = settings.current.limits.microsoft
        return max(1, int(limits.mailbox_concurrent * limits.utilisation))

    return ProviderQuota(
        window_s=TEN_MINUTES_S,
        mailbox_limit=mailbox_requests,
        project_limit=lambda: math.inf,
        parallel=parallel,
    )
