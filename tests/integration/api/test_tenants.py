"""Tenants over HTTP: what makes their accounts urgent, and their erasure."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from api_rig import ACME, ApiRig
from problems import refused
from store_rig import add_account

EARLIER = "now() - interval '40 minutes'"


async def account(api: ApiRig) -> dict[str, Any]:
    """Return the account's place in line."""
    (found,) = await api.mail.rows(
        "SELECT sync_priority, next_sync_at <= now() AS is_due FROM provider_configs"
        " WHERE tenant_id = 'acme'"
    )
    return found


async def synced_earlier(api: ApiRig) -> None:
    """Let the account be synced by the interval of LOW: due in more than three hours."""
    await api.mail.connection.execute(
        f"UPDATE provider_configs SET sync_priority = 4, last_synced_at = {EARLIER},"  # noqa: S608
        f" next_sync_at = {EARLIER} + interval '4 hours', requested_at = NULL"
        " WHERE tenant_id = 'acme'"
    )


async def test_a_tenant_is_made_and_shown(api: ApiRig) -> None:
    made = await api.ask("PUT", "/tenants/new", json={"plan": "premium", "weight": 2})
    shown = await api.get("/tenants/new")

    assert made.status_code == 201
    assert shown.json() == made.json()
    assert {name: made.json()[name] for name in ("id", "plan", "weight", "priority")} == {
        "id": "new",
        "plan": "premium",
        "weight": 2,
        "priority": "critical",
    }


async def test_what_a_change_does_not_name_stays_and_null_takes_away(api: ApiRig) -> None:
    await api.ask("PUT", "/tenants/acme", json={"plan": "premium", "weight": 3})

    login = {"last_login_at": "2026-01-02T03:04:05+02:00"}
    logged_in = await api.ask("PUT", "/tenants/acme", json=login)
    downgraded = await api.ask("PUT", "/tenants/acme", json={"plan": None})

    assert (logged_in.status_code, logged_in.json()["plan"]) == (200, "premium")
    assert logged_in.json()["last_login_at"] == "2026-01-02T01:04:05Z"
    assert (downgraded.json()["plan"], downgraded.json()["weight"]) == (None, 3)


async def test_a_login_makes_the_accounts_urgent_and_due_at_once(api: ApiRig) -> None:
    """An account of IMAP that was synced 40 minutes ago is due when HIGH, and not when LOW."""
    heard: list[str] = []
    await api.mail.connection.add_listener("emailsync_wake", lambda *told: heard.append(told[3]))
    await synced_earlier(api)
    before = await account(api)

    now = datetime.now(UTC).isoformat()
    await api.ask("PUT", "/tenants/acme", json={"last_login_at": now})

    assert before == {"sync_priority": 4, "is_due": False}
    assert await account(api) == {"sync_priority": 2, "is_due": True}
    assert '"acme"' in heard[-1]


async def test_accounts_of_other_tenants_and_a_login_that_changes_nothing_wake_nobody(
    api: ApiRig,
) -> None:
    await add_account(api.mail.connection, "other", sync_priority=3)
    long_ago = (datetime.now(UTC) - timedelta(days=30)).isoformat()
    await synced_earlier(api)
    heard: list[str] = []
    await api.mail.connection.add_listener("emailsync_wake", lambda *told: heard.append(told[3]))

    await api.ask("PUT", "/tenants/acme", json={"last_login_at": long_ago})

    others = "SELECT sync_priority FROM provider_configs WHERE tenant_id = 'other'"
    assert await api.mail.rows(others) == [{"sync_priority": 3}]
    assert heard == []


async def test_another_weight_is_told_to_the_daemons(api: ApiRig) -> None:
    heard: list[str] = []
    await api.mail.connection.add_listener("emailsync_wake", lambda *told: heard.append(told[3]))
    await synced_earlier(api)

    await api.ask("PUT", "/tenants/acme", json={"weight": 10})

    await api.mail.connection.execute("SELECT 1")
    assert len(heard) == 1


@pytest.mark.parametrize(
    "body",
    [
        {"weight": 0},
        {"weight": 1_001},
        {"weight": "1"},
        {"weight": None},
        {"plan": "x" * 201},
        {"plan": "a\0b"},
        {"last_login_at": "2026-01-02T03:04:05"},
        {"last_login_at": "yesterday"},
        {"id": "other"},
    ],
)
async def test_what_no_tenant_can_be_is_refused(api: ApiRig, body: dict[str, Any]) -> None:
    refused(await api.ask("PUT", "/tenants/acme", json=body), 422)


@pytest.mark.parametrize("name", ["a/b", "ä ö", "100%", "a%2Fb", "..", "?x=1", "x" * 200])
async def test_a_tenant_may_have_any_id(api: ApiRig, name: str) -> None:
    path = "/tenants/" + "".join(f"%{byte:02X}" for byte in name.encode())

    made = await api.ask("PUT", path, json={})

    assert (made.status_code, made.json()["id"]) == (201, name)
    assert (await api.get(path)).json()["id"] == name


async def test_tenants_are_listed_in_pages(api: ApiRig) -> None:
    for number in range(4):
        await api.ask("PUT", f"/tenants/t{number}", json={})

    first = (await api.get("/tenants", params={"limit": 3})).json()
    second = (await api.get("/tenants", params={"cursor": first["next_cursor"]})).json()

    listed = [tenant["id"] for tenant in first["items"] + second["items"]]
    assert listed == ["acme", "other", "t0", "t1", "t2", "t3"]
    assert second["next_cursor"] is None


async def test_an_erased_tenant_is_gone_with_everything(api: ApiRig) -> None:
    await api.mail.apply([api.mail.message(1)])

    erased = await api.ask("DELETE", "/tenants/acme")

    assert erased.status_code == 204
    refused(await api.get("/tenants/acme"), 404)
    refused(await api.get(api.account), 404)
    refused(await api.get("/tenants/acme", ACME), 401)
    for table in ("messages", "changes", "folders"):
        assert await api.mail.rows(f"SELECT FROM {table}") == []


async def test_an_absent_tenant_is_not_found(api: ApiRig) -> None:
    refused(await api.get("/tenants/nobody"), 404)
    refused(await api.ask("DELETE", "/tenants/nobody"), 404)


async def test_a_tenants_token_shows_its_tenant_and_cannot_make_it_urgent(api: ApiRig) -> None:
    own = await api.get("/tenants/acme", ACME)
    foreign = await api.get("/tenants/other", ACME)
    promoted = await api.ask("PUT", "/tenants/acme", ACME, json={"plan": "premium"})

    assert own.json()["id"] == "acme"
    refused(foreign, 404)
    refused(promoted, 403)


async def test_nothing_is_added_to_a_tenant_while_it_is_erased(api: ApiRig) -> None:
    await api.backend.erasure.mark_tenant(api.mail.lease.key.tenant_id)

    refused(await api.ask("PUT", "/tenants/acme", json={}), 409)
    refused(await api.get("/tenants/acme"), 404)
