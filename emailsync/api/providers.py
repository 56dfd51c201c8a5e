"""Accounts over HTTP: added, shown, changed, synced, paused, resumed, tried, removed, explained.

What a tenant's token may not see does not exist for it.
"""

from collections.abc import Mapping
from datetime import timedelta
from typing import Annotated, Any, Final
from uuid import UUID

import anyio
from pydantic import Field, TypeAdapter
from starlette.background import BackgroundTask
from starlette.responses import Response

from emailsync.api.backend import Reach
from emailsync.api.dispatch import reply
from emailsync.api.endpoints import Access, Call, Content, Endpoint, Nothing, Table
from emailsync.api.explaining import reasons
from emailsync.api.fields import NO_NUL, PageQuery, ProviderPath, RowId, TenantText
from emailsync.api.overview_models import FolderPage
from emailsync.api.paging import decode, page
from emailsync.api.problems import MEDIA_TYPE, Refused, not_found, wrong
from emailsync.api.provider_models import (
    ExplainedProvider,
    LoginTest,
    NewAccountOfAnyType,
    NewProvider,
    ProviderChange,
    ProviderConfig,
    ProviderPage,
    ProvidersQuery,
    Run,
    RunPage,
    shown,
)
from emailsync.config import LiveSettings
from emailsync.crypto import Secret
from emailsync.domain.access import Grant, Scope
from emailsync.domain.accounts import AccountId, AccountKey, ProviderType
from emailsync.domain.errors import Misconfigured, SyncError
from emailsync.providers.account_settings import check_settings, secret_of
from emailsync.store.accounts import FIRST, MAX_ID, AccountFilter, AccountInfo, NewAccount

FolderPlace = Annotated[str, Field(pattern=NO_NUL)]
KEY: Final = TypeAdapter(tuple[TenantText, UUID])
RUN: Final = TypeAdapter(tuple[RowId])
FOLDER: Final = TypeAdapter(tuple[FolderPlace, RowId])
REACH: Final = frozenset({"host", "port", "security", "username"})  #: where a password is sent to
TEST_WITHIN_S: Final = 30.0
TESTS_AT_ONCE: Final = 4
ERASED_WITHIN_S: Final = 10.0  #: a mailbox of some ten thousand messages; longer, and it goes on

PlainProviderCall = Call[ProviderPath, Nothing, Nothing]


