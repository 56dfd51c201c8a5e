"""Whose quota a request spends, and what happens when it is spent."""

from collections import deque
from contextlib import suppress
from datetime import timedelta
from random import Random
from uuid import uuid4

import anyio
import pytest

from emailsync.config import GoogleLimits, LimitsSettings, LiveSettings, MicrosoftLimits, Settings
from emailsync.domain.accounts import AccountId, AccountKey, ProviderType, TenantId
from emailsync.domain.errors import QuotaSpent, Retryable
from emailsync.domain.quota_use import QuotaUse, Spending
from emailsync.ports import Account
from emailsync.providers.quota import (
    AccountQuota,
    ProviderQuota,
    google_quota,
    microsoft_quota,
)
from emailsync.simulation.virtual_time import run_virtually


def an_account(
    address: str | None = None, *, key: AccountKey | None = None, use: QuotaUse | None = None
) -> Account:
    """Return an account; unless told otherwise it is the only one of its mailbox."""
    key = key or AccountKey(TenantId("acme"), AccountId(uuid4()))
    return Account(
        key=key,
        provider_type=ProviderType.GOOGLE,
        email_address=address or f"{key.account_id}@example.test",
        settings={},
        credentials={},
        quota_use=use or QuotaUse(epoch=1),
    )


def settings(
    google: GoogleLimits | None = None, microsoft: MicrosoftLimits | None = None
) -> LiveSettings:
    return LiveSettings(Settings(limits=_limits(google, microsoft)))


def _limits(google: GoogleLimits | None, microsoft: MicrosoftLimits | None) -> LimitsSettings:
    return LimitsSettings(google=google or GoogleLimits(), microsoft=microsoft or MicrosoftLimits())


async def spend(quota: AccountQuota, units: int, *, seconds: float = 0) -> None:
    async with quota.spend(units):
        await anyio.sleep(seconds)


def test_a_mailbox_gets_half_of_what_the_provider_allows_by_default() -> None:
    google = google_quota(settings()).of(an_account())
    microsoft = microsoft_quota(settings()).of(an_account())

    assert google.largest == 3_000
    assert (microsoft.largest, microsoft.parallel) == (5_000, 2)


def test_one_mailbox_that_has_spent_its_quota_does_not_hold_up_another() -> None:
    quota = google_quota(settings())

    async def run() -> None:
        first, second = quota.of(an_account()), quota.of(an_account())
        await spend(first, 3_000)
        with pytest.raises(QuotaSpent, match="mailbox"):
            await spend(first, 1)
        await spend(second, 3_000)

    run_virtually(run())


def test_what_is_used_of_the_projects_share_and_by_the_busiest_mailbox_can_be_seen() -> None:
    google, microsoft = google_quota(settings()), microsoft_quota(settings())

    async def run() -> None:
        await spend(google.of(an_account()), 100)
        await spend(google.of(an_account()), 250)
        await spend(microsoft.of(an_account()), 4)

        levels = [*google.levels(), *microsoft.levels()]
        assert [(level.of, level.used, level.limit, level.window_s) for level in levels] == [
            ("project", 350, 600_000, 60),
            ("mailbox", 250, 3_000, 60),
            ("mailbox", 4, 5_000, 600),
        ]

    run_virtually(run())


def test_all_that_ask_for_one_account_share_its_quota() -> None:
    quota, account = google_quota(settings()), an_account()

    async def run() -> None:
        await spend(quota.of(account), 3_000)
        with pytest.raises(QuotaSpent):
            await spend(quota.of(account), 1)

    run_virtually(run())


@pytest.mark.parametrize(
    ("quota", "addresses"),
    [
        (google_quota(settings()), ("Ann.Lee@gmail.com", "annlee+news@googlemail.com")),
        (microsoft_quota(settings()), ("Ann@example.test", "ann@EXAMPLE.test")),
    ],
)
def test_accounts_of_one_mailbox_share_its_quota(
    quota: ProviderQuota, addresses: tuple[str, str]
) -> None:
    first, second = (quota.of(an_account(address)) for address in addresses)

    async def run() -> None:
        await spend(first, first.largest)
        with pytest.raises(QuotaSpent, match="mailbox"):
            await spend(second, 1)

    run_virtually(run())


