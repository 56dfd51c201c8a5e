"""`emailsyncd account ...` and `rekey`: what the operator does with accounts."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import asdict, replace
from datetime import timedelta
from typing import Any, Final
from uuid import uuid4

from emailsync.api.explaining import reasons
from emailsync.commands.installation import Installation, opened_installation
from emailsync.commands.logins import is_sent_in_clear, try_login
from emailsync.commands.new_account import option_of, with_server
from emailsync.commands.output import Answer, CommandFailed, ExitCode, complain
from emailsync.config import Settings
from emailsync.crypto import Secret
from emailsync.domain.accounts import AccountId, AccountKey, ProviderType, TenantId
from emailsync.ports import Account
from emailsync.providers.account_settings import secret_of
from emailsync.store.accounts import AccountInfo, AccountStore, NewAccount, RunInfo
from emailsync.store.erasure import Erasure
from emailsync.store.rekeying import rekey as rekey_all

LISTED: Final = (
    "tenant_id", "email_address", "provider_type", "status", "activity", "priority",
    "last_synced_at", "next_sync_at", "last_error", "id",
)  # fmt: skip
LISTED_NARROW: Final = ("email_address", "tenant_id", "status", "activity", "next_sync_at")
WIDE: Final = 120  #: columns of a terminal that has room for everything


async def add(new: NewAccount, settings: Settings, answer: Answer, *, test: bool) -> int:
    """Add an account; with `test` only if its login works."""
    new = await with_server(new, settings.imap)
    if new.provider_type is ProviderType.IMAP and is_sent_in_clear(new.settings):
        complain(
            f"warning: with --security none the password crosses the network to "
            f"{new.settings['host']} in clear, for everybody on the way to read"
        )
    async with opened_installation(settings) as installation:
        if test:
            account = Account(
                key=AccountKey(new.tenant_id, AccountId(uuid4())),
                provider_type=new.provider_type,
                email_address=new.email_address,
                settings=new.settings,
                credentials=new.credentials,
            )
            credentials = await try_login(settings, account, failed="nothing was added")
            new = replace(new, credentials=credentials)
        new = replace(new, api_url=settings.oauth.api_url(new.provider_type))
        key = await installation.accounts.add(new)
    answer.say(
        f"added {new.email_address} of tenant {new.tenant_id} as {key.account_id}",
        id=str(key.account_id),
        tenant_id=key.tenant_id,
    )
    return ExitCode.OK


async def list_all(tenant: str | None, settings: Settings, answer: Answer) -> int:
    """List accounts."""
    async with opened_installation(settings) as installation:
        found = await installation.accounts.list_all(None if tenant is None else TenantId(tenant))
    columns = LISTED if answer.width >= WIDE else LISTED_NARROW
    rows = [_facts(account, settings) for account in found]
    answer.table(columns, rows, whole=("email_address", "id"))
    return ExitCode.OK


async def show(which: str, settings: Settings, answer: Answer) -> int:
    """Show one account."""
    async with opened_installation(settings) as installation:
        answer.facts(_facts(await find_one(installation, which), settings))
    return ExitCode.OK


async def explain(which: str, settings: Settings, answer: Answer) -> int:
    """Say why an account is where it is."""
    async with opened_installation(settings) as installation:
        key = (await find_one(installation, which)).key
        explained = await installation.accounts.explain(key)
    if explained is None:
        raise CommandFailed(f"{which} was removed meanwhile")
    account = explained.account
    facts = _facts(account, settings)
    del facts["settings"]
    answer.facts(
        {
            **facts,
            "because": list(reasons(explained, _interval(account, settings))),
            "messages": f"{explained.stored_messages} stored of {explained.remote_messages}"
            f" in {explained.folders} folders",
            "folders_with_older_mail_to_come": explained.backfilling_folders,
            "folders_that_differ": explained.differing_folders,
            "next_full_comparison_at": explained.next_comparison_at,
            "quarantined": explained.quarantined,
            "last_runs": [_run_line(run) for run in explained.runs],
        }
    )
    return ExitCode.OK


async def pause(which: str, settings: Settings, answer: Answer) -> int:
    """Stop syncing an account."""
    return await _change(which, AccountStore.pause, "paused", settings, answer)


async def resume(
    which: str,
    credentials: Mapping[str, Secret],
    settings: Settings,
    answer: Answer,
    *,
    test: bool,
) -> int:
    """Sync an account again; with a new secret if one is given, with `test` only if it works."""
    if credentials:
        async with opened_installation(settings) as installation:
            account = await find_one(installation, which)
            has = secret_of(account.provider_type, account.settings)
            if set(credentials) != {has}:
                raise CommandFailed(f"this account takes {option_of(has)}", ExitCode.USAGE)
            if test:
                tried = Account(
                    key=account.key,
                    provider_type=account.provider_type,
                    email_address=account.email_address,
                    settings=account.settings,
                    credentials=credentials,
                )
                credentials = await try_login(settings, tried, failed="nothing was changed")
            await installation.accounts.set_credentials(account.key, credentials)
    return await _change(which, AccountStore.resume, "resumed", settings, answer)


async def remove(which: str, settings: Settings, answer: Answer) -> int:
    """Remove an account with its mail."""
    async with opened_installation(settings) as installation:
        account = await find_one(installation, which)
        erasure = Erasure(installation.database)
        await erasure.mark_account(account.key)
        await erasure.erase_account(account.key)
    return _say_done(account, "removed", answer)


async def rekey(settings: Settings, answer: Answer) -> int:
    """Re-encrypt every credential under the newest key."""
    async with opened_installation(settings) as installation:
        done = await rekey_all(installation.database, installation.keys)
        newest = installation.keys.newest
    unreadable = [str(key.account_id) for key in done.unreadable]
    line = f"{done.changed} re-encrypted under {newest!r}, {done.current} were already"
    if unreadable:
        line += (
            f"; no key of the file opens those of {', '.join(unreadable)}: "
            "add their old key, or give them new credentials"
        )
    answer.say(line, key=newest, changed=done.changed, current=done.current, unreadable=unreadable)
    return ExitCode.FAILED if unreadable else ExitCode.OK


async def find_one(installation: Installation, which: str) -> AccountInfo:
    """Return the one account that is meant.

    Raises:
        CommandFailed: there is none, or several tenants have this address.
    """
    found = await installation.accounts.find(which)
    if not found:
        raise CommandFailed(f"there is no account {which}", ExitCode.USAGE)
    if len(found) > 1:
        ids = ", ".join(f"{each.key.account_id} ({each.key.tenant_id})" for each in found)
        raise CommandFailed(
            f"{which} is several accounts, name one by its id: {ids}", ExitCode.USAGE
        )
    return found[0]


async def _change(
    which: str,
    change: Callable[[AccountStore, AccountKey], Awaitable[bool]],
    done: str,
    settings: Settings,
    answer: Answer,
) -> int:
    async with opened_installation(settings) as installation:
        account = await find_one(installation, which)
        await change(installation.accounts, account.key)
    return _say_done(account, done, answer)


def _say_done(account: AccountInfo, done: str, answer: Answer) -> int:
    account_id = str(account.key.account_id)
    answer.say(f"{done} {account.email_address} ({account_id})", id=account_id, done=done)
    return ExitCode.OK


def _interval(account: AccountInfo, settings: Settings) -> timedelta:
    return settings.intervals.of(account.provider_type).of(account.priority)


def _facts(account: AccountInfo, settings: Settings) -> dict[str, Any]:
    """Return an account as names and values; its credentials are not among them."""
    interval, situation = _interval(account, settings), account.situation
    return {
        "id": str(account.key.account_id),
        "tenant_id": account.key.tenant_id,
        "provider_type": account.provider_type.value,
        "email_address": account.email_address,
        "settings": dict(account.settings),
        "status": account.status.value,
        "is_active": account.is_active,
        "activity": situation.activity(interval).value,
        "priority": account.priority.name.lower(),
        "last_synced_at": account.last_synced_at,
        "unsynced_for_s": round(situation.unsynced_for(interval).total_seconds()),
        "next_sync_at": situation.next_try_at,
        "attempt": account.attempt,
        "sync_error_count": account.sync_error_count,
        "last_error": account.last_error,
        "last_error_class": account.last_error_class,
        "last_error_at": account.last_error_at,
        "endpoint": account.endpoint,
        "circuit_state": account.circuit.state.value,
        "lease_owner": account.lease_owner,
        "lease_until": account.lease_until,
        "created_at": account.created_at,
    }


def _run_line(run: RunInfo) -> dict[str, Any]:
    facts = asdict(run)
    del facts["duration"], facts["id"]
    return {**facts, "result": run.result.value, "duration_s": run.duration.total_seconds()}