class Providers:
    """The resource `/providers`."""

    def __init__(self, reach: Reach, settings: LiveSettings) -> None:
        self._reach = reach
        self._settings = settings
        self._tests = anyio.CapacityLimiter(TESTS_AT_ONCE)

    @property
    def table(self) -> Table:
        """The entries."""
        account: Content = ProviderConfig
        one, tenant = "/providers/{provider_id}", Access.TENANT
        conflict: Content = MEDIA_TYPE
        return (
            Endpoint("GET", "/providers", tenant, "The accounts", self.list, {200: ProviderPage}),
            Endpoint("POST", "/providers", tenant, "Add an account; it is synced at once", self.add,
                     {201: account, 409: conflict}),
            Endpoint("GET", one, tenant, "An account", self.show, {200: account}),
            Endpoint("PATCH", one, tenant, "Change an account; it is tried at once", self.change,
                     {200: account}),
            Endpoint("DELETE", one, tenant, "Remove it with everything stored of it", self.remove,
                     {202: None, 204: None}),
            Endpoint("POST", f"{one}/sync", tenant, "Sync it now, before all others", self.sync,
                     {202: account, 409: conflict}),
            Endpoint("POST", f"{one}/pause", tenant, "Stop syncing it", self.pause, {200: account}),
            Endpoint("POST", f"{one}/resume", tenant, "Sync it again, whatever stopped it",
                     self.resume, {200: account}),
            Endpoint("POST", f"{one}/test", tenant, "Try whether the login works", self.test,
                     {200: LoginTest}),
            Endpoint("GET", f"{one}/runs", tenant, "How its last syncs went", self.runs,
                     {200: RunPage}),
            Endpoint("GET", f"{one}/folders", tenant, "Its folders, and how much of each is stored",
                     self.folders, {200: FolderPage}),
            Endpoint("GET", f"{one}/explain", tenant, "Why it is where it is", self.explain,
                     {200: ExplainedProvider}),
        )  # fmt: skip

    async def list(self, call: Call[Nothing, ProvidersQuery, Nothing]) -> Response:
        """Return a page of accounts; a tenant's token sees its tenant's."""
        asked, own = call.query, call.grant.tenant_id
        if asked.tenant_id is not None and not call.grant.covers(asked.tenant_id):
            return reply(ProviderPage(items=[], next_cursor=None))
        wanted = AccountFilter(
            tenant_id=own or asked.tenant_id,
            provider_type=asked.provider_type,
            status=asked.status,
            email_address=asked.email_address,
            activity=asked.activity,
            text=asked.search,
        )
        after = FIRST
        if asked.cursor is not None:
            tenant_id, account_id = decode(asked.cursor, KEY)
            after = AccountKey(tenant_id, AccountId(account_id))
        found = await self._reach().accounts.page(
            wanted, after=after, limit=asked.limit + 1, settings=self._settings.current
        )
        accounts, cursor = page(found, asked.limit, _sort_key)
        return reply(
            ProviderPage(items=[self._shown(account) for account in accounts], next_cursor=cursor)
        )

    async def add(self, call: Call[Nothing, Nothing, NewProvider]) -> Response:
        """Add an account; that its login works is shown by its first sync, or by its test."""
        new = call.body.root
        if not call.grant.covers(new.tenant_id):
            raise Refused(
                403, "This token is another tenant's: it cannot add accounts to this one."
            )
        settings = await self._settings_of(new)
        credentials = new.credentials.secrets()
        _check(new.provider_type, settings, credentials)
        _keep_to_consent(call.grant, new.provider_type, before={}, after=settings)
        accounts = self._reach().accounts
        wanted = NewAccount(
            tenant_id=new.tenant_id,
            provider_type=new.provider_type,
            email_address=new.email_address,
            settings=settings,
            credentials=credentials,
            api_url=self._settings.current.oauth.api_url(new.provider_type),
        )
        try:
            key = await accounts.add(wanted)
        except Misconfigured as error:
            raise Refused(409, str(error)) from None
        account = await accounts.get(key.account_id, key.tenant_id)
        if account is None:
            raise not_found()
        location = {"Location": f"/providers/{key.account_id}"}
        return reply(self._shown(account), 201, headers=location)

    async def _settings_of(self, new: NewAccountOfAnyType) -> dict[str, Any]:
        """Return the settings of a new account, its server found if it names none."""
        given = new.settings.model_dump(mode="json", exclude_none=True)
        if new.provider_type is not ProviderType.IMAP:
            return given
        if "host" in given:
            return {"username": new.email_address} | given
        if where := next((name for name in ("port", "security") if name in given), None):
            raise wrong(f"body.settings.{where}", "needs a host beside it")
        try:
            found = await self._reach().servers.find(new.email_address, oauth=given.get("oauth"))
        except Misconfigured as error:
            raise wrong("body.settings.host", str(error)) from None
        return found.settings() | given

    async def show(self, call: PlainProviderCall) -> Response:
        """Return an account."""
        return reply(self._shown(await self._account(call.path, call.grant)))

    async def change(self, call: Call[ProviderPath, Nothing, ProviderChange]) -> Response:
        """Change settings and secret: how an account that needs it is reconnected."""
        account = await self._account(call.path, call.grant)
        asked = call.body
        settings = {
            name: value
            for name, value in {
                **account.settings,
                **asked.settings.model_dump(mode="json", exclude_unset=True),
            }.items()
            if value is not None
        }
        credentials = None if asked.credentials is None else asked.credentials.secrets()
        if credentials is None and call.grant.scope is not Scope.ADMIN:
            _keep_secret_at_home(account.settings, settings)
        _check(account.provider_type, settings, credentials)
        _keep_to_consent(call.grant, account.provider_type, before=account.settings, after=settings)
        await self._reach().accounts.change(
            account,
            settings=settings,
            credentials=credentials,
            is_active=account.is_active if asked.is_active is None else asked.is_active,
            api_url=self._settings.current.oauth.api_url(account.provider_type),
        )
        return reply(self._shown(await self._account(call.path, call.grant)))

    async def remove(self, call: PlainProviderCall) -> Response:
        """Remove an account: it is gone at once, its rows as soon as they are erased."""
        account = await self._account(call.path, call.grant)
        erasure = self._reach().erasure
        if not await erasure.mark_account(account.key):
            raise not_found()
        with anyio.move_on_after(ERASED_WITHIN_S):
            await erasure.erase_account(account.key)
            return Response(status_code=204)
        return Response(
            status_code=202, background=BackgroundTask(erasure.erase_account, account.key)
        )

    async def sync(self, call: PlainProviderCall) -> Response:
        """Have it synced before all that is due."""
        account = await self._account(call.path, call.grant)
        if not await self._reach().accounts.request_sync(account.key):
            raise Refused(
                409,
                f"Its status is {account.status}, so it is not synced. POST .../resume starts it "
                "again; new credentials by PATCH reconnect it; is_active must be true.",
            )
        return reply(self._shown(await self._account(call.path, call.grant)), 202)

    async def pause(self, call: PlainProviderCall) -> Response:
        """Stop syncing it; what is stored stays."""
        account = await self._account(call.path, call.grant)
        await self._reach().accounts.pause(account.key)
        return reply(self._shown(await self._account(call.path, call.grant)))

    async def resume(self, call: PlainProviderCall) -> Response:
        """Sync it again and at once."""
        account = await self._account(call.path, call.grant)
        await self._reach().accounts.resume(account.key)
        return reply(self._shown(await self._account(call.path, call.grant)))

    async def test(self, call: PlainProviderCall) -> Response:
        """Log in and out again with what is stored; a login that fails is an answer."""
        account = await self._account(call.path, call.grant)
        backend = self._reach()
        try:
            opened = await backend.accounts.opened(account)
            if opened is None:
                raise not_found()
            async with self._tests:
                with anyio.fail_after(TEST_WITHIN_S):
                    await backend.openers[account.provider_type].test(opened)
        except TimeoutError:
            return reply(
                LoginTest(ok=False, error_class="TimeoutError", detail="the server took too long")
            )
        except SyncError as error:
            return reply(LoginTest(ok=False, error_class=type(error).__name__, detail=str(error)))
        return reply(LoginTest(ok=True))

    async def runs(self, call: Call[ProviderPath, PageQuery, Nothing]) -> Response:
        """Return its last syncs, the latest first."""
        account = await self._account(call.path, call.grant)
        asked = call.query
        (before,) = (MAX_ID,) if asked.cursor is None else decode(asked.cursor, RUN)
        found = await self._reach().accounts.runs(account.key, limit=asked.limit + 1, before=before)
        runs, cursor = page(found, asked.limit, lambda run: (run.id,))
        return reply(RunPage(items=[Run.of(run) for run in runs], next_cursor=cursor))

    async def folders(self, call: Call[ProviderPath, PageQuery, Nothing]) -> Response:
        """Return its folders, by path."""
        account = await self._account(call.path, call.grant)
        asked = call.query
        after = ("", 0) if asked.cursor is None else decode(asked.cursor, FOLDER)
        found = await self._reach().monitor.folders(account.key, after=after, limit=asked.limit + 1)
        folders, cursor = page(found, asked.limit, lambda folder: (folder.path, folder.id))
        return reply(FolderPage(items=list(folders), next_cursor=cursor))

    async def explain(self, call: PlainProviderCall) -> Response:
        """Say what it waits for, and what is stored of it."""
        account = await self._account(call.path, call.grant)
        explained = await self._reach().accounts.explain(account.key)
        if explained is None:
            raise not_found()
        return reply(
            ExplainedProvider(
                account=self._shown(explained.account),
                because=list(reasons(explained, self._interval(explained.account))),
                folders=explained.folders,
                backfilling_folders=explained.backfilling_folders,
                differing_folders=explained.differing_folders,
                stored_messages=explained.stored_messages,
                remote_messages=explained.remote_messages,
                next_comparison_at=explained.next_comparison_at,
                quarantined=explained.quarantined,
                runs=[Run.of(run) for run in explained.runs],
            )
        )

    async def _account(self, path: ProviderPath, grant: Grant) -> AccountInfo:
        found = await self._reach().accounts.get(AccountId(path.provider_id), grant.tenant_id)
        if found is None:
            raise not_found()
        return found

    def _shown(self, account: AccountInfo) -> ProviderConfig:
        return shown(account, self._interval(account))

    def _interval(self, account: AccountInfo) -> timedelta:
        return self._settings.current.intervals.of(account.provider_type).of(account.priority)


