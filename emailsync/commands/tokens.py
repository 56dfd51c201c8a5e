"""`emailsyncd token ...`: the bearer tokens of the HTTP API."""

import secrets
from datetime import UTC, datetime, timedelta
from typing import Final

from emailsync.commands.installation import opened_installation
from emailsync.commands.output import Answer, CommandFailed, ExitCode
from emailsync.config import Settings
from emailsync.crypto import token_hash
from emailsync.domain.access import Grant, Scope
from emailsync.domain.accounts import TenantId
from emailsync.store.tokens import TokenInfo, TokenStore

TOKEN_BYTES: Final = 32
COLUMNS: Final = ("name", "scope", "tenant_id", "expires_at", "state", "created_at")


def grant_of(scope: Scope, tenant: str | None) -> Grant:
    """Return what a token is to open.

    Raises:
        CommandFailed: the scope and the tenant do not belong together.
    """
    try:
        return Grant(scope, None if tenant is None else TenantId(tenant))
    except ValueError:
        raise CommandFailed(
            f"--scope {Scope.TENANT} takes --tenant ID, and the other scopes do not", ExitCode.USAGE
        ) from None


async def add(name: str, grant: Grant, days: int | None, settings: Settings, answer: Answer) -> int:
    """Make a token and show it, once: only its hash is stored."""
    token = secrets.token_urlsafe(TOKEN_BYTES)
    expires_at = None if days is None else datetime.now(UTC) + timedelta(days=days)
    async with opened_installation(settings) as installation:
        tokens = TokenStore(installation.database)
        await tokens.add(name, token_hash(token.encode()), grant, expires_at=expires_at)
    answer.say(token, name=name, token=token)
    return ExitCode.OK


async def list_all(settings: Settings, answer: Answer) -> int:
    """List the tokens, which nobody can read any more."""
    async with opened_installation(settings) as installation:
        found = await TokenStore(installation.database).list_all()
    answer.table(COLUMNS, [_facts(token) for token in found], whole=("name",))
    return ExitCode.OK


async def remove(name: str, settings: Settings, answer: Answer) -> int:
    """Remove a token: it opens nothing from the next request on."""
    async with opened_installation(settings) as installation:
        if not await TokenStore(installation.database).remove(name):
            raise CommandFailed(f"there is no token {name}", ExitCode.USAGE)
    answer.say(f"removed {name}", name=name)
    return ExitCode.OK


def _facts(token: TokenInfo) -> dict[str, object]:
    return {
        "name": token.name,
        "scope": token.scope.value,
        "tenant_id": token.tenant_id,
        "expires_at": token.expires_at,
        "state": "expired" if token.is_over else "valid",
        "created_at": token.created_at,
    }
