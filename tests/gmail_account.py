"""One Gmail account synced in this process against the emulator, and the comparison of both."""

import hashlib
import re
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from emailsync.config import (
    GoogleLimits,
    GoogleOAuthSettings,
    LimitsSettings,
    LiveSettings,
    OAuthSettings,
    Settings,
    StoreSettings,
)
from emailsync.crypto import Secret
from emailsync.domain.accounts import ProviderType
from emailsync.emulators.gmail.app import GmailEmulator
from emailsync.emulators.gmail.ledger import GmailMailbox
from emailsync.emulators.gmail.quota import Quota
from emailsync.emulators.http_host import StaticTokens, serve
from emailsync.emulators.usage import Usage
from sync_rig import AccountRow, SyncRig, sync_rig

OWNER = "owner@example.com"
TOKEN = "ya29.owner"
PLENTY = GoogleLimits(
    user_units_per_minute=1_000_000, project_units_per_minute=1_000_000_000, utilisation=1
)  #: no quota of ours in the way
FLAG_LABELS = {"UNREAD", "STARRED", "CHAT"}


@dataclass(frozen=True)
class Mail:
    """One message as either side has it."""

    sha256: str
    thread: str
    received_at_ms: int
    folders: frozenset[str]
    is_read: bool
    is_starred: bool
    is_draft: bool


@dataclass(frozen=True)
class Snapshot:
    """A whole mailbox as either side has it."""

    folders: frozenset[str]
    mail: Mapping[str, Mail]  #: by Gmail's id


class Wire:
    """What the client asks for, and what the test does at a request."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self.requested: list[str] = []  #: ids of messages, in the order asked for
        self.requests = 0
        self.before_request: Callable[[int, str], None] = lambda *_: None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Note a request, then let the emulator answer it."""
        self.requests += 1
        self.before_request(self.requests, scope["path"])
        body = b""
        if scope["method"] == "POST":
            more = True
            while more:
                message = await receive()
                body += message.get("body", b"")
                more = message.get("more_body", False)
        asked = f"{scope['path']} {body.decode()}"
        self.requested += re.findall(r"/users/me/messages/(\w+)", asked)
        is_read = not body

        async def receive_again() -> Message:
            nonlocal is_read
            if is_read:
                return await receive()
            is_read = True
            return {"type": "http.request", "body": body, "more_body": False}

        await self._app(scope, receive_again, send)


@dataclass(frozen=True)
class GmailAccount(SyncRig):
    """An account with the emulated mailbox behind it."""

    emulator: GmailEmulator
    mailbox: GmailMailbox
    settings: LiveSettings
    wire: Wire

    @property
    def usage(self) -> Usage:
        return self.emulator.usage

    async def assert_equal(self) -> None:
        """Hold the database against the ledger: labels, bytes, placements and flags."""
        stored, there = await self.stored(), snapshot_of(self.mailbox)
        assert stored.folders == there.folders
        assert stored.mail.keys() == there.mail.keys()
        assert stored.mail == there.mail

    async def stored(self) -> Snapshot:
        """Return what is stored, in the form of the ledger's snapshot."""
        folders = await self.connection.fetch("SELECT path FROM folders")
        rows = await self.connection.fetch(
            """
            SELECT remote_id, thread_key, encode(sha256(raw), 'hex') AS sha256,
                raw_sha256 = sha256(raw) AS hash_is_right, is_read, is_starred, is_draft,
                round(extract(epoch FROM received_at) * 1000)::bigint AS received_at_ms, (
                    SELECT coalesce(array_agg(f.path), '{}') FROM message_folders AS mf
                    JOIN folders AS f ON f.tenant_id = mf.tenant_id AND f.id = mf.folder_id
                    WHERE mf.tenant_id = m.tenant_id AND mf.message_id = m.id
                ) AS folders
            FROM messages AS m WHERE deleted_at IS NULL
            """
        )
        assert all(row["hash_is_right"] for row in rows)
        mail = {
            row["remote_id"]: Mail(
                sha256=row["sha256"],
                thread=row["thread_key"],
                received_at_ms=row["received_at_ms"],
                folders=frozenset(row["folders"]),
                is_read=row["is_read"],
                is_starred=row["is_starred"],
                is_draft=row["is_draft"],
            )
            for row in rows
        }
        assert len(mail) == len(rows), "a message is stored twice"
        return Snapshot(frozenset(row["path"] for row in folders), mail)

    async def cursor(self) -> Mapping[str, str | None]:
        """Return the account's bookmarks."""
        row = await self.connection.fetchrow(
            "SELECT last_history_id, resume_token FROM provider_configs"
        )
        assert row is not None
        return dict(row)

    async def unexplained_counts(self) -> list[str]:
        """Return the folders whose count differed from Gmail's at their last check."""
        rows = await self.connection.fetch(
            "SELECT path FROM folders WHERE remote_count IS DISTINCT FROM stored_count"
            " AND remote_count IS NOT NULL"
        )
        return [row["path"] for row in rows]


