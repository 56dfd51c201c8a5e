"""One Microsoft account synced in this process against the emulator, and the comparison of both."""

import hashlib
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from emailsync.config import (
    LimitsSettings,
    LiveSettings,
    MicrosoftLimits,
    OAuthSettings,
    Settings,
    StoreSettings,
)
from emailsync.crypto import Secret
from emailsync.domain.accounts import ProviderType
from emailsync.emulators.graph.app import GraphEmulator
from emailsync.emulators.graph.items import Message
from emailsync.emulators.graph.mailbox import Mailbox
from emailsync.emulators.graph.message_json import PROPERTIES, MessageView, conversation_of
from emailsync.emulators.graph.odata import Preferences, Selection
from emailsync.emulators.graph.throttling import Limits
from emailsync.emulators.http_host import StaticTokens, serve
from emailsync.emulators.oauth.app import OAuthEmulator
from emailsync.emulators.usage import Usage
from sync_rig import AccountRow, SyncRig, sync_rig

OWNER = "ada@example.test"
TOKEN = "ada-token"
PLENTY = MicrosoftLimits(mailbox_requests_per_10_minutes=1_000_000)  #: but half of those at once
UNLIMITED = Limits(mailbox_requests=None, mailbox_concurrent=None, application_requests=None)
CREDENTIALS = {
    "refresh_token": Secret("0.refresh"),
    "access_token": Secret(TOKEN),
    "expires_at": Secret("2100-01-01T00:00:00+00:00"),
}


@dataclass(frozen=True)
class Mail:
    """One message as either side has it."""

    folder: str
    thread: str
    received_at: str
    subject: str
    is_read: bool
    is_starred: bool
    is_draft: bool
    categories: tuple[str, ...]
    attachments: tuple[str, ...]  #: names of files, in their order


@dataclass(frozen=True)
class Snapshot:
    """A whole mailbox as either side has it."""

    folders: frozenset[str]
    mail: Mapping[str, Mail]  #: by immutable id


@dataclass(frozen=True)
class GraphAccount(SyncRig):
    """An account with the emulated mailbox behind it."""

    emulator: GraphEmulator
    mailbox: Mailbox
    settings: LiveSettings

    @property
    def usage(self) -> Usage:
        return self.emulator.usage

    @property
    def keeps_raw(self) -> bool:
        return self.settings.current.store.raw

    @property
    def http_requests(self) -> int:
        """Return how many HTTP requests there were since the last reset."""
        return self.usage.requests.total()

    async def assert_equal(self) -> None:
        """Hold the database against the ledger: folders, placements, flags and contents."""
        stored, there = await self.stored(), snapshot_of(self.mailbox)
        assert stored.folders == there.folders
        assert stored.mail.keys() == there.mail.keys()
        assert stored.mail == there.mail
        await self._assert_same_contents()
        assert await self.unexplained_counts() == []

    async def stored(self) -> Snapshot:
        """Return what is stored, in the form of the ledger's snapshot."""
        folders = await self.connection.fetch("SELECT path FROM folders")
        rows = await self.connection.fetch(
            """
            SELECT remote_id, thread_key, subject, is_read, is_starred, is_draft, keywords,
                to_char(received_at AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS') AS received_at, (
                    SELECT string_agg(f.path, '|') FROM message_folders AS mf
                    JOIN folders AS f ON f.tenant_id = mf.tenant_id AND f.id = mf.folder_id
                    WHERE mf.tenant_id = m.tenant_id AND mf.message_id = m.id
                ) AS folder, ARRAY (
                    SELECT filename FROM attachments AS a
                    WHERE a.tenant_id = m.tenant_id AND a.message_id = m.id
                        AND filename IS NOT NULL ORDER BY position
                ) AS attachments
            FROM messages AS m WHERE deleted_at IS NULL
            """
        )
        mail = {
            row["remote_id"]: Mail(
                folder=row["folder"],
                thread=row["thread_key"],
                received_at=row["received_at"],
                subject=row["subject"] or "",
                is_read=row["is_read"],
                is_starred=row["is_starred"],
                is_draft=row["is_draft"],
                categories=tuple(row["keywords"]),
                attachments=tuple(row["attachments"]),
            )
            for row in rows
        }
        assert len(mail) == len(rows), "a message is stored twice"
        return Snapshot(frozenset(row["path"] for row in folders), mail)

    async def contents(self) -> Mapping[str, Any]:
        """Return bytes and bodies of each message by id."""
        rows = await self.connection.fetch(
            "SELECT remote_id, encode(sha256(raw), 'hex') AS raw, raw_sha256 = sha256(raw) AS hash,"
            " body_text, body_html FROM messages WHERE deleted_at IS NULL"
        )
        return {row["remote_id"]: row for row in rows}

    async def unexplained_counts(self) -> list[str]:
        """Return the folders whose count differed from Graph's at their last check."""
        rows = await self.connection.fetch(
            "SELECT path FROM folders WHERE remote_count IS DISTINCT FROM stored_count"
        )
        return [row["path"] for row in rows]

    async def links(self) -> Mapping[str, tuple[str | None, str | None]]:
        """Return delta and resume link of each folder by path."""
        rows = await self.connection.fetch("SELECT path, delta_link, resume_link FROM folders")
        return {row["path"]: (row["delta_link"], row["resume_link"]) for row in rows}

    async def _assert_same_contents(self) -> None:
        for remote_id, row in (await self.contents()).items():
            message = self.mailbox.message(remote_id)
            if self.keeps_raw:
                assert row["raw"] == hashlib.sha256(message.content.raw).hexdigest()
                assert row["hash"]
            else:
                assert row["raw"] is None
                assert row["body_html"] == _html_of(self.mailbox, message)


