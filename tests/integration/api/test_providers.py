"""Accounts over HTTP: what an application does with them, and what it is refused."""

from datetime import datetime
from typing import Any
from uuid import uuid4

import pytest

from api_rig import ACME, OTHER, PASSWORD, SETTINGS, ApiRig
from emailsync.domain.errors import AuthRefused, Unreachable
from problems import refused

NEW = {
    "tenant_id": "acme",
    "provider_type": "imap",
    "email_address": "bob@example.test",
    "settings": SETTINGS,
    "credentials": {"password": PASSWORD},
}
GOOGLE = {
    "tenant_id": "acme",
    "provider_type": "google",
    "email_address": "bob@gmail.test",
    "credentials": {"refresh_token": "the-refresh-token"},
}
SERVICE_ACCOUNT = {**GOOGLE, "settings": {"auth": "service_account"}, "credentials": {}}


async def row(api: ApiRig) -> dict[str, Any]:
    """Return the account's row."""
    (found,) = await api.mail.rows("SELECT * FROM provider_configs")
    return found


@pytest.mark.parametrize("new", [NEW, GOOGLE, SERVICE_ACCOUNT], ids=["imap", "google", "service"])
async def test_an_added_account_is_due_at_once_and_shown_without_its_secret(
    api: ApiRig, new: dict[str, Any]
) -> None:
    added = await api.ask("POST", "/providers", json=new)
    shown = await api.get(added.headers["location"])

    assert added.status_code == 201
    assert added.json() == shown.json()
    assert shown.json()["email_address"] == new["email_address"]
    assert shown.json()["settings"] == new.get("settings", {})
    assert (shown.json()["priority"], shown.json()["activity"]) == ("low", "due")
    assert "credentials" not in shown.json()


async def test_an_account_of_a_large_provider_needs_no_host(api: ApiRig) -> None:
    new = {**NEW, "email_address": "bob@icloud.com"}
    del new["settings"]

    added = await api.ask("POST", "/providers", json=new)
    named = await api.ask(
        "POST",
        "/providers",
        json={**NEW, "email_address": "c@gmx.net", "settings": {"username": "7"}},
    )
    no_password = await api.ask(
        "POST", "/providers", json={**NEW, "email_address": "c@outlook.com", "settings": {}}
    )

    assert added.json()["settings"] == {
        "host": "imap.mail.me.com",
        "port": 993,
        "security": "tls",
        "username": "bob",
    }
    assert named.json()["settings"]["username"] == "7"
    assert "in a browser" in refused(no_password, 422)["errors"][0]["detail"]


async def test_a_tenants_token_opens_no_mailbox_by_our_own_registration(api: ApiRig) -> None:
    """It opens the mailboxes of all tenants: an address would do to read another one's mail."""
    by_application = {"oauth": "microsoft", "permission": "application", "tenant": "d-1"}
    change = {"settings": by_application, "credentials": {}}

    refused(await api.ask("POST", "/providers", ACME, json=SERVICE_ACCOUNT), 403)
    refused(await api.ask("PATCH", api.account, ACME, json=change), 403)
    by_an_admin = await api.ask("PATCH", api.account, json=change)
    paused = await api.ask("PATCH", api.account, ACME, json={"is_active": False})

    assert (by_an_admin.status_code, paused.status_code) == (200, 200)


