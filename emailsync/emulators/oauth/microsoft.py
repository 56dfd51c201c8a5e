"""Microsoft's token endpoint (v2.0): codes, refresh tokens and client credentials."""

from collections.abc import Mapping
from typing import Any

from emailsync.emulators.http_host import ANY_MAILBOX
from emailsync.emulators.oauth.codes import redeemed
from emailsync.emulators.oauth.ledger import Client, OAuthLedger, User
from emailsync.emulators.oauth.refusals import UNAUTHORIZED, Refused

ISSUER = "microsoft"
COMMON = frozenset({"common", "organizations", "consumers"})
RESERVED = frozenset({"openid", "profile", "offline_access", "email"})
DEFAULT = "/.default"


def microsoft_token(ledger: OAuthLedger, tenant: str, form: Mapping[str, str]) -> dict[str, Any]:
    """Return the answer to a form that was sent to a directory's endpoint.

    Raises:
        Refused: in place of tokens.
    """
    if tenant not in COMMON | ledger.directories:
        raise Refused("invalid_request", f"Tenant '{tenant}' not found.", numbers=(90002,))
    client = _client(ledger, form)
    match form.get("grant_type"):
        case "authorization_code":
            return _first_tokens(ledger, form)
        case "refresh_token":
            return _refreshed(ledger, client, form)
        case "client_credentials":
            return _for_application(ledger, tenant, form)
        case _:
            raise Refused("unsupported_grant_type", "Unsupported grant type.", numbers=(70003,))


def _client(ledger: OAuthLedger, form: Mapping[str, str]) -> Client:
    client = ledger.clients.get(form.get("client_id", ""))
    if client is None or client.unauthorised:
        description = "Application was not found in the directory."
        raise Refused("unauthorized_client", description, numbers=(700016,))
    if client.secret != form.get("client_secret"):
        description = "Invalid client secret provided."
        raise Refused("invalid_client", description, status=UNAUTHORIZED, numbers=(7000215,))
    return client


def _first_tokens(ledger: OAuthLedger, form: Mapping[str, str]) -> dict[str, Any]:
    asked = redeemed(ledger, ISSUER, form)
    if asked is None:
        description = "The provided authorization code or refresh token has expired."
        raise Refused("invalid_grant", description, numbers=(70008,))
    refresh_token = ledger.add_user(
        asked.address, client_id=asked.client_id, scopes=asked.scopes - RESERVED
    )
    return {
        "token_type": "Bearer",
        "scope": " ".join(sorted(asked.scopes - {"offline_access"})),
        "expires_in": int(ledger.access_token_life_s),
        "ext_expires_in": int(ledger.access_token_life_s),
        "access_token": ledger.issue(asked.address),
        **({"refresh_token": refresh_token} if "offline_access" in asked.scopes else {}),
    }


def _refreshed(ledger: OAuthLedger, client: Client, form: Mapping[str, str]) -> dict[str, Any]:
    refresh_token = form.get("refresh_token", "")
    issued = ledger.refresh_tokens.get(refresh_token)
    if issued is None:
        description = "The provided grant has expired due to it being revoked."
        raise Refused("invalid_grant", description, suberror="bad_token", numbers=(50173,))
    if ledger.clients[issued.client_id] is not client:
        description = "The refresh token was issued to another client."
        raise Refused("invalid_grant", description, suberror="client_mismatch", numbers=(70000,))
    user = ledger.users[issued.address]
    if user.error is not None:
        raise Refused(**user.error)  # type: ignore[arg-type]  # as the test orders it
    scopes = _granted_scopes(user, form.get("scope", ""))
    rotated = ledger.rotate(refresh_token)
    return {
        "token_type": "Bearer",
        "scope": " ".join(scopes),
        "expires_in": int(ledger.access_token_life_s),
        "ext_expires_in": int(ledger.access_token_life_s),
        "access_token": ledger.issue(issued.address),
        "refresh_token": refresh_token if rotated is None else rotated,
    }


def _granted_scopes(user: User, asked: str) -> list[str]:
    """Return the scopes, without their resource as Graph answers them."""
    wanted = [scope for scope in asked.split() if scope not in RESERVED]
    resources = {scope.rpartition("/")[0] for scope in wanted}
    if len(resources) != 1:
        description = "Scopes of one resource are needed, and of no more than one."
        raise Refused("invalid_scope", description, numbers=(28000,))
    if not user.scopes.issuperset(wanted):
        description = "The user or administrator has not consented to use the application."
        raise Refused("invalid_grant", description, suberror="consent_required", numbers=(65001,))
    return [scope.removeprefix("https://graph.microsoft.com/") for scope in wanted]


def _for_application(ledger: OAuthLedger, tenant: str, form: Mapping[str, str]) -> dict[str, Any]:
    if tenant in COMMON:
        description = "A specific tenant is needed for the client credentials flow."
        raise Refused("invalid_request", description, numbers=(53003,))
    if not form.get("scope", "").endswith(DEFAULT):
        description = "The provided value for scope is not valid: it should end with /.default."
        raise Refused("invalid_scope", description, numbers=(70011,))
    return {
        "token_type": "Bearer",
        "expires_in": int(ledger.access_token_life_s),
        "ext_expires_in": int(ledger.access_token_life_s),
        "access_token": ledger.issue(ANY_MAILBOX),
    }
