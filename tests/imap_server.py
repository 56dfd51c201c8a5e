"""A scripted IMAP server on loopback: a test says word for word what comes and what goes.

A script is an async function that plays one connection. `Dialogue.play` takes a transcript:

    S: * OK [CAPABILITY IMAP4rev1] ready
    C: LOGIN "user" "secret"
    S: {tag} OK done

`C:` lines come without their tag, which is what `{tag}` then stands for. A client that says
anything else, or that a script waits for in vain, fails the test when the server is left.
"""

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from dataclasses import dataclass, field
from functools import cache
from textwrap import dedent
from typing import Final

from emailsync.crypto import Secret
from emailsync.providers.imap.account_settings import Security
from emailsync.providers.imap.connection import ImapConnection, connect
from emailsync.providers.imap.dialling import ImapTarget
from emailsync.providers.imap.login import Login, PasswordLogin
from emailsync.providers.imap.protocol import WireLimits

LOOPBACK: Final = "127.0.0.1"
SCRIPT_TIMEOUT_S: Final = 10.0
LAST_WORDS_S: Final = 1.0
LOGIN: Final = PasswordLogin("user", Secret("secret"))
IMPATIENT: Final = WireLimits(connect_s=5.0, command_s=5.0, idle_s=5.0, logout_s=0.5)


@dataclass(slots=True)
class Dialogue:
    """The server's end of one connection."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    tag: str = ""  #: of the last command
    commands: list[str] = field(default_factory=list)  #: as received, without their tags

    async def send(self, *lines: str) -> None:
        """Send lines; `{tag}` in them is the last command's."""
        text = "".join(line.replace("{tag}", self.tag) + "\r\n" for line in lines)
        await self.send_bytes(text.encode("latin-1"))

    async def send_bytes(self, data: bytes) -> None:
        """Send exactly this."""
        self.writer.write(data)
        await self.writer.drain()

    async def drip(self, data: bytes) -> None:
        """Send the same fifty times a second until the client hangs up."""
        while True:
            await self.send_bytes(data)
            await asyncio.sleep(0.02)

    async def line(self) -> str:
        """Return the next line from the client, whatever it is."""
        received = await self.reader.readline()
        if not received.endswith(b"\n"):
            raise ConnectionResetError("the client hung up")
        return received.decode("latin-1").removesuffix("\r\n")

    async def command(self) -> str:
        """Return the next command without its tag, which becomes `tag`."""
        self.tag, _, command = (await self.line()).partition(" ")
        self.commands.append(command)
        return command

    async def expect(self, command: str) -> None:
        """Take the next command, which must be this one."""
        received = await self.command()
        if received != command:
            raise AssertionError(f"expected {command!r}, the client sent {received!r}")

    async def play(self, transcript: str) -> None:
        """Send the S: lines and expect the C: lines."""
        for line in dedent(transcript).strip().splitlines():
            speaker, _, text = line.strip().partition(": ")
            if speaker == "S":
                await self.send(text)
            else:
                await self.expect(text)

    async def log_in(self, capabilities: str = "IMAP4rev1") -> None:
        """Greet, take the login, and switch on what the client then asks for."""
        await self.play(f"""
            S: * OK [CAPABILITY {capabilities}] ready
            C: LOGIN "user" "secret"
            S: {{tag}} OK [CAPABILITY {capabilities}] in
        """)
        if "ENABLE" in capabilities.split():
            wanted = "QRESYNC" if "QRESYNC" in capabilities else "CONDSTORE"
            await self.play(f"""
                C: ENABLE {wanted}
                S: * ENABLED {wanted}
                S: {{tag}} OK on
            """)

    async def open_folder(self, exists: int, *, uid_validity: int = 7) -> None:
        """Take the EXAMINE of INBOX."""
        await self.play(f"""
            C: EXAMINE "INBOX"
            S: * {exists} EXISTS
            S: * OK [UIDVALIDITY {uid_validity}] valid
            S: {{tag}} OK [READ-ONLY] open
        """)

    async def start_tls(self, context: ssl.SSLContext) -> None:
        """Go on with TLS."""
        await self.writer.start_tls(context)

    async def silence(self) -> None:
        """Say nothing until the client hangs up."""
        while await self.reader.read(65_536):
            pass

    def reset(self) -> None:
        """Cut the connection."""
        self.writer.transport.abort()

    async def say_goodbye(self) -> None:
        """Take a LOGOUT, or the client's silent departure, and nothing else."""
        with suppress(ConnectionError):
            await self.expect("LOGOUT")
            await self.send("* BYE see you", "{tag} OK done")