@pytest.mark.parametrize(
    ("quota", "use"),
    [
        (google_quota(settings()), QuotaUse()),  # a login that is tried: no lease is held
        (microsoft_quota(settings()), QuotaUse(epoch=1)),
    ],
)
def test_whoever_claims_an_address_does_not_spend_its_owners_quota(
    quota: ProviderQuota, use: QuotaUse
) -> None:
    stranger = AccountKey(TenantId("other"), AccountId(uuid4()))

    async def run() -> None:
        owners = quota.of(an_account("ann@example.test"))
        claimed = quota.of(an_account("ann@example.test", key=stranger, use=use))
        await spend(claimed, claimed.largest)
        claimed.pause(timedelta(minutes=1))
        await spend(owners, owners.largest)

    run_virtually(run())


async def left(quota: AccountQuota) -> int:
    """Return how many units can be spent now, spending them."""
    units = 0
    with suppress(QuotaSpent):
        while True:
            await spend(quota, 100)
            units += 100
    return units


def test_what_was_spent_at_another_daemon_or_before_a_restart_counts() -> None:
    earlier = (Spending(7, 1_000, seconds_ago=50), Spending(6, 2_000, seconds_ago=61.5))

    async def run() -> None:
        quota = google_quota(settings())
        run_8 = quota.of(an_account(use=QuotaUse(epoch=8, earlier=earlier)))
        assert await left(run_8) == 2_000
        await anyio.sleep(11)
        assert await left(run_8) == 1_000

    run_virtually(run())


def test_what_is_known_already_is_not_counted_twice() -> None:
    """A run of this daemon is among the earlier ones of the next, and so are those before it."""
    key = an_account().key

    async def run() -> None:
        quota = google_quota(settings())
        before = Spending(1, 500, seconds_ago=1)
        second = QuotaUse(epoch=2, earlier=(before,))
        await spend(quota.of(an_account("a@x.test", key=key, use=second)), 500)
        quota.of(an_account("a@x.test", key=key, use=QuotaUse()))  # a login is tried
        third = QuotaUse(epoch=3, earlier=(before, Spending(2, second.units, seconds_ago=0)))
        assert await left(quota.of(an_account("a@x.test", key=key, use=third))) == 2_000
        assert (second.units, third.units) == (500, 2_000)

    run_virtually(run())


def test_half_the_quota_is_taken_for_spent_where_a_holder_of_the_account_vanished() -> None:
    async def run() -> None:
        quota = google_quota(settings())
        account = an_account(use=QuotaUse(epoch=5, is_partly_unknown=True))
        quota.of(account)
        assert await left(quota.of(account)) == 1_500

    run_virtually(run())


def test_the_projects_quota_is_shared_by_all_mailboxes_and_divided_among_the_daemons() -> None:
    live = settings(GoogleLimits(project_units_per_minute=12_000))
    live.instances = 3
    quota = google_quota(live)

    async def run() -> None:
        await spend(quota.of(an_account()), 1_500)
        await spend(quota.of(an_account()), 500)
        with pytest.raises(QuotaSpent, match="project"):
            await spend(quota.of(an_account()), 1)
        live.instances = 2
        await spend(quota.of(an_account()), 1_000)

    run_virtually(run())


def test_a_mailbox_that_the_project_turns_away_has_spent_nothing() -> None:
    live = settings(GoogleLimits(project_units_per_minute=6_000, user_units_per_minute=6_000))
    quota, account = google_quota(live), an_account()

    async def run() -> None:
        await spend(quota.of(an_account()), 3_000)
        with pytest.raises(QuotaSpent, match="project"):
            await spend(quota.of(account), 3_000)
        live.current = settings(GoogleLimits()).current
        await spend(quota.of(account), 3_000)

    run_virtually(run())


def test_a_reload_changes_the_limits_of_mailboxes_in_use() -> None:
    live = settings()
    quota, account = google_quota(live), an_account()

    async def run() -> None:
        await spend(quota.of(account), 3_000)
        live.current = settings(GoogleLimits(utilisation=1.0)).current
        await spend(quota.of(account), 3_000)
        with pytest.raises(QuotaSpent):
            await spend(quota.of(account), 1)

    run_virtually(run())


