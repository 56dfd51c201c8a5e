"""One logged-in IMAP connection in the words of a sync: list, examine, search, fetch.

Read-only by construction: EXAMINE and BODY.PEEK, UIDs and never sequence numbers. Used by one
task. Raises only `SyncError`. Knows the wire, not what a sync does with it.
"""

from array import array
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Final

import anyio
from aioimaplib.aioimaplib import AUTH, LOGOUT, SELECTED

from emailsync.domain.errors import ServerRefused, SyncError
from emailsync.domain.imap_plan import MailboxStatus
from emailsync.domain.uid_set import UidSet
from emailsync.providers.imap.answers import (
    Answer,
    Condition,
    ESearch,
    Fetch,
    Mailbox,
    Search,
    Status,
    Vanished,
)
from emailsync.providers.imap.command import ImapCommand
from emailsync.providers.imap.dialling import ImapTarget, dial
from emailsync.providers.imap.fetching import (
    BodyFetch,
    FetchedFingerprint,
    FetchedFlags,
    OverviewFetch,
    fingerprint_of,
    flags_of,
    stream,
)
from emailsync.providers.imap.listing import ListedFolder, listed_folders, mailbox_status
from emailsync.providers.imap.login import Login, enable, introduce, log_in
from emailsync.providers.imap.protocol import ImapProtocol, WireLimits
from emailsync.providers.imap.quirks import Quirks
from emailsync.providers.imap.refusals import Phase, refusal
from emailsync.providers.imap.uid_listing import expand, read_search, read_uid_set
from emailsync.providers.imap.wire_strings import Literal, wire_string

OVERVIEW_ITEMS: Final = "UID FLAGS INTERNALDATE RFC822.SIZE"
MAX_UNEXPECTED: Final = 100_000
"""Answers to EXAMINE beyond the messages of the folder: what vanished, what changed twice."""
MESSAGE_ID_ITEM: Final = "BODY.PEEK[HEADER.FIELDS (MESSAGE-ID)]"


@dataclass(frozen=True, slots=True, kw_only=True)
class Examined:
    """A folder as it was when it was opened; None where the server does not say."""

    uid_validity: int | None
    uid_next: int | None
    exists: int
    highest_modseq: int | None  #: None: no flag change can be told from another here
    vanished: UidSet | None  #: None: QRESYNC was not used, so nothing is known of expunges
    changed: Sequence[FetchedFlags]  #: since the modseq given, with QRESYNC only


@asynccontextmanager
async def connect(
    target: ImapTarget, login: Login, limits: WireLimits
) -> AsyncIterator["ImapConnection"]:
    """Connect and log in; leaving says goodbye, briefly, and always closes.

    Raises:
        Unreachable, Throttled, AuthRefused, AuthUnproven, Misconfigured: see errors.py.
    """
    protocol = await dial(target, limits)
    try:
        await log_in(protocol, login)
        quirks = await introduce(protocol, target.host)
        enabled = await enable(protocol, quirks)
        yield ImapConnection(protocol, quirks, enabled)
    finally:
        await _leave(protocol)


async def _leave(protocol: ImapProtocol) -> None:
    """Log out unless there is nobody to hear it, or the answer would stand behind others."""
    if protocol.failure is None and protocol.is_quiet:
        protocol.state = LOGOUT  # the BYE that follows is no failure
        with anyio.move_on_after(protocol.limits.logout_s, shield=True), suppress(SyncError):
            await protocol.run("LOGOUT")
    await protocol.hang_up()


