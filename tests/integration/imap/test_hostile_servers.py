"""Servers that cut, trickle, flood or lie: the connection ends, quickly and with its reason."""

import asyncio
import time

import pytest

from emailsync.domain.errors import AuthRefused, ServerRefused, SyncError, Unreachable
from emailsync.domain.uid_set import UidSet
from emailsync.providers.imap import protocol
from emailsync.providers.imap.dialling import dial
from emailsync.providers.imap.protocol import WireLimits
from imap_server import IMPATIENT, Dialogue, scripted_server
from waiting import until

FETCHED = (
    b"* 1 FETCH (UID 1 BODY[] {12}\r\nhello\r\nworld)\r\n"
    b'* 2 FETCH (UID 2 BODY[] "short")\r\n'
    b"{tag} OK done\r\n"
)


async def test_a_connection_cut_anywhere_gives_whole_messages_or_an_error() -> None:
    """A message that was cut must never be taken for a short one."""

    def cut_after(count: int) -> object:
        async def script(server: Dialogue) -> None:
            await server.log_in()
            await server.open_folder(2)
            await server.command()
            answer = FETCHED.replace(b"{tag}", server.tag.encode())
            await server.send_bytes(answer[:count])
            server.writer.close()

        return script

    length = len(FETCHED) + len("ABCD4") - len("{tag}")
    scripts = [cut_after(count) for count in range(length)]
    async with scripted_server(*scripts) as server:  # type: ignore[arg-type]  # made above
        for _ in scripts:
            async with server.connect() as connection:
                await connection.examine("INBOX")
                with pytest.raises(Unreachable):
                    await connection.start_bodies(UidSet.of([1, 2])).collect()


async def test_a_trickle_inside_a_response_ends_by_the_least_rate() -> None:
    async def script(server: Dialogue) -> None:
        await server.log_in()
        await server.open_folder(1)
        await server.command()
        await server.send_bytes(b"* 1 FETCH (UID 1 BODY[] {100000}\r\n")
        await server.drip(b"x" * 10)

    limits = WireLimits(rate_window_s=0.3)
    async with scripted_server(script) as server, server.connect(limits=limits) as connection:
        await connection.examine("INBOX")
        with pytest.raises(Unreachable, match="sends too slowly"):
            await connection.start_bodies(UidSet.of([1])).collect()


async def test_a_server_that_thinks_and_says_so_is_waited_for() -> None:
    """Dovecot says `* OK Still here` during long work: slow, but between responses."""

    async def script(server: Dialogue) -> None:
        await server.log_in()
        await server.command()
        for _ in range(10):
            await server.send("* OK Still here")
            await asyncio.sleep(0.05)
        await server.send("* 0 EXISTS", "{tag} OK done")

    limits = WireLimits(rate_window_s=0.1, idle_s=1)
    async with scripted_server(script) as server, server.connect(limits=limits) as connection:
        assert (await connection.examine("INBOX")).exists == 0


async def test_a_flood_for_a_reader_that_is_busy_is_left_in_the_network() -> None:
    """While nobody waits for data, only so much is read ahead; nothing is lost by it."""
    total = 40
    body = "x" * 1_000_000
    sent = 0

    async def script(server: Dialogue) -> None:
        nonlocal sent
        await server.log_in()
        await server.open_folder(total)
        await server.command()
        for n in range(1, total + 1):
            await server.send(f"* {n} FETCH (UID {n} BODY[] {{{len(body)}}}\r\n{body})")
            sent = n
        await server.send("{tag} OK done")

    async with scripted_server(script) as server, server.connect() as connection:
        await connection.examine("INBOX")
        fetch = connection.start_bodies(UidSet([(1, total)]))
        await until(lambda: not connection._protocol.transport.is_reading())
        read_ahead = sent

        bodies = await fetch.collect()

    assert len(bodies.contents) == total
    assert read_ahead < total


async def test_a_literal_over_the_limit_is_refused_before_it_is_read() -> None:
    async def script(server: Dialogue) -> None:
        await server.log_in()
        await server.open_folder(1)
        await server.command()
        await server.send("* 1 FETCH (UID 1 BODY[] {9999999999}")
        await server.silence()

    limits = WireLimits(max_literal_bytes=1_000)
    async with scripted_server(script) as server, server.connect(limits=limits) as connection:
        await connection.examine("INBOX")
        with pytest.raises(ServerRefused, match="literal of more than 1000 bytes"):
            await connection.start_bodies(UidSet.of([1])).collect()


async def test_an_answer_without_end_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protocol, "ANSWER_SLACK_BYTES", 100_000)

    async def script(server: Dialogue) -> None:
        await server.log_in()
        await server.command()
        while True:
            await server.send('* LIST () "/" "again"')

    limits = WireLimits(max_literal_bytes=1_000)
    async with scripted_server(script) as server, server.connect(limits=limits) as connection:
        with pytest.raises(ServerRefused, match="answer without end"):
            await connection.list_folders()