def test_a_pause_of_one_mailbox_is_its_own_and_one_of_the_project_is_everybodys() -> None:
    quota = google_quota(settings())

    async def run() -> None:
        first, second = quota.of(an_account()), quota.of(an_account())
        first.pause(timedelta(seconds=30))
        with pytest.raises(QuotaSpent, match="mailbox") as spent:
            await spend(first, 1)
        await spend(second, 1)
        second.pause_project(None)
        with pytest.raises(QuotaSpent, match="project") as project_spent:
            await spend(quota.of(an_account()), 1)

        assert spent.value.frees_in == timedelta(seconds=30)
        assert project_spent.value.frees_in == timedelta(seconds=60)

    run_virtually(run())


def test_a_wait_in_place_ends_after_two_seconds_however_many_quotas_it_is_for() -> None:
    live = settings(GoogleLimits(project_units_per_minute=6_000))
    quota, account = google_quota(live), an_account()

    async def run() -> float:
        await spend(quota.of(account), 2_999)
        await anyio.sleep(0.7)
        await spend(quota.of(an_account()), 1)
        await anyio.sleep(58.6)
        await spend(quota.of(account), 3_000)
        return anyio.current_time()

    assert 60 < run_virtually(run()) <= 62


def test_no_more_requests_run_at_once_than_the_mailbox_allows() -> None:
    quota = microsoft_quota(settings()).of(an_account())
    running: list[int] = [0]
    peak: list[int] = []

    async def ask(lanes: int) -> None:
        async with quota.spend(1, lanes=lanes):
            running[0] += lanes
            peak.append(running[0])
            await anyio.sleep(5)
            running[0] -= lanes

    async def run() -> float:
        async with anyio.create_task_group() as group:
            for lanes in (1, 2, 1, 2, 1, 1):
                group.start_soon(ask, lanes)
        return anyio.current_time()

    took_s = run_virtually(run())

    assert max(peak) == 2
    assert took_s == 25  # 1, 2, 1, 2, then 1 and 1 together


def test_a_batch_that_wants_more_lanes_than_there_are_takes_them_all() -> None:
    live = settings()
    quota = microsoft_quota(live).of(an_account())

    async def run() -> None:
        async with quota.spend(20, lanes=20):
            with pytest.raises(TimeoutError), anyio.fail_after(60):
                await spend(quota, 1)
            live.current = settings(microsoft=MicrosoftLimits(utilisation=1.0)).current
            await spend(quota, 1)

    run_virtually(run())


def test_a_request_that_costs_more_than_the_quota_allows_at_all_fails_visibly() -> None:
    quota = google_quota(settings(GoogleLimits(user_units_per_minute=200))).of(an_account())

    async def run() -> None:
        assert quota.largest == 100
        with pytest.raises(Retryable):
            await spend(quota, 101)

    run_virtually(run())


def test_idle_mailboxes_are_forgotten_and_busy_ones_are_not() -> None:
    quota, busy = google_quota(settings()), an_account()

    async def run() -> None:
        async with quota.of(busy).spend(3_000):
            for _ in range(2_000):
                await spend(quota.of(an_account()), 1)
                await anyio.sleep(1)
            assert len(quota._mailboxes) < 200
            with pytest.raises(QuotaSpent):
                await spend(quota.of(busy), 1)

    run_virtually(run())


def test_a_hundred_hungry_mailboxes_use_up_the_projects_share_and_never_more() -> None:
    """Each takes what its batch costs and comes back when told; the server counts late or early."""
    quota = google_quota(settings(GoogleLimits(project_units_per_minute=40_000)))
    counted: deque[tuple[float, int]] = deque()
    random = Random(7)
    peak = used = 0

    def count(units: int) -> None:
        nonlocal peak, used
        now = anyio.current_time()
        counted.append((now, units))
        while counted[0][0] <= now - 60:
            counted.popleft()
        peak, used = max(peak, sum(units for _, units in counted)), used + units

    async def sync(account: AccountQuota) -> None:
        while True:
            units = 20 * random.randint(1, 50)
            try:
                async with account.spend(units):
                    await anyio.sleep(random.uniform(0, 0.2))
                    count(units)
                    await anyio.sleep(random.uniform(0, 0.2))
            except QuotaSpent as spent:
                await anyio.sleep(spent.frees_in.total_seconds())

    async def run() -> None:
        with anyio.move_on_after(600):
            async with anyio.create_task_group() as group:
                for _ in range(100):
                    group.start_soon(sync, quota.of(an_account()))

    run_virtually(run())

    assert peak <= 20_000
    assert used >= 0.9 * 10 * 20_000
