"""FETCH: what is asked of messages, the values that come back, and bodies that are under way.

Data belongs to a command by its UID, never by its position: a server may send messages of the
second FETCH before the tagged OK of the first (seen with Dovecot).
"""

from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, NamedTuple

from emailsync.domain.errors import ServerRefused
from emailsync.domain.mail import Flags
from emailsync.domain.uid_set import UidSet
from emailsync.providers.imap.answers import Answer, Condition, Fetch
from emailsync.providers.imap.command import ImapCommand
from emailsync.providers.imap.framing import LiteralTooLarge
from emailsync.providers.imap.parse import parse
from emailsync.providers.imap.protocol import ImapProtocol
from emailsync.providers.imap.refusals import Phase, refusal

MAX_SET_CHARS: Final = 7_000  #: of one command; RFC 7162 section 4 asks servers to take 8,192

REFUSED_ARE_ALL: Final = 5
"""Messages refused without one that was given: then the server is at fault, not the messages."""

TOO_LARGE: Final = "the server sends more of this message than it announced, and than is taken"
NO_FLAGS: Final = Flags()


class FetchedFlags(NamedTuple):
    """The flags of one message."""

    uid: int
    flags: Flags
    modseq: int | None


class Overview(NamedTuple):
    """What is known of a message before its body is fetched."""

    uid: int
    flags: Flags
    received_at: datetime | None
    size_bytes: int  #: as the server claims; 0 when it does not
    email_id: str | None  #: survives moves and UIDVALIDITY (RFC 8474, or Gmail's)
    thread_id: str | None
    modseq: int | None


class FetchedFingerprint(NamedTuple):
    """What recognises a message without its body."""

    overview: Overview
    header_message_id: str | None  #: without angle brackets


@dataclass(slots=True)
class FetchedBodies:
    """What a batch brought. A UID in neither mapping was expunged meanwhile."""

    contents: dict[int, bytes] = field(default_factory=dict)
    refused: dict[int, str] = field(default_factory=dict)  #: the server will not give it, and why


def flags_of(fetch: Fetch) -> FetchedFlags | None:
    """Return the flags, or None where the response is about something else."""
    if fetch.uid is None or fetch.flags is None:
        return None
    return FetchedFlags(fetch.uid, fetch.flags, fetch.modseq)


def overview_of(fetch: Fetch) -> Overview | None:
    """Return the overview, or None where the response is only a change of flags."""
    if fetch.uid is None or (fetch.size_bytes is None and fetch.received_at is None):
        return None
    return Overview(
        fetch.uid,
        fetch.flags or NO_FLAGS,
        fetch.received_at,
        fetch.size_bytes or 0,
        fetch.email_id,
        fetch.thread_id,
        fetch.modseq,
    )


def fingerprint_of(fetch: Fetch) -> FetchedFingerprint | None:
    """Return the fingerprint, or None where the response is only a change of flags."""
    overview = overview_of(fetch)
    if overview is None:
        return None
    header = next(iter(fetch.sections.values()), None) or b""
    _, _, value = header.partition(b":")
    text = " ".join(value.decode("latin-1").split()).strip("<>")
    return FetchedFingerprint(overview, text or None)


async def stream(
    protocol: ImapProtocol, uids: UidSet, items: str, *modifiers: str
) -> AsyncIterator[Fetch]:
    """Fetch these items of these messages, one command after the other for a long set.

    Raises:
        ServerRefused: and the other refusals of refusals.py; what was yielded before is true.
    """
    wants = _without_bodies(uids)
    for part in uids.wire(MAX_SET_CHARS):
        command = protocol.begin("FETCH", part, items, *modifiers, prefix="UID", wants=wants)
        try:
            while answers := await protocol.more(command):
                for answer in answers:
                    assert isinstance(answer, Fetch)
                    yield answer
        finally:
            protocol.drop(command)
        assert command.condition is not None
        if command.condition.status != "OK":
            raise refusal(command.condition, Phase.WORK)


def _without_bodies(uids: UidSet) -> Callable[[Answer], bool]:
    def wants(answer: Answer) -> bool:
        if not isinstance(answer, Fetch) or answer.uid is None:
            return False
        is_body = any(not name.startswith("HEADER.FIELDS") for name in answer.sections)
        return not is_body and answer.uid in uids

    return wants


def _with_body(section: str, uids: UidSet) -> Callable[[Answer], bool]:
    # No method of the fetch: in a circle with its commands, bodies would wait for the collector.
    def wants(answer: Answer) -> bool:
        return (
            isinstance(answer, Fetch)
            and answer.uid is not None
            and section in answer.sections
            and answer.uid in uids
        )

    return wants