class ImapConnection:
    """Made by `connect`. Every method may raise the SyncErrors of refusals.py."""

    def __init__(self, protocol: ImapProtocol, quirks: Quirks, enabled: frozenset[str]) -> None:
        self.quirks = quirks
        self.delimiter: str | None = (
            None  #: between the levels of a folder's name; known after a list
        )
        self._protocol = protocol
        self._enabled = enabled
        self._takes_parameters = True  # of EXAMINE
        self._takes_list_options = "LIST-STATUS" in protocol.capabilities
        self._takes_esearch = "ESEARCH" in protocol.capabilities and not quirks.no_esearch

    @property
    def has_condstore(self) -> bool:
        """Whether flag changes can be asked for by modseq, in folders that have one."""
        offered = "CONDSTORE" in self._protocol.capabilities or self.has_qresync
        return offered and self._takes_parameters and not self.quirks.no_condstore

    @property
    def has_qresync(self) -> bool:
        """Whether `examine` can tell what vanished."""
        return "QRESYNC" in self._enabled and self._takes_parameters

    @property
    def exists(self) -> int:
        """Messages in the examined folder, by the server's last word."""
        return self._protocol.exists

    @property
    def is_usable(self) -> bool:
        """Whether commands can still be sent."""
        return self._protocol.failure is None

    async def noop(self) -> None:
        """Do nothing, and hear what is new."""
        _check(await self._protocol.run("NOOP"), Phase.WORK)

    # Folders

    async def list_folders(self) -> Sequence[ListedFolder]:
        """Return all folders, in one round trip with their counters where that is offered."""
        command = await self._list(extended=self._takes_list_options)
        if self._takes_list_options and _is_disliked(command):
            self._takes_list_options = False
            command = await self._list(extended=False)
        _check(command, Phase.WORK)
        answers = self._protocol.take(command)
        folders = listed_folders(
            [answer for answer in answers if isinstance(answer, Mailbox)],
            [answer for answer in answers if isinstance(answer, Status)],
        )
        self.delimiter = next((each.delimiter for each in folders if each.delimiter), None)
        return folders

    async def _list(self, *, extended: bool) -> ImapCommand:
        options: list[str] = []
        if extended:  # RFC 5819; it builds on LIST-EXTENDED, of which SPECIAL-USE takes an option
            use = "SPECIAL-USE " if "SPECIAL-USE" in self._protocol.capabilities else ""
            options = ["RETURN", f"({use}STATUS ({self._status_items()}))"]
        return await self._protocol.run("LIST", '""', '"*"', *options, wants=_is_listing)

    def _status_items(self) -> str:
        return "UIDVALIDITY UIDNEXT MESSAGES" + (" HIGHESTMODSEQ" if self.has_condstore else "")

    async def status(self, remote_id: str) -> MailboxStatus:
        """Return the counters of a folder; not meant for the one that is examined.

        Raises:
            FolderGone: the server says that there is no such folder.
        """
        items = f"({self._status_items()})"
        command = await self._protocol.run("STATUS", _name(remote_id), items, wants=_is_listing)
        _check(command, Phase.FOLDER)
        for answer in self._protocol.take(command):
            if isinstance(answer, Status):
                return mailbox_status(answer.items)
        return MailboxStatus()

    async def examine(self, remote_id: str, qresync: tuple[int, int] | None = None) -> Examined:
        """Open a folder for reading.

        Args:
            remote_id: from `list_folders`.
            qresync: UIDVALIDITY and modseq to tell changes since; used where `has_qresync`. The
                server ignores them when the UIDVALIDITY is another one.

        Raises:
            FolderGone: the server says that there is no such folder.
        """
        await self._protocol.settle()
        name = _name(remote_id)
        parameter = self._examine_parameter(qresync)
        command, opening = await self._examine(name, parameter)
        if parameter and _is_disliked(command):
            # Some servers offer CONDSTORE and refuse to use it: once without, and never again.
            plain, plainly = await self._examine(name, None)
            if _is_ok(plain):
                self._takes_parameters = False
                command, opening, parameter = plain, plainly, None
        _check(command, Phase.FOLDER)
        self._protocol.state = SELECTED
        knows_vanished = parameter is not None and parameter.startswith("(QRESYNC")
        return await self._examined(opening, knows_vanished=knows_vanished)

    def _examine_parameter(self, qresync: tuple[int, int] | None) -> str | None:
        if qresync is not None and self.has_qresync:
            return f"(QRESYNC ({qresync[0]} {qresync[1]}))"
        return "(CONDSTORE)" if self.has_condstore else None

    async def _examine(
        self, name: str | Literal, parameter: str | None
    ) -> "tuple[ImapCommand, _Opening]":
        """Send the command and read its answers as they come: with QRESYNC they may be a million.

        Raises:
            ServerRefused: there is no end of them.
        """
        self._protocol.state = AUTH  # a failed EXAMINE leaves no folder open
        self._protocol.exists = 0
        arguments = [name] if parameter is None else [name, parameter]
        command = self._protocol.begin("EXAMINE", *arguments, wants=_is_anything)
        opening = _Opening()
        try:
            while answers := await self._protocol.more(command):
                for answer in answers:
                    opening.note(answer)
                if opening.told > self.exists + MAX_UNEXPECTED:
                    raise ServerRefused("the server tells of more changes than it has messages")
        finally:
            self._protocol.drop(command)
        return command, opening

    async def _examined(self, opening: "_Opening", *, knows_vanished: bool) -> Examined:
        counters = mailbox_status(opening.numbers)
        sets = [await read_uid_set(text) for text in opening.vanished]
        return Examined(
            uid_validity=counters.uid_validity,
            uid_next=counters.uid_next,
            exists=self.exists,
            highest_modseq=counters.highest_modseq if self.has_condstore else None,
            vanished=UidSet.union(sets) if knows_vanished else None,
            changed=opening.changed,
        )

    # Messages

    async def search_uids(self, first: int = 1, last: int | None = None) -> "array[int]":
        """Return the UIDs from `first` to `last` (None: the highest) that exist, ascending."""
        if not self.exists:  # `n:*` is an error in an empty folder for some servers
            return array("I")
        criteria = f"{first}:{last or '*'}"
        if self._takes_esearch:
            found = await self._esearch(criteria, first)
            if found is not None:
                return found
            self._takes_esearch = False
        command = await self._protocol.run(
            "SEARCH", "UID", criteria, prefix="UID", wants=_is_search
        )
        _check(command, Phase.WORK)
        answers = self._protocol.take(command)
        lines = [answer.numbers for answer in answers if isinstance(answer, Search)]
        return await read_search(lines, first=first)

    async def _esearch(self, criteria: str, first: int) -> "array[int] | None":
        """Return None where the answer does not hold together: then SEARCH has to do."""
        command = await self._protocol.run(
            "SEARCH", "RETURN", "(ALL COUNT)", "UID", criteria, prefix="UID", wants=_is_search
        )
        answers = self._protocol.take(command)
        if not _is_ok(command):
            return None
        lines = [answer.numbers for answer in answers if isinstance(answer, Search)]
        if lines:
            return await read_search(lines, first=first)
        found = [answer for answer in answers if isinstance(answer, ESearch)]
        if len(found) != 1:
            return None
        uids = await read_uid_set(found[0].all.decode("latin-1"))
        if found[0].total not in (None, uids.count):
            return None
        return await expand(uids, first=first)

    async def fetch_flags(
        self, uids: UidSet, changed_since: int | None = None
    ) -> AsyncIterator[FetchedFlags]:
        """Yield the flags of these messages.

        Args:
            uids: which messages; the server skips those that do not exist.
            changed_since: only what changed after this modseq (RFC 7162 section 3.1.4).
        """
        modifiers = []
        if changed_since is not None:
            # Yahoo refuses 0, which no modseq is (RFC 7162 section 7, mod-sequence-value).
            modifiers = [f"(CHANGEDSINCE {max(1, changed_since)})"]
        async for answer in stream(self._protocol, uids, "(UID FLAGS)", *modifiers):
            if (flags := flags_of(answer)) is not None:
                yield flags

    def start_overview(self, uids: UidSet) -> OverviewFetch:
        """Ask without waiting for what is to be known of these messages before their bodies."""
        return OverviewFetch(self._protocol, uids, f"({self._overview_items()})")

    async def fetch_fingerprints(self, uids: UidSet) -> AsyncIterator[FetchedFingerprint]:
        """Yield what recognises these messages without their bodies."""
        items = f"({self._overview_items()} {MESSAGE_ID_ITEM})"
        async for answer in stream(self._protocol, uids, items):
            if (print_ := fingerprint_of(answer)) is not None:
                yield print_

    def _overview_items(self) -> str:
        items = OVERVIEW_ITEMS
        if "OBJECTID" in self._protocol.capabilities:
            items += " EMAILID THREADID"
        elif "X-GM-EXT-1" in self._protocol.capabilities:
            items += " X-GM-MSGID X-GM-THRID"
        return items

    def start_bodies(self, uids: UidSet, *, headers_only: bool = False) -> BodyFetch:
        """Ask for these bodies without waiting; several batches may be on their way."""
        return BodyFetch(self._protocol, uids, "HEADER" if headers_only else "")


