"""What aioimaplib 2.0.3 does wrong, one test each: our receive path must not do it.

Each was seen with the unchanged library against a server that speaks like these scripts.
"""

import asyncio
import logging
import time

import pytest

from emailsync.crypto import Secret
from emailsync.domain.errors import AuthRefused, SyncError, Unreachable
from emailsync.domain.uid_set import UidSet
from emailsync.providers.imap.dialling import dial
from emailsync.providers.imap.login import TokenLogin
from emailsync.providers.imap.protocol import WireLimits
from imap_server import IMPATIENT, Dialogue, scripted_server

EVERYTHING = UidSet.parse("1:4294967295")


async def test_five_thousand_lines_in_one_read_do_not_exhaust_the_stack() -> None:
    """The library recurses once a line: over 1,000 kill the connection, the command then hangs."""

    async def script(server: Dialogue) -> None:
        await server.log_in()
        await server.open_folder(5_000)
        await server.expect("UID FETCH 1:4294967295 (UID FLAGS)")
        lines = [f"* {n} FETCH (UID {n} FLAGS (\\Seen))" for n in range(1, 5_001)]
        await server.send(*lines, "{tag} OK done")

    async with scripted_server(script) as server, server.connect() as connection:
        await connection.examine("INBOX")

        seen = [item async for item in connection.fetch_flags(EVERYTHING)]

    assert [item.uid for item in seen] == [*range(1, 5_001)]


async def test_a_list_of_fifteen_hundred_folders_arrives() -> None:
    async def script(server: Dialogue) -> None:
        await server.log_in()
        await server.expect('LIST "" "*"')
        lines = [f'* LIST () "/" "folder {n}"' for n in range(1_500)]
        await server.send(*lines, "{tag} OK done")

    async with scripted_server(script) as server, server.connect() as connection:
        assert len(await connection.list_folders()) == 1_500


async def test_an_asterisk_in_a_name_stays_where_it_is() -> None:
    """The library removes every `* ` of a line."""

    async def script(server: Dialogue) -> None:
        await server.log_in()
        await server.play("""
            C: LIST "" "*"
            S: * LIST () "/" "2 * 3 * 4"
            S: {tag} OK done
            C: STATUS "2 * 3 * 4" (UIDVALIDITY UIDNEXT MESSAGES)
            S: * STATUS "2 * 3 * 4" (MESSAGES 5)
            S: {tag} OK done
        """)

    async with scripted_server(script) as server, server.connect() as connection:
        (folder,) = await connection.list_folders()
        assert folder.path == "2 * 3 * 4"
        assert (await connection.status(folder.remote_id)).messages == 5


async def test_an_unbalanced_parenthesis_does_not_swallow_the_next_message() -> None:
    """The library counts parentheses in quoted text, too."""

    async def script(server: Dialogue) -> None:
        await server.log_in()
        await server.open_folder(3)
        await server.play("""
            C: UID FETCH 1:3 (UID FLAGS)
            S: * 1 FETCH (ENVELOPE (NIL "hello :(") UID 1 FLAGS ())
            S: * 2 FETCH (UID 2 X "))" FLAGS ())
            S: * 3 FETCH (UID 3 FLAGS ())
            S: {tag} OK done
        """)

    async with scripted_server(script) as server, server.connect() as connection:
        await connection.examine("INBOX")

        seen = [item async for item in connection.fetch_flags(UidSet.of([1, 2, 3]))]

    assert [item.uid for item in seen] == [1, 2, 3]


@pytest.mark.parametrize("last_words", [[], ["* BYE Autologout"]])
async def test_a_server_that_leaves_in_the_middle_is_noticed_at_once(last_words: list[str]) -> None:
    """The library tells nobody, and the command waits for its timeout."""

    async def script(server: Dialogue) -> None:
        await server.log_in()
        await server.open_folder(3)
        await server.command()
        await server.send_bytes(b"* 1 FETCH (UID 1 BODY[] {100}\r\nhalf of")
        if last_words:
            await server.send_bytes(b"x" * 93 + b")\r\n")
        await server.send(*last_words)
        server.reset()

    started = time.monotonic()
    async with scripted_server(script) as server, server.connect() as connection:
        await connection.examine("INBOX")
        with pytest.raises(Unreachable):
            await connection.start_bodies(UidSet.of([1, 2, 3])).collect()

    assert time.monotonic() - started < IMPATIENT.idle_s / 2