class OverviewFetch:
    """Overviews on their way, to be collected once, before another folder is examined."""

    def __init__(self, protocol: ImapProtocol, uids: UidSet, items: str) -> None:
        """Send the command."""
        self._protocol = protocol
        self._commands = [
            protocol.begin("FETCH", part, items, prefix="UID", wants=_without_bodies(uids))
            for part in uids.wire(MAX_SET_CHARS)
        ]

    async def collect(self) -> list[Overview]:
        """Wait for what is to be known of the messages that are there.

        Raises:
            ServerRefused: and the other refusals of refusals.py.
        """
        found: list[Overview] = []
        for command in self._commands:
            condition = await self._protocol.finish(command)
            if condition.status != "OK":
                raise refusal(condition, Phase.WORK)
            for answer in self._protocol.take(command):
                assert isinstance(answer, Fetch)
                if (overview := overview_of(answer)) is not None:
                    found.append(overview)
        return found


class BodyFetch:
    """Bodies on their way, to be collected once, before another folder is examined."""

    def __init__(self, protocol: ImapProtocol, uids: UidSet, section: str) -> None:
        """Send the command; `section` is "" for whole messages or "HEADER"."""
        self._protocol = protocol
        self._uids = uids
        self._section = section
        self.received = FetchedBodies()  #: so far; complete once `collect` has returned
        self._commands = self._send(uids)

    def _send(self, uids: UidSet) -> list[ImapCommand]:
        items = f"(UID BODY.PEEK[{self._section}])"
        wants = _with_body(self._section, uids)
        return [
            self._protocol.begin("FETCH", part, items, prefix="UID", wants=wants)
            for part in uids.wire(MAX_SET_CHARS)
        ]

    async def collect(self) -> FetchedBodies:
        """Wait for the whole batch; what came before a failure is in `received`.

        A refused batch is halved until the refused messages stand alone; messages of which the
        server says nothing, or NIL, are asked for once more (seen with iCloud).

        Raises:
            ServerRefused: every message of a batch of several was refused: that is the server.
            Unreachable, Throttled: as everywhere.
        """
        refused = await self._gather(self._commands)
        if refused is not None:
            await self._bisect(self._missing(self._uids), refused)
        elif missing := self._missing(self._uids):
            await self._ask_again(missing)
        return self.received

    def fatal(self) -> dict[int, str]:
        """Return the message of this batch, if any, that ended the connection, and how.

        It is larger than the server had announced, so asking for it again ends the next one too.
        """
        failure = self._protocol.failure
        if failure is None or not isinstance(failure.__cause__, LiteralTooLarge):
            return {}
        begun = parse([failure.__cause__.begun])
        uid = begun.uid if isinstance(begun, Fetch) else None
        return {uid: TOO_LARGE} if uid is not None and uid in self._uids else {}

    async def _gather(self, commands: list[ImapCommand]) -> Condition | None:
        """Wait for the commands and keep their bodies; return the first refusal, if any."""
        refused: Condition | None = None
        for command in commands:
            assert not command.is_dropped, "the folder was left before its bodies were collected"
            try:
                condition = await self._protocol.finish(command)
            finally:
                self._keep(self._protocol.take(command))
            if condition.status != "OK":
                refused = refused or condition
        return refused

    def _keep(self, answers: Iterable[Answer]) -> None:
        for answer in answers:
            if isinstance(answer, Fetch) and answer.uid is not None:
                content = answer.sections[self._section]
                if content is not None:
                    self.received.contents[answer.uid] = content
                else:
                    self.received.refused[answer.uid] = "the server has no content for it"

    def _missing(self, uids: UidSet) -> UidSet:
        return uids.minus(UidSet.of(self.received.contents))

    async def _bisect(self, uids: UidSet, why: Condition) -> None:
        error = refusal(why, Phase.WORK)
        if not isinstance(error, ServerRefused):
            raise error
        if uids.count == 1:
            self.received.refused[uids.first] = error.message
            enough = min(self._uids.count, REFUSED_ARE_ALL)
            if not self.received.contents and len(self.received.refused) >= enough > 1:
                raise error
        if uids.count <= 1:
            return
        for half in uids.halves():
            refused = await self._gather(self._send(half))
            if refused is not None:
                await self._bisect(self._missing(half), refused)

    async def _ask_again(self, missing: UidSet) -> None:
        refused = await self._gather(self._send(missing))
        if refused is not None:
            await self._bisect(self._missing(missing), refused)
        for uid in self.received.contents.keys() & self.received.refused.keys():
            del self.received.refused[uid]
