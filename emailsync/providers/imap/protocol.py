"""aioimaplib's protocol with its receive path replaced: framing.py and parse.py instead.

Kept of aioimaplib: tags, the state names and which command is legal in which state, `Command` (its
check of the arguments, its wire form, its completion). Replaced: reading, routing, waiting. Several
commands may be on the wire; each takes the answers it `wants`. After a timeout, a cancellation, a
BYE or a loss the connection is of no more use, and everything that waits for it ends at once.
"""

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final

import anyio
from aioimaplib.aioimaplib import (
    AUTH,
    CONNECTED,
    LOGOUT,
    NONAUTH,
    Abort,
    Commands,
    IMAP4ClientProtocol,
)

from emailsync.domain.errors import ServerRefused, SyncError, Unreachable
from emailsync.domain.uid_set import UidSet
from emailsync.providers.imap.answers import (
    Answer,
    Capability,
    Condition,
    Continuation,
    Exists,
    Expunged,
    Fetch,
    Vanished,
)
from emailsync.providers.imap.command import ImapCommand, wants_nothing
from emailsync.providers.imap.framing import Framer, FramingError
from emailsync.providers.imap.parse import parse
from emailsync.providers.imap.refusals import Phase, refusal
from emailsync.providers.imap.wire_strings import Literal

PAUSE_ABOVE_BYTES: Final = 16 * 1024 * 1024
"""Uncollected answers that stop the reading: a batch of 8 MiB may arrive while one is stored."""
ANSWER_SLACK_BYTES: Final = 64 * 1024 * 1024
"""What one command's answers may hold beside the largest literal; only an attack needs more."""
ANSWER_OVERHEAD_BYTES: Final = 300  #: of one parsed answer in memory
COUNTED_VANISHED_CHARS: Final = 100_000  #: of one response: 10 ms of the event loop
ANSWERS_AT_ONCE: Final = 500  #: small ones, some milliseconds: others have their turn after them
CLOSE_TIMEOUT_S: Final = 1.0  #: an aborted connection closes within two turns of the loop


@dataclass(frozen=True, slots=True, kw_only=True)
class WireLimits:
    """How patient we are with a server, and how much it may send."""

    connect_s: float = 15.0  #: TCP, TLS and the greeting, each
    command_s: float = 900.0  #: the time spent waiting for one command, whatever arrives
    idle_s: float = 120.0  #: nothing at all arrives
    min_rate_bytes_s: float = 1024.0  #: inside a response, over `rate_window_s`
    rate_window_s: float = 60.0
    logout_s: float = 2.0
    max_literal_bytes: int = 64 * 1024 * 1024