async def test_a_trickle_does_not_rearm_the_deadline() -> None:
    """The library restarts its timer with every byte."""

    async def script(server: Dialogue) -> None:
        await server.log_in()
        await server.open_folder(3)
        await server.command()
        await server.send_bytes(b"* 1 FETCH (UID 1 BODY[] {100000}\r\n")
        await server.drip(b"x")

    limits = WireLimits(command_s=0.3, idle_s=10)
    started = time.monotonic()
    async with scripted_server(script) as server, server.connect(limits=limits) as connection:
        await connection.examine("INBOX")
        with pytest.raises(Unreachable, match="did not answer in time"):
            await connection.start_bodies(UidSet.of([1])).collect()

    assert 0.3 <= time.monotonic() - started < 2


async def test_a_connection_that_timed_out_once_is_not_used_again() -> None:
    """With the library the next command waits for the lost one, or takes its late answer."""

    async def script(server: Dialogue) -> None:
        await server.log_in()
        await server.command()
        await server.silence()

    limits = WireLimits(idle_s=0.2)
    async with scripted_server(script) as server, server.connect(limits=limits) as connection:
        with pytest.raises(Unreachable, match="did not answer in time"):
            await connection.examine("INBOX")
        started = time.monotonic()
        with pytest.raises(Unreachable):
            await connection.noop()

    assert time.monotonic() - started < 0.1
    assert server.dialogues[0].commands[-1] == 'EXAMINE "INBOX"'


async def test_a_command_that_was_cancelled_takes_its_connection_with_it() -> None:
    async def script(server: Dialogue) -> None:
        await server.log_in()
        await server.command()
        await server.silence()

    async with scripted_server(script) as server, server.connect() as connection:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await connection.noop()
        with pytest.raises(Unreachable):
            await connection.noop()


async def test_a_greeting_that_is_a_farewell_is_an_error_at_once() -> None:
    """The library runs into its timeout and leaves a task with an exception nobody retrieves."""

    async def script(server: Dialogue) -> None:
        await server.send("* BYE overloaded")

    started = time.monotonic()
    async with scripted_server(script) as server:
        with pytest.raises(Unreachable, match="overloaded"):
            await dial(server.target(), IMPATIENT)

    assert time.monotonic() - started < 1


async def test_a_refused_token_is_an_answer_and_not_a_timeout(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The library never answers the challenge that holds the reason; it also logs the token."""
    caplog.set_level(logging.DEBUG)

    async def script(server: Dialogue) -> None:
        await server.send("* OK [CAPABILITY IMAP4rev1 SASL-IR AUTH=XOAUTH2] ready")
        await server.command()
        await server.send("+ eyJzdGF0dXMiOiI0MDAifQ==")
        assert await server.line() == ""
        await server.send("{tag} NO [AUTHENTICATIONFAILED] Invalid credentials (Failure)")

    async with scripted_server(script) as server:
        with pytest.raises(AuthRefused):
            async with server.connect(TokenLogin("me@example.com", Secret("t0ken"))):
                pass

    sent = server.dialogues[0].commands[0]
    assert sent.startswith("AUTHENTICATE XOAUTH2 ")
    assert sent.split()[-1] not in caplog.text
    assert "t0ken" not in caplog.text


async def test_many_messages_in_one_fetch_cost_no_more_each_than_few() -> None:
    """The library looks at all lines so far for each new one: 200 bodies 15 ms, 800 153 ms."""

    async def script(server: Dialogue) -> None:
        await server.log_in()
        await server.open_folder(20_000)
        for last in (200, 4_000):
            await server.expect(f"UID FETCH 1:{last} (UID BODY.PEEK[])")
            body = "x" * 2_000
            lines = [f"* {n} FETCH (UID {n} BODY[] {{2000}}\r\n{body})" for n in range(1, last + 1)]
            await server.send(*lines, "{tag} OK done")

    async def cpu_s_each(count: int) -> float:
        fetch = connection.start_bodies(UidSet([(1, count)]))
        started = time.process_time()
        bodies = await fetch.collect()
        assert len(bodies.contents) == count
        return (time.process_time() - started) / count

    async with scripted_server(script) as server, server.connect() as connection:
        await connection.examine("INBOX")
        few = await cpu_s_each(200)
        many = await cpu_s_each(4_000)

    assert many < few * 4  # the library: 20 times


async def test_line_breaks_in_arguments_send_nothing() -> None:
    """The one thing the library does right since 2.0.3, kept."""

    async def script(server: Dialogue) -> None:
        await server.log_in()

    async with scripted_server(script) as server, server.connect() as connection:
        with pytest.raises(SyncError):
            await connection.status('x"\r\nA2 DELETE "INBOX')

    assert server.dialogues[0].commands[1:] == ["LOGOUT"]