@pytest.mark.parametrize("greeting", ["HTTP/1.1 400 Bad Request", "220 smtp ready", "* 5 EXISTS"])
async def test_what_does_not_greet_as_imap_is_unreachable_and_not_quoted(greeting: str) -> None:
    """A banner of another service is nothing to show to a tenant."""

    async def script(server: Dialogue) -> None:
        await server.send(greeting)

    async with scripted_server(script) as server:
        with pytest.raises(Unreachable) as caught:
            await dial(server.target(), IMPATIENT)

    assert caught.value.message == f"localhost:{server.port} could not be reached"


async def test_a_server_that_never_greets_is_given_up_in_time() -> None:
    async def script(server: Dialogue) -> None:
        await server.silence()

    started = time.monotonic()
    async with scripted_server(script) as server:
        with pytest.raises(Unreachable):
            await dial(server.target(), WireLimits(connect_s=0.2))

    assert time.monotonic() - started < 1


async def test_an_answer_to_a_command_never_sent_ends_the_connection() -> None:
    async def script(server: Dialogue) -> None:
        await server.log_in()
        await server.command()
        await server.send("X99 OK done", "{tag} OK done")

    async with scripted_server(script) as server, server.connect() as connection:
        with pytest.raises(Unreachable, match="what was not asked"):
            await connection.noop()


async def test_leaving_does_not_wait_for_a_server_that_ignores_a_logout() -> None:
    async def script(server: Dialogue) -> None:
        await server.log_in()
        await server.expect("LOGOUT")
        await server.silence()

    started = time.monotonic()
    async with (
        scripted_server(script) as server,
        server.connect(limits=WireLimits(logout_s=0.2)),
    ):
        pass

    assert time.monotonic() - started < 1


async def test_the_connection_is_closed_whatever_ends_the_block() -> None:
    async def script(server: Dialogue) -> None:
        await server.log_in()
        await server.silence()

    async with scripted_server(script) as server:
        with pytest.raises(RuntimeError, match="ours"):
            async with server.connect():
                raise RuntimeError("ours")


async def test_a_farewell_between_commands_is_heard_by_the_next_one() -> None:
    async def script(server: Dialogue) -> None:
        await server.log_in()
        await server.send("* BYE [ALERT] Too many simultaneous connections")
        server.writer.close()

    async with scripted_server(script) as server, server.connect() as connection:
        await until(lambda: not connection.is_usable)
        with pytest.raises(SyncError, match="Too many simultaneous connections"):
            await connection.noop()


async def test_wrong_passwords_are_refused_and_the_password_is_not_quoted() -> None:
    async def script(server: Dialogue) -> None:
        await server.play("""
            S: * OK [CAPABILITY IMAP4rev1] ready
            C: LOGIN "user" "secret"
            S: {tag} NO [AUTHENTICATIONFAILED] no such user
        """)

    async with scripted_server(script) as server:
        with pytest.raises(AuthRefused) as caught:
            async with server.connect():
                pass

    assert "secret" not in caught.value.message


async def test_unsolicited_data_between_the_lines_changes_nothing() -> None:
    """Flags of other messages, counts and expunges may come at any time (RFC 9051 section 7)."""

    async def script(server: Dialogue) -> None:
        await server.log_in()
        await server.open_folder(9)
        await server.play("""
            C: UID FETCH 1:2 (UID FLAGS)
            S: * 10 EXISTS
            S: * 7 FETCH (FLAGS (\\Seen))
            S: * 1 FETCH (UID 1 FLAGS ())
            S: * 3 EXPUNGE
            S: * 8 FETCH (UID 8 FLAGS (\\Seen))
            S: * OK [ALERT] disk is nearly full {5}
            S: * 2 FETCH (UID 2 FLAGS ())
            S: {tag} OK done
        """)

    async with scripted_server(script) as server, server.connect() as connection:
        await connection.examine("INBOX")

        seen = [item async for item in connection.fetch_flags(UidSet.of([1, 2]))]

        assert [item.uid for item in seen] == [1, 2]
        assert connection.exists == 9


async def test_a_vanished_list_without_end_is_not_counted_while_all_wait() -> None:
    """The count stays too high then, and no listing that disagrees with it deletes anything."""
    uids = ",".join(str(uid) for uid in range(1, 3_000_000, 2))

    async def script(server: Dialogue) -> None:
        await server.log_in()
        await server.open_folder(9)
        await server.expect("NOOP")
        await server.send(f"* VANISHED {uids}", "{tag} OK done")

    async with scripted_server(script) as server, server.connect() as connection:
        await connection.examine("INBOX")

        await connection.noop()

        assert connection.exists == 9
