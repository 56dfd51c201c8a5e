"""`emailsyncd check`: everything that can be known to be wrong before the daemon finds out."""

from collections.abc import Mapping, Sequence
from typing import Final

from emailsync.commands.capacity import capacity_findings
from emailsync.commands.findings import Finding, Verdict
from emailsync.commands.output import Answer, ExitCode
from emailsync.commands.registrations import registration_findings
from emailsync.config import Settings
from emailsync.crypto import KeyRing, SecretError
from emailsync.domain.errors import SyncError
from emailsync.secret_files import open_key_ring, open_tokens
from emailsync.store.database import open_database
from emailsync.store.migrations import pending_migrations
from emailsync.store.opening import database_server
from emailsync.store.overview import Demand, Overview, ServerVersion
from emailsync.store.rekeying import unopened

OLDEST_SERVER: Final = 140_000  #: PostgreSQL 14
NO_ACCOUNTS: Final = Demand(accounts={}, mean_duration_s=None)


async def check(settings: Settings, answer: Answer) -> int:
    """Look at everything, say what was found; fails when the daemon could not work like this."""
    keys, key_file = _key_file(settings)
    findings = [
        Finding("settings", Verdict.OK, "valid"),
        key_file,
        _tokens(settings),
        *await _database_and_limits(settings, keys),
    ]
    answer.table(
        ("name", "verdict", "detail"),
        [
            {"name": each.name, "verdict": each.verdict.value, "detail": each.detail}
            for each in findings
        ],
    )
    failed = any(each.verdict is Verdict.FAILED for each in findings)
    return ExitCode.FAILED if failed else ExitCode.OK


def _key_file(settings: Settings) -> tuple[KeyRing | None, Finding]:
    try:
        keys = open_key_ring(settings)
    except SecretError as exc:
        return None, Finding("key file", Verdict.FAILED, str(exc))
    return keys, Finding("key file", Verdict.OK, f"{keys.newest!r} encrypts")


def _tokens(settings: Settings) -> Finding:
    try:
        count = len(open_tokens(settings))
    except SecretError as exc:
        return Finding("http tokens", Verdict.FAILED, str(exc))
    return Finding("http tokens", Verdict.OK, f"{count} in {settings.http.token_file}")


async def _database_and_limits(settings: Settings, keys: KeyRing | None) -> Sequence[Finding]:
    """Hold the limits against the accounts that are there, or without a database against none."""
    try:
        async with database_server(settings, attach=True) as url:
            pending = await pending_migrations(url)
            async with open_database(url, pool_max=2) as database:
                overview = Overview(database)
                version = await overview.server_version()
                demand = NO_ACCOUNTS if pending else await overview.demand()
                uses = () if pending else await overview.registrations()
                closed = {} if pending or keys is None else await unopened(database, keys)
    except SyncError as exc:
        unreachable = Finding("database", Verdict.FAILED, str(exc))
        return (unreachable, *capacity_findings(settings, NO_ACCOUNTS))
    return (
        _version(version),
        _schema(settings, len(pending)),
        *_credentials(closed),
        *registration_findings(settings.oauth, uses),
        *capacity_findings(settings, demand),
    )


def _credentials(closed: Mapping[str, int]) -> Sequence[Finding]:
    return [
        Finding(
            "credentials",
            Verdict.FAILED,
            f"{accounts} account{'s' * (accounts != 1)} cannot log in: {problem};"
            " put a lost key's line back into the key file, or give them new credentials",
        )
        for problem, accounts in closed.items()
    ]


def _version(version: ServerVersion) -> Finding:
    if version.number < OLDEST_SERVER:
        detail = f"PostgreSQL {version.shown} is too old; 14 or newer is needed"
        return Finding("database", Verdict.FAILED, detail)
    return Finding("database", Verdict.OK, f"PostgreSQL {version.shown}")


def _schema(settings: Settings, pending: int) -> Finding:
    if not pending:
        return Finding("schema", Verdict.OK, "up to date")
    if settings.database.auto_migrate:
        return Finding("schema", Verdict.OK, f"{pending} migrations to come, at the next start")
    detail = f"lacks {pending} migrations; run `emailsyncd migrate`"
    return Finding("schema", Verdict.FAILED, detail)
