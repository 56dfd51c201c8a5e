"""The change feed over HTTP: read on, wait, and be told when something was missed."""

import time
from datetime import timedelta
from typing import Any

import anyio
import asyncpg
import pytest

from api_rig import ACME, ADMIN, GRANTS, OTHER, ApiRig
from emailsync.api.changes import MOST_OF_A_TENANT
from emailsync.api.paging import encode
from problems import refused
from store_rig import add_account
from waiting import until

WRITE = """
INSERT INTO changes (tenant_id, provider_id, message_id, kind)
SELECT $1, gen_random_uuid(), number, 'created' FROM generate_series($2::bigint, $3) AS number
"""
NOTIFY = "SELECT pg_notify('emailsync_changes', $1)"


async def write(api: ApiRig, tenant: str, first: int, last: int) -> None:
    """Let messages change, and tell of it, as a sync does."""
    async with api.mail.connection.transaction():
        await api.mail.connection.execute(WRITE, tenant, first, last)
        await api.mail.connection.execute(NOTIFY, tenant)


async def read(api: ApiRig, token: str = ADMIN, **asked: Any) -> tuple[list[int], str]:
    """Return the messages of an answer, and where to read on."""
    body = (await api.get("/changes", token, params=asked)).json()
    return [change["message_id"] for change in body["items"]], body["next"]


async def test_a_reader_goes_on_where_it_was(api: ApiRig) -> None:
    await write(api, "acme", 1, 5)

    first, position = await read(api, limit=3)
    second, position = await read(api, after=position, limit=3)
    none, position = await read(api, after=position)
    await write(api, "acme", 6, 6)
    third, _ = await read(api, after=position)

    assert (first, second, none, third) == ([1, 2, 3], [4, 5], [], [6])
    assert (await read(api, after="0"))[0] == [1, 2, 3, 4, 5, 6]


async def test_a_change_tells_which_message_of_whom(api: ApiRig) -> None:
    await api.mail.apply([api.mail.message(1)])
    (message,) = (await api.mail.ids()).values()

    (change,) = (await api.get("/changes")).json()["items"]

    assert {name: change[name] for name in ("tenant_id", "provider_id", "message_id", "kind")} == {
        "tenant_id": "acme",
        "provider_id": str(api.mail.lease.key.account_id),
        "message_id": message,
        "kind": "created",
    }


async def test_a_tenant_hears_of_its_own_changes_only(api: ApiRig) -> None:
    await add_account(api.mail.connection, "other")
    await write(api, "acme", 1, 2)
    await write(api, "other", 3, 4)

    assert (await read(api, OTHER))[0] == [3, 4]
    assert (await read(api, OTHER, tenant_id="acme"))[0] == []
    assert (await read(api, ACME, tenant_id="acme"))[0] == [1, 2]
    assert (await read(api, tenant_id="other"))[0] == [3, 4]


def how_many_wait(api: ApiRig, token: str) -> int:
    """Return how many wait with this token, for all changes of the tenant's or anybody's."""
    grant = GRANTS.get(token)
    rung = api.bell.next(None if grant is None else grant.tenant_id)
    return rung.statistics().tasks_waiting


@pytest.mark.parametrize("token", [ADMIN, ACME])
async def test_who_waits_is_answered_as_soon_as_something_changes(api: ApiRig, token: str) -> None:
    answers: list[list[int]] = []

    async def wait() -> None:
        answers.append((await read(api, token, wait_s=20))[0])

    began = time.monotonic()
    async with anyio.create_task_group() as group:
        group.start_soon(wait)
        await until(lambda: how_many_wait(api, token) == 1)
        await write(api, "acme", 1, 1)

    assert answers == [[1]]
    assert time.monotonic() - began < 10


async def test_who_waits_for_nothing_is_answered_when_the_time_is_over(api: ApiRig) -> None:
    began = time.monotonic()

    nothing, _ = await read(api, wait_s=1)

    assert nothing == []
    assert 0.9 < time.monotonic() - began < 10


async def test_who_waits_hears_of_a_change_that_an_older_transaction_holds_up(
    api: ApiRig, database_url: str
) -> None:
    """Nobody tells of the end of a transaction that changed nothing for the feed."""
    older = await asyncpg.connect(database_url)
    transaction = older.transaction()
    await transaction.start()
    await older.fetchval("SELECT pg_current_xact_id()::text")
    await write(api, "acme", 1, 1)
    answers: list[list[int]] = []

    async def wait() -> None:
        answers.append((await read(api, wait_s=20))[0])

    async with anyio.create_task_group() as group:
        group.start_soon(wait)
        await until(lambda: how_many_wait(api, ADMIN) == 1)
        assert answers == []
        await transaction.rollback()

    await older.close()
    assert answers == [[1]]


async def test_a_tenant_cannot_take_all_the_room_for_waiting(api: ApiRig) -> None:
    answers: list[list[int]] = []

    async def wait(token: str) -> None:
        answers.append((await read(api, token, wait_s=20))[0])

    async with anyio.create_task_group() as group:
        for _ in range(MOST_OF_A_TENANT):
            group.start_soon(wait, ACME)
        await until(lambda: how_many_wait(api, ACME) == MOST_OF_A_TENANT)

        one_more = await api.get("/changes", ACME, params={"wait_s": 20})
        refused(one_more, 503)
        assert one_more.headers["retry-after"] == "1"
        group.start_soon(wait, OTHER)
        await until(lambda: how_many_wait(api, OTHER) == 1)
        await write(api, "acme", 1, 1)
        await write(api, "other", 2, 2)

    assert sorted(answers) == [[1]] * MOST_OF_A_TENANT + [[2]]
    assert (await read(api, ACME, after="0", wait_s=1))[0] == [1]


async def test_a_position_that_is_older_than_what_is_kept_is_gone(api: ApiRig) -> None:
    kept = timedelta(days=api.mail.settings.current.store.retention.changes_days)
    old = encode((5, 5, int(time.time() - kept.total_seconds())))
    young = encode((5, 5, int(time.time() - kept.total_seconds() / 2)))

    assert "after=0" in refused(await api.get("/changes", params={"after": old}), 410)["detail"]
    assert (await api.get("/changes", params={"after": young})).status_code == 200


@pytest.mark.parametrize(
    "after",
    ["x", "1", "", encode((1,)), encode((-1, 0, 0)), encode((2**63, 0, 0)), encode(("1", {}, 0))],
)
async def test_what_is_no_position_is_refused(api: ApiRig, after: str) -> None:
    refused(await api.get("/changes", params={"after": after}), 422)