class ImapProtocol(IMAP4ClientProtocol):
    """One connection. Used by one task."""

    def __init__(self, limits: WireLimits, server: str) -> None:
        """Take the limits, and the server's name for messages."""
        loop = asyncio.get_running_loop()
        super().__init__(loop)
        self.limits = limits
        self.server = server
        self.capabilities: set[str] = set()  #: another object with each word from the server
        self.greeting: Condition | None = None
        self.exists = 0  #: messages in the selected folder
        self.failure: SyncError | None = None  #: once set, the connection is dead
        self.closed: asyncio.Future[None] = loop.create_future()
        self.received_bytes = 0
        self._framer = Framer(max_literal_bytes=limits.max_literal_bytes)
        self._arrived: Iterator[list[bytes]] = iter(())  # responses that are not routed yet
        self._on_wire: dict[str, ImapCommand] = {}  # by tag, in the order of sending
        self._held_bytes = 0
        self._waiter: asyncio.Future[None] | None = None
        self._is_paused = False
        self._expects_tls = False
        self._window_s = 0.0
        self._window_start_bytes = 0

    # Sending

    def begin(
        self,
        name: str,
        *args: str | Literal,
        prefix: str = "",
        wants: Callable[[Answer], bool] = wants_nothing,
        replies: tuple[bytes, ...] = (),
    ) -> ImapCommand:
        """Put a command on the wire and return at once.

        Raises:
            Abort: the command is illegal in this state: our bug (aioimaplib's own check).
            SyncError: the connection is dead.
        """
        if self.failure is not None:
            raise self.failure
        if self.state not in Commands[name].valid_states:
            raise Abort(f"command {name} illegal in state {self.state}")
        tag = self.new_tag()
        command = ImapCommand(name, tag, *args, prefix=prefix, wants=wants, replies=replies)
        first, *others = command.pieces(non_synchronizing="LITERAL+" in self.capabilities)
        command.replies.extendleft(reversed(others))
        self._on_wire[tag] = command
        self.transport.write(first)
        return command

    async def run(
        self,
        name: str,
        *args: str | Literal,
        prefix: str = "",
        wants: Callable[[Answer], bool] = wants_nothing,
        replies: tuple[bytes, ...] = (),
    ) -> ImapCommand:
        """Send a command and wait for its tagged answer, whatever it says."""
        command = self.begin(name, *args, prefix=prefix, wants=wants, replies=replies)
        await self.finish(command)
        return command

    # Waiting

    async def finish(self, command: ImapCommand) -> Condition:
        """Wait for the tagged answer."""
        while command.condition is None:
            await self._arrival(command)
        return command.condition

    async def more(self, command: ImapCommand) -> list[Answer]:
        """Wait for answers and take them; empty: the tagged answer is there and was the end."""
        while not command.answers and command.condition is None:
            await self._arrival(command)
        return self.take(command)

    def take(self, command: ImapCommand) -> list[Answer]:
        """Take the answers that are there; they no longer count as held."""
        answers, command.answers = command.answers, []
        self._held_bytes -= command.held_bytes
        command.held_bytes = 0
        return answers

    def drop(self, command: ImapCommand) -> None:
        """Nobody wants the rest of this command's answers."""
        self.take(command)
        command.is_dropped = True

    @property
    def is_quiet(self) -> bool:
        """Whether nothing is on the wire."""
        return not self._on_wire

    async def settle(self) -> None:
        """Wait until nothing is on the wire; nobody will collect what was."""
        for command in list(self._on_wire.values()):
            self.drop(command)
            await self.finish(command)

    async def greeted(self) -> Condition:
        """Wait for the greeting."""
        command = ImapCommand("NOOP", "")  # never sent: it carries the waiting time
        while self.greeting is None:
            await self._arrival(command)
        return self.greeting

    async def _arrival(self, command: ImapCommand) -> None:
        """Wait until bytes have arrived, or end the connection for being too slow."""
        if self.failure is not None:
            raise self.failure
        if self._is_paused:
            self._is_paused = False
            self.loop.call_soon(self._read_on)  # once there is a waiter to wake
        self._waiter = self.loop.create_future()
        started = self.loop.time()
        patience_s = min(self.limits.idle_s, self.limits.command_s - command.waited_s)
        try:
            async with asyncio.timeout(patience_s):
                await self._waiter
        except TimeoutError as error:
            raise self.fail(Unreachable(f"{self.server} did not answer in time")) from error
        except BaseException:
            self.fail(Unreachable("the command was cancelled"))
            raise
        finally:
            self._waiter = None
        self._note_waiting(command, self.loop.time() - started)

    def _note_waiting(self, command: ImapCommand, waited_s: float) -> None:
        """Hold the time spent waiting against the deadline and the least rate."""
        command.waited_s += waited_s
        self._window_s += waited_s
        if self._window_s >= self.limits.rate_window_s:
            rate = (self.received_bytes - self._window_start_bytes) / self._window_s
            self._window_s, self._window_start_bytes = 0.0, self.received_bytes
            # Between responses slowness is thinking; inside one it is a trickle.
            if rate < self.limits.min_rate_bytes_s and not self._framer.is_idle:
                raise self.fail(Unreachable(f"{self.server} sends too slowly"))

    # Receiving

    def data_received(self, data: bytes) -> None:
        """Frame, parse and route what has arrived."""
        self.received_bytes += len(data)
        if self._expects_tls:
            self._fail_for_injection()
        self._route()  # what a transport sends on while it is paused comes after what is there
        self._arrived = self._framer.feed(data)
        self._read_on()

    def _read_on(self) -> None:
        """Route some answers, and go on with the next round of the loop, or when they are taken."""
        is_all = self._route(ANSWERS_AT_ONCE)
        self._wake()
        if self.failure is not None:
            return
        self._is_paused = self._waiter is None and self._held_bytes > PAUSE_ABOVE_BYTES
        if self._is_paused:
            self.transport.pause_reading()
        elif is_all:
            self.transport.resume_reading()
        else:
            # The loop would read on for as long as there is something, 8 MB in one round.
            self.transport.pause_reading()
            self.loop.call_soon(self._read_on)

    def _route(self, most: int | None = None) -> bool:
        """Route so many of the answers that have arrived; return whether that was all."""
        count = 0
        try:
            for parts in self._arrived:
                if self.failure is not None:
                    break
                size = len(parts[0]) if len(parts) == 1 else sum(map(len, parts))
                self._dispatch(parse(parts), size)
                count += 1
                if count == most and not self._expects_tls:
                    return False
        except FramingError as error:
            self.fail(ServerRefused(f"{self.server} sent {error}")).__cause__ = error
        if self._expects_tls and not self._framer.is_idle:
            self._fail_for_injection()
        return True

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _dispatch(self, answer: Answer, size: int) -> None:
        if self._expects_tls:
            self._fail_for_injection()
        elif type(answer) is Fetch:
            self._offer(answer, size)
        elif self.state == CONNECTED:
            self._greet(answer)
        elif isinstance(answer, Condition):
            self._condition(answer, size)
        elif isinstance(answer, Continuation):
            self._continue()
        else:
            self._note_state(answer)
            self._offer(answer, size)

    def _offer(self, answer: Answer, size: int) -> None:
        """Give the answer to the first command that wants it; FETCH data goes by UID, not order."""
        for command in self._on_wire.values():
            if command.wants(answer):
                if command.is_dropped:
                    return
                size += ANSWER_OVERHEAD_BYTES
                command.answers.append(answer)
                command.held_bytes += size
                self._held_bytes += size
                if command.held_bytes > self.limits.max_literal_bytes + ANSWER_SLACK_BYTES:
                    self.fail(ServerRefused(f"{self.server} sent an answer without end"))
                return

    def _greet(self, answer: Answer) -> None:
        if not isinstance(answer, Condition) or answer.tag is not None:
            self.fail(Unreachable(f"{self.server} could not be reached"))
        elif answer.status == "BYE":
            self.fail(refusal(answer, Phase.WORK))
        else:
            self.greeting = answer
            self.state = AUTH if answer.status == "PREAUTH" else NONAUTH
            self._note_code(answer)

    def _condition(self, answer: Condition, size: int) -> None:
        self._note_code(answer)
        if answer.tag is None:
            if answer.status == "BYE" and self.state != LOGOUT:
                self.fail(refusal(answer, Phase.WORK))
            self._offer(answer, size)
            return
        command = self._on_wire.pop(answer.tag, None)
        if command is None:
            self.fail(Unreachable(f"{self.server} answered what was not asked"))
            return
        command.condition = answer
        command.close(answer.text.encode("latin-1"), answer.status)
        if command.name == "STARTTLS" and answer.status == "OK":
            self._expects_tls = True

    def _continue(self) -> None:
        """Send the next piece of the command that the server waits for."""
        for command in self._on_wire.values():
            if command.replies:
                self.transport.write(command.replies.popleft())
                return
            if command.name == "AUTHENTICATE":
                # The reason of an XOAUTH2 failure: an empty line asks for the tagged NO.
                self.transport.write(b"\r\n")
                return

    def _note_code(self, condition: Condition) -> None:
        if condition.code is None:
            return
        if condition.code.name == "CAPABILITY":
            self.capabilities = set(condition.code.argument.upper().split())
        elif condition.code.name == "CLOSED":  # RFC 7162 section 3.2.11: the old folder is left
            self.exists = 0

    def _note_state(self, answer: Answer) -> None:
        match answer:
            case Capability(names):
                self.capabilities = set(names)
            case Exists(messages):
                self.exists = messages
            case Expunged():
                self.exists = max(0, self.exists - 1)
            case Vanished(uids, earlier=False) if len(uids) <= COUNTED_VANISHED_CHARS:
                # A longer one leaves the count too high, so no listing of this session is believed.
                try:
                    self.exists = max(0, self.exists - UidSet.parse(uids).count)
                except ValueError:
                    return

    # The end

    def _fail_for_injection(self) -> None:
        self.fail(Unreachable(f"{self.server} sent plain text where TLS begins"))

    def fail(self, error: SyncError) -> SyncError:
        """End the connection; return the failure, which is the first one."""
        if self.failure is None:
            self.failure = error
            if self.transport is not None:
                self.transport.abort()
        self._wake()
        return self.failure

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell everybody who waits, once what came before the end is routed."""
        self._route()
        if self.failure is None:
            self.failure = Unreachable(f"{self.server} closed the connection")
            self.failure.__cause__ = exc
        if not self.closed.done():
            self.closed.set_result(None)
        self._wake()

    async def hang_up(self) -> None:
        """Close the connection at once and wait until it is closed."""
        if self.transport is not None:
            self.transport.abort()
        with anyio.move_on_after(CLOSE_TIMEOUT_S, shield=True):
            await self.closed

    def begin_tls(self, transport: Any) -> None:
        """Go on over TLS; forget everything said in the clear (RFC 9051 section 6.2.1)."""
        self.transport = transport
        self._framer = Framer(max_literal_bytes=self.limits.max_literal_bytes)
        self.capabilities = set()
        self._expects_tls = False
