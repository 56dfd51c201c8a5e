"""Google's token endpoint: codes, refresh tokens and service accounts' assertions."""

from collections.abc import Mapping
from typing import Any

import jwt

from emailsync.emulators.oauth.codes import redeemed
from emailsync.emulators.oauth.ledger import Client, OAuthLedger
from emailsync.emulators.oauth.refusals import UNAUTHORIZED, Refused

ISSUER = "google"
JWT_BEARER = "urn:ietf:params:oauth:grant-type:jwt-bearer"
AUDIENCE = "https://oauth2.googleapis.com/token"
LONGEST_ASSERTION_S = 3_600
SKEW_S = 300  #: of the asker's clock


def google_token(ledger: OAuthLedger, form: Mapping[str, str]) -> dict[str, Any]:
    """Return the answer to a form.

    Raises:
        Refused: in place of tokens.
    """
    match form.get("grant_type"):
        case "authorization_code":
            return _first_tokens(ledger, form)
        case "refresh_token":
            return _refreshed(ledger, form)
        case grant if grant == JWT_BEARER:
            return _delegated(ledger, form.get("assertion", ""))
        case _:
            raise Refused("unsupported_grant_type", "Invalid grant_type")


def _client(ledger: OAuthLedger, form: Mapping[str, str]) -> Client:
    client = ledger.clients.get(form.get("client_id", ""))
    if client is None:
        raise Refused("invalid_client", "The OAuth client was not found.", status=UNAUTHORIZED)
    if client.secret != form.get("client_secret"):
        description = "The provided client secret is invalid."
        raise Refused("invalid_client", description, status=UNAUTHORIZED)
    return client


def _first_tokens(ledger: OAuthLedger, form: Mapping[str, str]) -> dict[str, Any]:
    _client(ledger, form)
    asked = redeemed(ledger, ISSUER, form)
    if asked is None:
        raise Refused("invalid_grant", "Bad Request")
    refresh_token = ledger.add_user(asked.address, client_id=asked.client_id, scopes=asked.scopes)
    return {
        "access_token": ledger.issue(asked.address),
        "expires_in": int(ledger.access_token_life_s),
        "refresh_token": refresh_token,
        "scope": " ".join(sorted(asked.scopes)),
        "token_type": "Bearer",
    }


def _refreshed(ledger: OAuthLedger, form: Mapping[str, str]) -> dict[str, Any]:
    client, client_id = _client(ledger, form), form["client_id"]
    refresh_token = form.get("refresh_token", "")
    issued = ledger.refresh_tokens.get(refresh_token)
    if issued is None:
        raise Refused("invalid_grant", "Token has been expired or revoked.")
    if issued.client_id != client_id or client.unauthorised:
        raise Refused("unauthorized_client", "Unauthorized", status=UNAUTHORIZED)
    user = ledger.users[issued.address]
    if user.error is not None:
        raise Refused(**user.error)  # type: ignore[arg-type]  # as the test orders it
    rotated = ledger.rotate(refresh_token)
    return {
        "access_token": ledger.issue(issued.address),
        "expires_in": int(ledger.access_token_life_s),
        "scope": " ".join(sorted(user.scopes)),
        "token_type": "Bearer",
        **({} if rotated is None else {"refresh_token": rotated}),
    }


def _delegated(ledger: OAuthLedger, assertion: str) -> dict[str, Any]:
    claims = _claims(ledger, assertion)
    account = ledger.service_accounts[claims["iss"]]
    now_s = ledger.clock()
    too_long = claims["exp"] - claims["iat"] > LONGEST_ASSERTION_S
    if too_long or not claims["iat"] - SKEW_S <= now_s < claims["exp"] + SKEW_S:
        raise Refused(
            "invalid_grant",
            "Invalid JWT: Token must be a short-lived token (60 minutes) and in a reasonable "
            "timeframe. Check your iat and exp values in the JWT claim.",
        )
    if not account.scopes.issuperset(str(claims.get("scope", "")).split()):
        raise Refused(
            "unauthorized_client",
            "Client is unauthorized to retrieve access tokens using this method, or client not "
            "authorized for any of the scopes requested.",
            status=UNAUTHORIZED,
        )
    if claims.get("sub") not in ledger.users:
        raise Refused("invalid_grant", "Invalid email or User ID")
    return {
        "access_token": ledger.issue(claims["sub"]),
        "expires_in": int(ledger.access_token_life_s),
        "token_type": "Bearer",
    }


def _claims(ledger: OAuthLedger, assertion: str) -> dict[str, Any]:
    """Return what the assertion says, its signature checked, its times not yet."""
    try:
        issuer = jwt.decode(assertion, options={"verify_signature": False})["iss"]
    except (jwt.PyJWTError, KeyError):
        raise Refused("invalid_grant", "Invalid JWT: Failed to parse.") from None
    account = ledger.service_accounts.get(issuer)
    if account is None:
        raise Refused("invalid_grant", "Invalid grant: account not found")
    try:
        claims: dict[str, Any] = jwt.decode(
            assertion,
            account.key.public_key(),
            algorithms=["RS256"],
            audience=AUDIENCE,
            options={"verify_exp": False, "verify_iat": False},
        )
    except jwt.InvalidAudienceError:
        raise Refused("invalid_grant", "Invalid JWT: Invalid audience.") from None
    except jwt.PyJWTError:
        raise Refused("invalid_grant", "Invalid JWT Signature.") from None
    return claims
