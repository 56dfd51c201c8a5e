"""Everything at one moment: the sums are those of the accounts that whoever asks may see."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from api_rig import ACME, ADMIN, OTHER, ApiRig
from emailsync.domain.folders import FolderId
from problems import refused
from store_rig import add_account

RUN = """
INSERT INTO sync_runs (tenant_id, provider_id, queue, instance_id, attempt, result, error_class,
    error, started_at, duration_ms, created, updated, deleted, quarantined, unexplained,
    fetched_bytes)
VALUES ('acme', $1, 'high', 'one', 1, $2, $3, $4, $5, 500, 2, 1, 1, 0, 0, 1024)
"""


async def add_run(api: ApiRig, result: str, *, ago: timedelta, error: str | None = None) -> None:
    await api.mail.connection.execute(
        RUN,
        api.mail.lease.key.account_id,
        result,
        error and "Unreachable",
        error,
        datetime.now(UTC) - ago,
    )


async def overview(api: ApiRig, token: str = ADMIN) -> dict[str, Any]:
    answer = await api.get("/overview", token)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def test_accounts_are_counted_by_how_they_stand(api: ApiRig) -> None:
    due = datetime.now(UTC) - timedelta(seconds=90)
    await add_account(api.mail.connection, "acme", status="paused")
    await add_account(api.mail.connection, "other", status="needs_reconnect", last_error="no")
    await add_account(api.mail.connection, "other", sync_priority=1, next_sync_at=due)

    whole, own = await overview(api), await overview(api, OTHER)

    assert sum(each["accounts"] for each in whole["standings"]) == 4
    stands = {(each["status"], each["activity"]): each for each in own["standings"]}
    assert sorted(stands) == [("active", "due"), ("needs_reconnect", "stopped")]
    assert stands["active", "due"]["priority"] == "critical"
    assert stands["needs_reconnect", "stopped"]["failing"] == 1


async def test_the_daemon_is_shown_to_an_admin_with_the_longest_wait_of_each_queue(
    api: ApiRig,
) -> None:
    due = datetime.now(UTC) - timedelta(seconds=90)
    await add_account(api.mail.connection, "other", sync_priority=1, next_sync_at=due)

    daemon = (await overview(api))["daemon"]

    lags = {queue["queue"]: queue["lag_s"] for queue in daemon["queues"]}
    assert 90 <= lags["high"] < 900
    assert lags["low"] == 0
    assert daemon["instances"] == 1
    assert [(each["provider_type"], each["concurrent"]) for each in daemon["providers"]] == [
        ("imap", 3),
        ("google", 10),
        ("microsoft", 8),
    ]
    assert daemon["providers"][1]["quotas"] == [
        {"of": "project", "used": 50, "limit": 100, "window_s": 60}
    ]
    assert (await overview(api, ACME))["daemon"] is None


async def test_mail_is_counted_at_the_last_look(api: ApiRig) -> None:
    await api.mail.connection.execute("UPDATE folders SET remote_count = 5, stored_count = 3")

    whole, foreign = await overview(api), await overview(api, OTHER)

    assert whole["mail"]["stored_messages"] == 3
    assert whole["mail"]["remote_messages"] == 5
    assert whole["mail"]["differing_folders"] == 1
    assert foreign["mail"]["stored_messages"] == 0


async def test_the_pace_has_what_ended_when(api: ApiRig) -> None:
    await add_run(api, "done", ago=timedelta(seconds=5))
    await add_run(api, "failed", ago=timedelta(minutes=3), error="down")
    await add_run(api, "done", ago=timedelta(minutes=30))

    pace = (await overview(api))["pace"]

    spans = pace["spans"]
    assert len(spans) * pace["span_s"] == 600
    assert sum(span["completed"] for span in spans[-6:]) == 1
    assert sum(span["failed"] for span in spans[:-6]) == 1
    assert sum(span["messages"] for span in spans) == 8
    assert sum(span["fetched_bytes"] for span in spans) == 2_048


async def test_an_open_circuit_names_its_server_and_how_many_wait(api: ApiRig) -> None:
    await api.mail.connection.execute(
        "INSERT INTO circuits (provider_type, endpoint, state, failures, retry_at)"
        " VALUES ('imap', 'imap.example.test:993', 'OPEN', 5, now() + interval '1 minute')"
    )

    (circuit,) = (await overview(api))["circuits"]

    assert (circuit["endpoint"], circuit["state"]) == ("imap.example.test:993", "OPEN")
    assert (circuit["failures"], circuit["accounts"]) == (5, 1)
    assert (await overview(api, OTHER))["circuits"] == []


async def test_the_last_runs_of_everybody_come_latest_first(api: ApiRig) -> None:
    await add_run(api, "failed", ago=timedelta(minutes=90), error="down")
    await add_run(api, "done", ago=timedelta(minutes=2))
    await add_run(api, "throttled", ago=timedelta(minutes=1), error="slow down")

    lately = (await api.get("/runs")).json()["items"]
    failed = (await api.get("/runs?failed=true&minutes=1440")).json()["items"]

    assert [run["result"] for run in lately] == ["throttled", "done"]
    assert [(run["result"], run["error"]) for run in failed] == [("failed", "down")]
    assert failed[0]["email_address"] == (await api.get(api.account)).json()["email_address"]
    assert (await api.get("/runs", OTHER)).json()["items"] == []
    refused(await api.get("/runs?minutes=1441"), 422)


async def test_folders_come_by_path_and_page_by_page(api: ApiRig) -> None:
    for name in ("b", "a", "ä/ö"):
        await api.mail.folder(name)
    await api.mail.connection.execute("UPDATE folders SET remote_count = 9 WHERE path = 'a'")

    first = (await api.get(f"{api.account}/folders?limit=2")).json()
    rest = (await api.get(f"{api.account}/folders?cursor={first['next_cursor']}")).json()
    folders = first["items"] + rest["items"]

    assert len(first["items"]) == 2
    assert rest["next_cursor"] is None
    assert {folder["path"] for folder in folders} == {"INBOX", "a", "b", "ä/ö"}
    assert {folder["path"]: folder["remote_count"] for folder in folders}["a"] == 9
    assert all(FolderId(folder["id"]) for folder in folders)


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("search=ANN", {"ann@one.test", "ann@two.test"}),
        ("search=other", {"ann@two.test", "zoe@two.test"}),
        ("search=%25", set()),
        ("search=ann&activity=stopped", {"ann@two.test"}),
        ("activity=idle", {"zoe@two.test"}),
    ],
)
async def test_accounts_are_searched_by_a_part_of_address_or_tenant_and_by_activity(
    api: ApiRig, query: str, found: set[str]
) -> None:
    later = datetime.now(UTC) + timedelta(hours=1)
    add, connection = add_account, api.mail.connection
    await add(connection, "acme", email_address="ann@one.test")
    await add(connection, "other", email_address="ann@two.test", status="paused")
    await add(connection, "other", email_address="zoe@two.test", next_sync_at=later)

    listed = (await api.get(f"/providers?{query}")).json()["items"]
    own = (await api.get(f"/providers?{query}", ACME)).json()["items"]

    assert {each["email_address"] for each in listed} == found
    assert {each["email_address"] for each in own} <= {"ann@one.test"}


async def test_an_account_says_by_how_much_it_is_late(api: ApiRig) -> None:
    shown = (await api.get(api.account)).json()
    await api.mail.connection.execute("UPDATE provider_configs SET created_at = '2020-01-01'")
    late = (await api.get(api.account)).json()

    assert (shown["interval_s"], shown["unsynced_s"]) == (3_600, 0)
    assert late["unsynced_s"] > 365 * 86_400