@pytest.mark.parametrize(
    ("changes", "where"),
    [
        ({"settings": {}}, "body.settings.host"),
        ({"settings": {"port": 993}}, "body.settings.port"),
        ({"settings": {"host": "h"}}, "body.settings"),
        ({"settings": {**SETTINGS, "port": "993"}}, "body.settings.port"),
        ({"settings": {**SETTINGS, "port": 65_536}}, "body.settings.port"),
        ({"settings": {**SETTINGS, "security": "none at all"}}, "body.settings.security"),
        ({"settings": {**SETTINGS, "shell": "sh"}}, "body.settings.shell"),
        ({"credentials": {"refresh_token": "x"}}, "body.credentials"),
        ({"credentials": {}}, "body.credentials"),
        ({"tenant_id": ""}, "body.tenant_id"),
        ({"tenant_id": "a\0b"}, "body.tenant_id"),
        ({"email_address": "x" * 321}, "body.email_address"),
        ({"provider_type": "pop3"}, "body"),
        ({"is_active": True}, "body.is_active"),
    ],
)
async def test_an_account_that_cannot_be_is_refused_by_the_name_of_what_is_wrong(
    api: ApiRig, changes: dict[str, Any], where: str
) -> None:
    body = refused(await api.ask("POST", "/providers", json=NEW | changes), 422)

    assert body["errors"][0]["where"] == where
    assert PASSWORD not in str(body)


async def test_one_mailbox_is_one_account_of_a_tenant(api: ApiRig) -> None:
    await api.ask("POST", "/providers", json=NEW)

    again = await api.ask("POST", "/providers", json=NEW)
    elsewhere = await api.ask("POST", "/providers", json=NEW | {"tenant_id": "other"})

    assert "already has" in refused(again, 409)["detail"]
    assert elsewhere.status_code == 201


async def test_accounts_are_listed_in_pages_that_neither_repeat_nor_skip(api: ApiRig) -> None:
    for number in range(6):
        new = NEW | {"email_address": f"{number}@example.test", "tenant_id": f"t{number % 2}"}
        await api.ask("POST", "/providers", json=new)

    listed, cursor = [], None
    while True:
        asked = {"limit": 2} | ({"cursor": cursor} if cursor else {})
        page = (await api.get("/providers", params=asked)).json()
        listed += [(each["tenant_id"], each["id"]) for each in page["items"]]
        cursor = page["next_cursor"]
        if cursor is None:
            break

    assert len(listed) == 7
    assert listed == sorted(set(listed))


@pytest.mark.parametrize(
    ("asked", "count"),
    [
        ({"tenant_id": "acme"}, 2),
        ({"tenant_id": "nobody"}, 0),
        ({"email_address": "BOB@example.test"}, 1),
        ({"provider_type": "google"}, 0),
        ({"status": "paused"}, 1),
        ({"status": "active", "tenant_id": "acme"}, 1),
    ],
)
async def test_a_list_may_be_of_some_accounts_only(
    api: ApiRig, asked: dict[str, str], count: int
) -> None:
    await api.ask("POST", "/providers", json=NEW)
    await api.ask("POST", f"{api.account}/pause")

    page = (await api.get("/providers", params=asked)).json()

    assert len(page["items"]) == count


@pytest.mark.parametrize(
    "asked", [{"limit": 0}, {"limit": 201}, {"limit": "many"}, {"cursor": "x"}, {"colour": "red"}]
)
async def test_a_list_is_refused_what_it_does_not_know(api: ApiRig, asked: dict[str, Any]) -> None:
    refused(await api.get("/providers", params=asked), 422)


async def test_a_changed_account_forgets_its_failures_and_is_tried_at_once(api: ApiRig) -> None:
    await api.mail.connection.execute(
        "UPDATE provider_configs SET status = 'needs_reconnect', last_error = 'refused',"
        " sync_error_count = 3, attempt = 3, next_sync_at = now() + interval '1 day',"
        " circuit_state = 'OPEN', circuit_failures = 5, circuit_retry_at = now(),"
        " requested_at = NULL"
    )
    before = await row(api)

    changed = await api.ask(
        "PATCH",
        api.account,
        json={"settings": {"host": "mail.example.test"}, "credentials": {"password": "new"}},
    )

    after = await row(api)
    assert changed.json()["settings"] == SETTINGS | {"host": "mail.example.test"}
    assert (changed.json()["status"], changed.json()["last_error"]) == ("active", None)
    assert after["endpoint"] == "mail.example.test:993"
    assert after["credentials"] != before["credentials"]
    assert after["lease_epoch"] == before["lease_epoch"] + 1
    assert (after["circuit_state"], after["attempt"]) == ("CLOSED", 1)
    assert after["requested_at"] is not None
    assert after["next_sync_at"] < before["next_sync_at"]