@cache
def _no_authorities() -> ssl.SSLContext:
    return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


Script = Callable[[Dialogue], Awaitable[None]]


def after_login(transcript: str, capabilities: str = "IMAP4rev1") -> Script:
    """Return the script of a login and this."""

    async def script(server: Dialogue) -> None:
        await server.log_in(capabilities)
        await server.play(transcript)

    return script


def in_folder(transcript: str, *, exists: int = 9, capabilities: str = "IMAP4rev1") -> Script:
    """Return the script of a login, INBOX opened, and this."""

    async def script(server: Dialogue) -> None:
        await server.log_in(capabilities)
        await server.open_folder(exists)
        await server.play(transcript)

    return script


@dataclass(slots=True)
class ScriptedServer:
    """A server that plays its scripts, one a connection, the last for all others."""

    scripts: tuple[Script, ...]
    tls: ssl.SSLContext | None
    port: int = 0
    dialogues: list[Dialogue] = field(default_factory=list)
    failures: list[BaseException] = field(default_factory=list)
    tasks: set[asyncio.Task[None]] = field(default_factory=set)

    def target(
        self,
        security: Security = Security.NONE,
        *,
        host: str = "localhost",
        tls_context: ssl.SSLContext | None = None,
    ) -> ImapTarget:
        """Return this server as something to connect to."""
        return ImapTarget(
            host=host,
            port=self.port,
            addresses=(LOOPBACK,),
            security=security,
            tls_context=tls_context or _no_authorities(),
        )

    def connect(
        self, login: Login = LOGIN, limits: WireLimits = IMPATIENT
    ) -> AbstractAsyncContextManager[ImapConnection]:
        """Connect in the clear."""
        return connect(self.target(), login, limits)

    async def play(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Play the next script on a connection."""
        script = self.scripts[min(len(self.dialogues), len(self.scripts) - 1)]
        dialogue = Dialogue(reader, writer)
        self.dialogues.append(dialogue)
        task = asyncio.current_task()
        assert task is not None
        self.tasks.add(task)
        try:
            async with asyncio.timeout(SCRIPT_TIMEOUT_S):
                await script(dialogue)
                await dialogue.say_goodbye()
        except (ConnectionError, ssl.SSLError, asyncio.CancelledError):
            pass  # what the client makes of its end is for the test to judge
        except (AssertionError, TimeoutError) as error:
            self.failures.append(error)
        finally:
            dialogue.writer.transport.abort()
            self.tasks.discard(task)


@asynccontextmanager
async def scripted_server(
    *scripts: Script, tls: ssl.SSLContext | None = None
) -> AsyncIterator[ScriptedServer]:
    """Serve until the block is left; raise what went wrong in a script."""
    played = ScriptedServer(scripts, tls)
    server = await asyncio.start_server(played.play, LOOPBACK, 0, ssl=tls, limit=2**24)
    played.port = server.sockets[0].getsockname()[1]
    async with server:
        yield played
        if played.tasks:  # the clients are gone: what still plays gets a moment to notice
            await asyncio.wait(played.tasks, timeout=LAST_WORDS_S)
        for task in played.tasks:
            task.cancel()
    if played.failures:
        raise played.failures[0]
