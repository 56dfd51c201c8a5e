"""Our share of a provider's quota: each mailbox's, the project's, and requests at once.

How much a request costs is the provider's business; how a window counts is in sliding_window.py.

Promised is that no window of a mailbox's holds more than our share, whichever accounts, tenants and
daemons it was spent by: a run's spending is stored with its outcome, and whoever holds the account
next counts it. Not known is what a holder spent that vanished (half the share is then taken for
spent), and what another account of the same mailbox spends at another daemon at the same time. At
half the provider's limit neither reaches the limit. Accounts are of one mailbox when their
addresses say so; an alias is another mailbox. An address that nothing has proven may be anybody's
claim, so it must not spend the mailbox's quota: a login that is tried counts by itself, as Gmail's
question whose a token is, and Graph, which does not always tell that, counts by tenant.

The project's share is divided evenly among the live daemons, and counted by each from its start: a
window across a restart may hold it twice, which at half the provider's limit is the limit.
"""

import math
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Hashable, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Final, Literal

import anyio

from emailsync.config import LiveSettings
from emailsync.domain.accounts import AccountKey
from emailsync.domain.errors import Throttled
from emailsync.domain.quota_use import QuotaLevel, QuotaUse
from emailsync.domain.retry import THROTTLE_WAIT
from emailsync.ports import Account
from emailsync.providers.gmail.addresses import comparable
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
        self._runs: dict[AccountKey, set[int]] = {}  #: whose spending is counted, by their epochs

    def recall(self, key: AccountKey, epoch: int, use: QuotaUse) -> None:
        """Count what is not counted here: of earlier runs, each once, and of this one's proof."""
        counted = self._runs.get(key, set())
        self._runs[key] = {epoch, *(run.epoch for run in use.earlier)}
        for run in use.earlier:
            if run.epoch not in counted:
                self.window.recall(run.units, seconds_ago=run.seconds_ago)
        if use.units and epoch not in counted:
            self.window.recall(use.units, seconds_ago=0)
        if use.is_partly_unknown and epoch not in counted:
            self.window.recall(int(self.window.limit() / 2), seconds_ago=0)

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
        mailbox_of: Callable[[Account], Hashable],
    ) -> None:
        self.project = SlidingWindow("project's", project_limit, window_s)
        self.parallel = parallel
        self.mailbox_limit = mailbox_limit
        self._window_s = window_s
        self._mailbox_of = mailbox_of
        self._mailboxes: OrderedDict[Hashable, _Mailbox] = OrderedDict()

    def of(self, account: Account) -> "AccountQuota":
        """Return the quota of one account's run; all accounts of one mailbox share it."""
        use = account.quota_use
        if use.epoch is None:
            return self.claimed(account)
        name = self._mailbox_of(account)
        self.mailbox(name).recall(account.key, use.epoch, use)
        return AccountQuota(self, name, use)

    def claimed(self, account: Account) -> "AccountQuota":
        """Return the quota for asking whose mailbox a token opens: it counts by itself."""
        return AccountQuota(self, account.key, account.quota_use)

    def mailbox(self, name: Hashable) -> _Mailbox:
        """Return what is counted of one mailbox, forgetting others that are idle."""
        mailbox = self._mailboxes.get(name)
        if mailbox is None:
            self._forget_idle()
            window = SlidingWindow("mailbox's", self.mailbox_limit, self._window_s)
            mailbox = self._mailboxes[name] = _Mailbox(window, self.parallel)
        return mailbox

    def levels(self) -> Sequence[QuotaLevel]:
        """Return what is used of the project's share, if it has one, and by the busiest mailbox."""
        busiest = max((each.window.used for each in self._mailboxes.values()), default=0)
        counted: Sequence[tuple[Literal["project", "mailbox"], int, float]] = (
            ("project", self.project.used, self.project.limit()),
            ("mailbox", busiest, self.mailbox_limit()),
        )
        return [
            QuotaLevel(of=of, used=used, limit=int(limit), window_s=self._window_s)
            for of, used, limit in counted
            if math.isfinite(limit)
        ]

    def _forget_idle(self) -> None:
        """Look at two mailboxes for each new one: more are forgotten than come."""
        for _ in range(min(2, len(self._mailboxes))):
            name, mailbox = self._mailboxes.popitem(last=False)
            if mailbox.users or not mailbox.window.is_idle:
                self._mailboxes[name] = mailbox


class AccountQuota:
    """One run's use of its mailbox's and the project's quota."""

    def __init__(self, provider: ProviderQuota, mailbox: Hashable, use: QuotaUse) -> None:
        self._provider = provider
        self._mailbox = mailbox
        self._use = use

    @property
    def largest(self) -> int:
        """The units that one request may cost at all: for sizing batches."""
        return int(min(self._provider.mailbox_limit(), self._provider.project.limit()))

    @property
    def left(self) -> int:
        """The units that can be spent now: for sizing batches, too."""
        mailbox, project = self._provider.mailbox(self._mailbox).window, self._provider.project
        return int(min(mailbox.left, project.left))

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
        mailbox, project = self._provider.mailbox(self._mailbox), self._provider.project
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
                self._use.units += units
                try:
                    yield
                finally:
                    mailbox.window.answered(units)
                    project.answered(units)
        finally:
            mailbox.users -= 1

    def pause(self, wait: timedelta) -> None:
        """Send nothing more of this mailbox's accounts for a time."""
        self._provider.mailbox(self._mailbox).window.pause(wait)

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
        mailbox_of=lambda account: comparable(account.email_address),
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
        mailbox_of=lambda account: (account.key.tenant_id, account.email_address.casefold()),
    )
