"""Every route is asked by everybody: a route that is added here without an entry fails."""

from datetime import UTC, datetime, timedelta

import pytest

from api_rig import ACME, ADMIN, METRICS, OTHER, ApiRig
from emailsync.api.endpoints import ANY_METHOD, Access, Endpoint
from emailsync.api.openapi import statuses
from emailsync.crypto import token_hash
from emailsync.domain.access import Grant, Scope

EXPIRED, REMOVED, WRONG = "an-expired-token", "a-removed-token", "no-token-of-ours"

ROUTES = {
    ("GET", "/health"): Access.OPEN,
    ("GET", "/health/ready"): Access.OPEN,
    ("GET", "/health/queues"): Access.METRICS,
    ("GET", "/health/metrics"): Access.METRICS,
    ("GET", "/openapi.json"): Access.ANY_TOKEN,
    ("GET", "/"): Access.OPEN,
    ("GET", "/dashboard/{name}.js"): Access.OPEN,
    ("GET", "/dashboard/{name}.css"): Access.OPEN,
    ("GET", "/session"): Access.OPEN,
    ("POST", "/session"): Access.OPEN,
    ("DELETE", "/session"): Access.OPEN,
    ("GET", "/overview"): Access.TENANT,
    ("GET", "/runs"): Access.TENANT,
    ("GET", "/providers"): Access.TENANT,
    ("POST", "/providers"): Access.TENANT,
    ("GET", "/providers/{provider_id}"): Access.TENANT,
    ("PATCH", "/providers/{provider_id}"): Access.TENANT,
    ("DELETE", "/providers/{provider_id}"): Access.TENANT,
    ("POST", "/providers/{provider_id}/sync"): Access.TENANT,
    ("POST", "/providers/{provider_id}/pause"): Access.TENANT,
    ("POST", "/providers/{provider_id}/resume"): Access.TENANT,
    ("POST", "/providers/{provider_id}/test"): Access.TENANT,
    ("GET", "/providers/{provider_id}/runs"): Access.TENANT,
    ("GET", "/providers/{provider_id}/explain"): Access.TENANT,
    ("GET", "/providers/{provider_id}/folders"): Access.TENANT,
    ("POST", "/providers/google/connect"): Access.TENANT,
    ("POST", "/providers/microsoft/connect"): Access.TENANT,
    ("GET", "/providers/google/callback"): Access.OPEN,
    ("GET", "/providers/microsoft/callback"): Access.OPEN,
    ("GET", "/tenants"): Access.ADMIN,
    ("GET", "/tenants/{tenant_id}"): Access.TENANT,
    ("PUT", "/tenants/{tenant_id}"): Access.ADMIN,
    ("DELETE", "/tenants/{tenant_id}"): Access.ADMIN,
    ("GET", "/tenants/{tenant_id}/messages"): Access.TENANT,
    ("GET", "/tenants/{tenant_id}/messages/{message_id}"): Access.TENANT,
    ("GET", "/tenants/{tenant_id}/messages/{message_id}/raw"): Access.TENANT,
    ("GET", "/tenants/{tenant_id}/messages/{message_id}/attachments/{position}"): Access.TENANT,
    ("GET", "/changes"): Access.TENANT,
    (ANY_METHOD, "/email-config"): Access.ANY_TOKEN,
    (ANY_METHOD, "/email-config/{rest:path}"): Access.ANY_TOKEN,
    (ANY_METHOD, "/email-configs"): Access.ANY_TOKEN,
    (ANY_METHOD, "/email-configs/{rest:path}"): Access.ANY_TOKEN,
}
OWNED = ("/providers/{provider_id}", "/tenants/{tenant_id}")
"""Below these a tenant's token finds its own things only."""


MAIL = """Content-Type: multipart/mixed; boundary=x

--x

text
--x
Content-Disposition: attachment; filename=a.txt

abc
--x--
"""


@pytest.fixture
async def matrix(api: ApiRig) -> ApiRig:
    """The API with a message to look at, and with tokens that were good once."""
    await api.mail.apply([api.mail.message(1, MAIL)])
    tokens, grant = api.backend.tokens, Grant(Scope.ADMIN)
    past = datetime.now(UTC) - timedelta(seconds=1)
    await tokens.add(EXPIRED, token_hash(EXPIRED.encode()), grant, expires_at=past)
    await tokens.add(REMOVED, token_hash(REMOVED.encode()), grant, expires_at=None)
    await tokens.remove(REMOVED)
    return api


async def ask(matrix: ApiRig, entry: Endpoint, token: str | None, message: int) -> int:
    path = entry.route.replace(":path", "").format(
        provider_id=matrix.mail.lease.key.account_id,
        tenant_id="acme",
        message_id=message,
        position=0,
        rest="1/test",
        name="main" if entry.route.endswith(".js") else "theme",
    )
    method = "POST" if entry.method == ANY_METHOD else entry.method
    body = {} if method in {"PUT", "PATCH"} else None
    return (await matrix.ask(method, path, token, json=body)).status_code


def expected(entry: Endpoint, token: str | None) -> set[int]:
    """Return what whoever shows this token may be answered."""
    answered = set(entry.answers) | ({415} if entry.method == "POST" else set())
    if entry.access is Access.OPEN:
        return answered
    scope = {ADMIN: Scope.ADMIN, METRICS: Scope.METRICS}.get(token or "", Scope.TENANT)
    if token is None:
        return {401}
    if token in {WRONG, EXPIRED, REMOVED}:
        return {401, 429}  # after a few of them
    if not entry.access.allows(scope):
        return {403}
    if token == OTHER and entry.route.startswith(OWNED):
        return {404}
    return answered


def test_the_matrix_knows_every_route(api: ApiRig) -> None:
    assert {(entry.method, entry.route): entry.access for entry in api.table} == ROUTES


@pytest.mark.parametrize(
    "token",
    [None, WRONG, EXPIRED, REMOVED, METRICS, OTHER, ACME, ADMIN],
    ids=["none", "wrong", "expired", "removed", "metrics", "other", "own", "admin"],
)
async def test_every_route_answers_who_may_ask_and_nobody_else(
    matrix: ApiRig, token: str | None
) -> None:
    """What erases comes last, so that there is something to be asked for."""
    table = sorted(matrix.table, key=lambda entry: (entry.method == "DELETE", entry.route))
    (message,) = (await matrix.mail.ids()).values()

    for entry in table:
        status = await ask(matrix, entry, token, message)

        assert status in expected(entry, token), f"{entry.method} {entry.route}: {status}"
        assert status in statuses(entry), f"{entry.method} {entry.route} does not declare {status}"


async def test_an_unknown_route_needs_no_token_to_be_unknown(api: ApiRig) -> None:
    for path in ("/nothing", "/providers/", "/tenants/acme/", "//providers", "/PROVIDERS"):
        assert (await api.get(api.url + path, token=None)).status_code == 404, path