def snapshot_of(mailbox: GmailMailbox) -> Snapshot:
    """Return what the ledger holds, as it should be stored."""
    names = {label.id: label.name for label in mailbox.labels.values()}
    folders = {name for label, name in names.items() if label not in FLAG_LABELS}
    return Snapshot(
        frozenset(folders | {"Archive"}),
        {
            message.id: Mail(
                sha256=hashlib.sha256(message.raw).hexdigest(),
                thread=message.thread_id,
                received_at_ms=message.internal_date,
                folders=frozenset(names[label] for label in message.labels - FLAG_LABELS)
                or frozenset({"Archive"}),
                is_read="UNREAD" not in message.labels,
                is_starred="STARRED" in message.labels,
                is_draft="DRAFT" in message.labels,
            )
            for message in mailbox.messages.values()
        },
    )


def gmail_rig(
    database_url: str,
    base_url: str,
    settings: LiveSettings,
    *,
    user: str,
    token: str,
    key_file: Path,
) -> AbstractAsyncContextManager[SyncRig]:
    """Make an account of a user's mailbox, whose access token is good for long."""
    row = AccountRow(
        provider_type=ProviderType.GOOGLE,
        email_address=user,
        settings={},
        credentials={
            "refresh_token": Secret("1//of-the-user"),
            "access_token": Secret(token),
            "expires_at": Secret("2100-01-01T00:00:00+00:00"),
        },
        endpoint=base_url.removeprefix("http://"),
    )
    return sync_rig(database_url, row, settings=settings, key_file=key_file)


def gmail_settings(base_url: str, **sections: Any) -> LiveSettings:
    """Return settings by which Gmail is at that address, with no quota of ours unless told so."""
    google = GoogleOAuthSettings(api_url=base_url)
    sections = {"limits": LimitsSettings(google=PLENTY), **sections}
    return LiveSettings(Settings(oauth=OAuthSettings(google=google), **sections))


@asynccontextmanager
async def gmail_account(
    database_url: str,
    key_file: Path,
    *,
    quota: Quota | None = None,
    limits: GoogleLimits = PLENTY,
    store: StoreSettings | None = None,
) -> AsyncIterator[GmailAccount]:
    """Serve an empty mailbox and make an account of it; quotas are enforced only where given."""
    emulator = GmailEmulator(StaticTokens({TOKEN: OWNER}), quota=quota or Quota.preset("off"))
    mailbox = emulator.ledger.add_mailbox(OWNER, seed=7)
    wire = Wire(emulator.app)
    async with serve(wire) as base_url:
        settings = gmail_settings(
            base_url, limits=LimitsSettings(google=limits), store=store or StoreSettings()
        )
        async with gmail_rig(
            database_url, base_url, settings, user=OWNER, token=TOKEN, key_file=key_file
        ) as rig:
            yield GmailAccount(
                rig.job, rig.run_job, rig.connection, emulator, mailbox, settings, wire
            )