def _html_of(mailbox: Mailbox, message: Message) -> str:
    """Return the HTML that Graph shows of a message, unsanitised, without returns."""
    view = MessageView(mailbox.folders[message.folder], Preferences(unsafe_html=True), Selection())
    content: str = PROPERTIES["body"](message, view)["content"]
    return content.replace("\r", "").rstrip("\n")


def snapshot_of(mailbox: Mailbox) -> Snapshot:
    """Return what the ledger holds, as it should be stored."""
    return Snapshot(
        frozenset(
            mailbox.path(folder)
            for folder in mailbox.folders.values()
            if folder.parent is not None and not folder.is_hidden
        ),
        {
            message.id: Mail(
                folder=path,
                thread=conversation_of(message),
                received_at=f"{message.received_at:%Y-%m-%d %H:%M:%S}",
                subject=message.content.subject,
                is_read=message.is_read,
                is_starred=message.flag == "flagged",
                is_draft=message.is_draft,
                categories=tuple(sorted(message.categories)),
                attachments=tuple(part.name for part in message.content.attachments if part.name),
            )
            for path, message in mailbox.truth()
        },
    )


@asynccontextmanager
async def graph_account(
    database_url: str,
    key_file: Path,
    *,
    messages: int = 0,
    folders: tuple[str, ...] = ("Projects", "Projects/2026", "Travel"),
    limits: Limits | None = None,
    ours: MicrosoftLimits = PLENTY,
    store: StoreSettings | None = None,
    display_names: Mapping[str, str] | None = None,
    issuer: OAuthEmulator | None = None,
    oauth: OAuthSettings | None = None,
) -> AsyncIterator[GraphAccount]:
    """Serve a mailbox and make an account of it.

    Its owner's token serves for ever; with an issuer the mailbox is read by the application.
    """
    emulator = GraphEmulator(issuer or StaticTokens({TOKEN: OWNER}), limits=limits)
    mailbox = emulator.ledger.add_mailbox(
        OWNER, messages=messages, seed=7, folders=folders, display_names=display_names
    )
    async with serve(emulator.app) as base_url:
        settings = LiveSettings(
            Settings(
                limits=LimitsSettings(microsoft=ours),
                oauth=_pointing_at(base_url, oauth or OAuthSettings()),
                store=store or StoreSettings(),
            )
        )
        permission = "application" if issuer else "delegated"
        row = AccountRow(
            provider_type=ProviderType.MICROSOFT,
            email_address=OWNER,
            settings={"permission": permission, "tenant": "contoso.example"},
            credentials=CREDENTIALS if issuer is None else {},
            endpoint=base_url.removeprefix("http://"),
        )
        async with sync_rig(database_url, row, settings=settings, key_file=key_file) as rig:
            yield GraphAccount(rig.job, rig.run_job, rig.connection, emulator, mailbox, settings)


def _pointing_at(base_url: str, oauth: OAuthSettings) -> OAuthSettings:
    microsoft = oauth.microsoft.model_copy(update={"api_url": base_url})
    return oauth.model_copy(update={"microsoft": microsoft})