@dataclass(slots=True)
class _Opening:
    """What opening a folder has told so far."""

    numbers: dict[str, int] = field(default_factory=dict)
    vanished: list[str] = field(default_factory=list)
    changed: list[FetchedFlags] = field(default_factory=list)
    told: int = 0  #: changes, and thousands of characters of what vanished

    def note(self, answer: Answer) -> None:
        """Take an untagged answer."""
        if isinstance(answer, Fetch):
            if (flags := flags_of(answer)) is not None:
                self.changed.append(flags)
            self.told += 1
        elif isinstance(answer, Vanished):
            self.vanished.append(answer.uids)
            self.told += 1 + len(answer.uids) // 1000
        elif isinstance(answer, Condition) and answer.code is not None:
            if answer.code.name == "CLOSED":  # what came before is about the old folder
                self.numbers, self.vanished, self.changed = {}, [], []
            elif answer.code.argument.isascii() and answer.code.argument.isdigit():
                self.numbers[answer.code.name] = int(answer.code.argument[:20])


def _name(remote_id: str) -> str | Literal:
    try:
        return wire_string(remote_id.encode("latin-1"))
    except ValueError as error:
        raise ServerRefused("a folder with this name cannot be opened") from error


def _is_ok(command: ImapCommand) -> bool:
    return command.condition is not None and command.condition.status == "OK"


def _is_disliked(command: ImapCommand) -> bool:
    """Return whether the command was refused for no reason that lies outside of it."""
    assert command.condition is not None
    return not _is_ok(command) and isinstance(
        refusal(command.condition, Phase.FOLDER), ServerRefused
    )


def _check(command: ImapCommand, phase: Phase) -> None:
    if not _is_ok(command):
        assert command.condition is not None
        raise refusal(command.condition, phase)


def _is_listing(answer: Answer) -> bool:
    return isinstance(answer, Mailbox | Status)


def _is_search(answer: Answer) -> bool:
    return isinstance(answer, Search | ESearch)


def _is_anything(_answer: Answer) -> bool:
    return True