async def test_what_a_change_does_not_name_stays(api: ApiRig) -> None:
    before = await row(api)

    changed = await api.ask("PATCH", api.account, json={"is_active": False})

    after = await row(api)
    assert (changed.json()["is_active"], changed.json()["settings"]) == (False, SETTINGS)
    assert after["credentials"] == before["credentials"]


async def test_a_change_that_cannot_be_changes_nothing(api: ApiRig) -> None:
    before = await row(api)

    for body in (
        {"settings": {"host": None}},
        {"settings": {"oauth": "google"}, "credentials": {"password": "x"}},
        {"credentials": {}},
        {"provider_type": "google"},
    ):
        refused(await api.ask("PATCH", api.account, json=body), 422)

    assert await row(api) == before


async def test_a_stored_password_is_not_sent_to_a_server_that_a_tenant_names_without_it(
    api: ApiRig,
) -> None:
    """Who holds a tenant's token need not know the mailbox's password."""
    elsewhere = {"settings": {"host": "imap.attacker.test"}}

    stolen = await api.ask("PATCH", api.account, ACME, json=elsewhere)
    known = await api.ask(
        "PATCH", api.account, ACME, json=elsewhere | {"credentials": {"password": PASSWORD}}
    )

    refused(stolen, 403)
    assert known.status_code == 200


async def test_a_paused_account_stays_so_until_it_is_resumed(api: ApiRig) -> None:
    paused = await api.ask("POST", f"{api.account}/pause")
    synced = await api.ask("POST", f"{api.account}/sync")
    changed = await api.ask("PATCH", api.account, json={"credentials": {"password": "new"}})
    resumed = await api.ask("POST", f"{api.account}/resume")

    assert [each.json()["status"] for each in (paused, changed, resumed)] == [
        "paused",
        "paused",
        "active",
    ]
    assert "resume" in refused(synced, 409)["detail"]


async def test_a_sync_that_is_asked_for_is_marked_and_told_to_the_daemons(api: ApiRig) -> None:
    heard: list[str] = []
    await api.mail.connection.add_listener("emailsync_wake", lambda *told: heard.append(told[3]))
    await api.mail.connection.execute("UPDATE provider_configs SET requested_at = NULL")

    accepted = await api.ask("POST", f"{api.account}/sync")

    requested = (await row(api))["requested_at"]
    assert accepted.status_code == 202
    assert requested is not None
    assert str(api.mail.lease.key.account_id) in heard[-1]


async def test_a_login_is_tried_with_what_is_stored(api: ApiRig) -> None:
    tried = await api.ask("POST", f"{api.account}/test")

    (account,) = api.desk.tried
    assert tried.json() == {"ok": True, "error_class": None, "detail": None}
    assert account.credentials["password"].reveal() == PASSWORD
    assert account.settings == SETTINGS


@pytest.mark.parametrize("failure", [AuthRefused("no"), Unreachable("not there")])
async def test_a_login_that_fails_is_an_answer(api: ApiRig, failure: Exception) -> None:
    api.desk.failure = failure

    tried = await api.ask("POST", f"{api.account}/test")

    assert tried.status_code == 200
    assert tried.json() == {
        "ok": False,
        "error_class": type(failure).__name__,
        "detail": str(failure),
    }


async def test_a_removed_account_is_gone_with_its_mail(api: ApiRig) -> None:
    await api.mail.apply([api.mail.message(1)])

    removed = await api.ask("DELETE", api.account)

    assert (removed.status_code, removed.content) == (204, b"")
    refused(await api.get(api.account), 404)
    refused(await api.ask("DELETE", api.account), 404)
    assert await api.mail.rows("SELECT FROM messages") == []