def _sort_key(account: AccountInfo) -> tuple[str, str]:
    return account.key.tenant_id, str(account.key.account_id)


def _check(
    kind: ProviderType, settings: Mapping[str, Any], credentials: Mapping[str, Secret] | None
) -> None:
    """Return if an account may be so; without credentials it keeps those that it has."""
    try:
        check_settings(kind, settings)
        needed = secret_of(kind, settings)
    except Misconfigured as error:
        raise wrong("body.settings", str(error)) from None
    if credentials is not None and set(credentials) != {needed} - {None}:
        advice = "none at all" if needed is None else f"{needed} and nothing else"
        raise wrong("body.credentials", f"this account takes {advice}")


def _keep_to_consent(
    grant: Grant, kind: ProviderType, *, before: Mapping[str, Any], after: Mapping[str, Any]
) -> None:
    """Let only an administrator open a mailbox by our own registration, which opens any tenant's.

    A refresh token shows that the mailbox's owner agreed; an address shows nothing.
    """
    if grant.scope is Scope.ADMIN or before == after:
        return
    if secret_of(kind, after) is None:
        raise Refused(
            403,
            "Ask an administrator: only an admin token lets our own registration open a mailbox.",
        )


def _keep_secret_at_home(before: Mapping[str, Any], after: Mapping[str, Any]) -> None:
    """Refuse to send a stored secret anywhere else: only who knows it may say where it goes."""
    if any(before.get(name) != after.get(name) for name in REACH):
        raise Refused(
            403,
            "Send the credentials together with another host, port, security or username: those "
            "that are stored are not sent to another place.",
        )