async def test_runs_are_shown_latest_first_in_pages(api: ApiRig) -> None:
    await api.mail.connection.execute(
        "INSERT INTO sync_runs (tenant_id, provider_id, queue, instance_id, attempt, result,"
        " error_class, error, started_at, duration_ms, created, updated, deleted, quarantined,"
        " unexplained, fetched_bytes) SELECT tenant_id, id, 'low', 'one', number, 'failed',"
        " 'Unreachable', 'away', now(), 1500, 1, 2, 3, 4, 5, 6"
        " FROM provider_configs, generate_series(1, 3) AS number"
    )

    first = (await api.get(f"{api.account}/runs", params={"limit": 2})).json()
    second = (
        await api.get(f"{api.account}/runs", params={"limit": 2, "cursor": first["next_cursor"]})
    ).json()

    assert [run["attempt"] for run in first["items"] + second["items"]] == [3, 2, 1]
    assert second["next_cursor"] is None
    assert first["items"][0]["duration_ms"] == 1_500
    assert (first["items"][0]["result"], first["items"][0]["error"]) == ("failed", "away")


async def test_an_explanation_says_who_has_to_act(api: ApiRig) -> None:
    await api.ask("POST", f"{api.account}/pause")

    explained = (await api.get(f"{api.account}/explain")).json()

    assert "it is paused" in explained["because"][0]
    assert explained["account"]["id"] == str(api.mail.lease.key.account_id)
    assert (explained["folders"], explained["runs"]) == (1, [])


@pytest.mark.parametrize(("status", "is_tried"), [("active", True), ("paused", False)])
async def test_lists_and_explanations_say_alike_when_an_open_circuit_lets_it_be_tried(
    api: ApiRig, status: str, *, is_tried: bool
) -> None:
    retry_at = await api.mail.connection.fetchval(
        "UPDATE provider_configs SET lease_owner = NULL, lease_until = '-infinity', status = $1,"
        " next_sync_at = now() - interval '1 hour', circuit_state = 'OPEN', circuit_failures = 5,"
        " circuit_retry_at = now() + interval '4 minutes' RETURNING circuit_retry_at",
        status,
    )

    (listed,) = (await api.get("/providers")).json()["items"]
    explained = (await api.get(f"{api.account}/explain")).json()["account"]
    shown = (await api.get(api.account)).json()

    expected = retry_at if is_tried else None
    for account in (listed, explained, shown):
        said = account["next_try_at"]
        assert (said and datetime.fromisoformat(said)) == expected


async def test_a_tenant_sees_and_adds_its_own_accounts_only(api: ApiRig) -> None:
    own = await api.ask("POST", "/providers", OTHER, json=NEW | {"tenant_id": "other"})
    foreign = await api.ask("POST", "/providers", OTHER, json=NEW)
    listed = await api.get("/providers", OTHER)
    named = await api.get("/providers", OTHER, params={"tenant_id": "acme"})

    assert own.status_code == 201
    refused(foreign, 403)
    assert [each["id"] for each in listed.json()["items"]] == [own.json()["id"]]
    assert named.json()["items"] == []


async def test_a_foreign_account_is_answered_as_one_that_does_not_exist(api: ApiRig) -> None:
    absent = f"/providers/{uuid4()}"

    for method, below in (
        *(("GET", below) for below in ("", "/runs", "/explain")),
        *(("POST", f"/{verb}") for verb in ("sync", "pause", "resume", "test")),
        ("DELETE", ""),
    ):
        foreign = await api.ask(method, api.account + below, OTHER)
        unknown = await api.ask(method, absent + below, OTHER)

        assert refused(foreign, 404) == refused(unknown, 404)
    assert (await row(api))["status"] == "active"
    assert api.desk.tried == []


async def test_what_is_no_id_is_not_found(api: ApiRig) -> None:
    for name in ("1", "%00", "%ff", "a" * 300, "..%2f..%2fetc"):
        refused(await api.get(f"/providers/{name}"), 404)
