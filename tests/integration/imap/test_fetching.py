"""Fetching from servers that refuse a message, forget it, or send it where it is not expected."""

import gc
import weakref

import pytest

from emailsync.domain.errors import (
    ServerRefused,
    Throttled,
)
from emailsync.domain.mail import Flags
from emailsync.domain.uid_set import UidSet
from emailsync.providers.imap.connection import ImapConnection
from emailsync.providers.imap.fetching import FetchedFlags
from imap_server import Dialogue, Script, in_folder, scripted_server


async def test_changes_since_zero_are_asked_for_since_one() -> None:
    """0 is no modseq, and Yahoo answers BAD."""
    script = in_folder("""
        C: UID FETCH 1:9 (UID FLAGS) (CHANGEDSINCE 1)
        S: * 1 FETCH (UID 1 FLAGS () MODSEQ (4))
        S: {tag} OK done
    """)
    async with scripted_server(script) as server, server.connect() as connection:
        await connection.examine("INBOX")

        seen = [item async for item in connection.fetch_flags(UidSet([(1, 9)]), 0)]

    assert seen == [FetchedFlags(1, Flags(), 4)]


async def test_an_overview_takes_what_the_server_knows() -> None:
    script = in_folder(
        """
        C: UID FETCH 1:3 (UID FLAGS INTERNALDATE RFC822.SIZE EMAILID THREADID)
        S: * 1 FETCH (UID 1 RFC822.SIZE 10 FLAGS (x) EMAILID (M1) THREADID (T1))
        S: * 2 FETCH (UID 2 FLAGS ())
        S: * 3 FETCH (UID 3 INTERNALDATE " 1-Jan-2024 00:00:00 +0000")
        S: {tag} OK done
        """,
        capabilities="IMAP4rev1 OBJECTID",
    )
    async with scripted_server(script) as server, server.connect() as connection:
        await connection.examine("INBOX")

        one, three = await connection.start_overview(UidSet([(1, 3)])).collect()

    assert (one.uid, one.size_bytes, one.email_id, one.thread_id) == (1, 10, "M1", "T1")
    assert (three.uid, three.size_bytes, three.flags) == (3, 0, Flags())


async def test_bodies_are_gone_with_the_last_who_holds_them() -> None:
    """Waiting for the garbage collector, hundreds of pages of megabytes would be in memory."""
    script = in_folder("""
        C: UID FETCH 1 (UID BODY.PEEK[])
        S: * 1 FETCH (UID 1 BODY[] {5}
        S: hello)
        S: {tag} OK done
    """)
    async with scripted_server(script) as server, server.connect() as connection:
        await connection.examine("INBOX")
        gc.disable()
        try:
            fetch = connection.start_bodies(UidSet([(1, 1)]))
            assert (await fetch.collect()).contents == {1: b"hello"}
            held = weakref.ref(fetch)
            del fetch
            assert held() is None
        finally:
            gc.enable()


async def test_a_stream_that_is_left_early_does_not_disturb_the_next_command() -> None:
    script = in_folder("""
        C: UID FETCH 1:3 (UID FLAGS)
        S: * 1 FETCH (UID 1 FLAGS ())
        C: NOOP
        S: * 2 FETCH (UID 2 FLAGS ())
        S: {tag} OK done
    """)

    async with scripted_server(script) as server, server.connect() as connection:
        await connection.examine("INBOX")
        flags = connection.fetch_flags(UidSet([(1, 3)]))
        assert await anext(flags) == FetchedFlags(1, Flags(), None)
        await flags.aclose()  # type: ignore[attr-defined]  # an async generator it is
        await connection.noop()


async def test_messages_of_two_fetches_are_told_apart_by_uid_alone() -> None:
    """Dovecot sends messages of the second before the OK of the first."""

    async def script(server: Dialogue) -> None:
        await server.log_in()
        await server.open_folder(4)
        await server.expect("UID FETCH 1:2 (UID BODY.PEEK[])")
        first = server.tag
        await server.expect("UID FETCH 3:4 (UID BODY.PEEK[])")
        await server.send(
            *(f'* {n} FETCH (UID {n} BODY[] "body {n}")' for n in (3, 1, 4, 2)),
            "{tag} OK the second",
            f"{first} OK the first",
        )

    async with scripted_server(script) as server, server.connect() as connection:
        await connection.examine("INBOX")
        fetches = [connection.start_bodies(UidSet.of(uids)) for uids in ((1, 2), (3, 4))]

        first, second = [(await fetch.collect()).contents for fetch in fetches]

    assert first == {1: b"body 1", 2: b"body 2"}
    assert second == {3: b"body 3", 4: b"body 4"}


def giving(bodies: dict[int, str], *, refusal: str, bad: set[int]) -> Script:
    """Give these bodies; a command that names a bad message is refused as a whole."""

    async def script(server: Dialogue) -> None:
        await server.log_in()
        await server.open_folder(len(bodies))
        while (command := await server.command()) != "LOGOUT":
            asked = list(
                UidSet.parse(command.split()[2]).among(sorted(bodies | dict.fromkeys(bad)))
            )
            if bad & set(asked):
                await server.send(f"{{tag}} {refusal}")
                continue
            lines = [f"* {uid} FETCH (UID {uid} BODY[] {bodies[uid]})" for uid in asked]
            await server.send(*lines, "{tag} OK done")
        await server.send("* BYE", "{tag} OK")

    return script


async def collected(connection: ImapConnection, *uids: int) -> tuple[set[int], set[int]]:
    await connection.examine("INBOX")
    bodies = await connection.start_bodies(UidSet.of(uids)).collect()
    return set(bodies.contents), set(bodies.refused)


async def test_a_message_that_is_refused_stands_alone_in_the_end() -> None:
    """Yahoo answers NO to a whole batch because of one message, for ever."""
    bodies = dict.fromkeys(range(1, 101), '"x"')
    refusal = "NO [UNAVAILABLE] UID FETCH Server error - Please try again later"
    script = giving(bodies, refusal=refusal, bad={17, 18, 99})

    async with scripted_server(script) as server, server.connect() as connection:
        given, refused = await collected(connection, *range(1, 101))

    assert refused == {17, 18, 99}
    assert given == bodies.keys() - refused


async def test_a_server_that_refuses_every_message_is_itself_at_fault() -> None:
    script = giving({}, refusal="NO [SERVERBUG] disk", bad=set(range(1, 101)))

    async with scripted_server(script) as server, server.connect() as connection:
        with pytest.raises(ServerRefused):
            await collected(connection, *range(1, 101))

    assert len(server.dialogues[0].commands) < 30


async def test_a_throttle_is_not_held_against_the_messages() -> None:
    script = giving({}, refusal="NO [THROTTLED] slow down", bad={1, 2})

    async with scripted_server(script) as server, server.connect() as connection:
        with pytest.raises(Throttled):
            await collected(connection, 1, 2)

    assert sum("FETCH" in command for command in server.dialogues[0].commands) == 1


async def test_a_message_that_was_expunged_meanwhile_is_absent() -> None:
    script = giving({1: '"x"', 3: '"y"'}, refusal="", bad=set())

    async with scripted_server(script) as server, server.connect() as connection:
        assert await collected(connection, 1, 2, 3) == ({1, 3}, set())


async def test_an_empty_message_is_a_message_and_nil_is_asked_for_once_more() -> None:
    script = giving({1: '""', 2: "NIL"}, refusal="", bad=set())

    async with scripted_server(script) as server, server.connect() as connection:
        assert await collected(connection, 1, 2) == ({1}, {2})

    fetches = [each for each in server.dialogues[0].commands if "FETCH" in each]
    assert fetches == [
        "UID FETCH 1:2 (UID BODY.PEEK[])",
        "UID FETCH 2 (UID BODY.PEEK[])",
    ]


async def test_a_body_that_comes_at_the_second_time_is_taken() -> None:
    script = in_folder("""
        C: UID FETCH 1 (UID BODY.PEEK[])
        S: * 1 FETCH (UID 1)
        S: {tag} OK done
        C: UID FETCH 1 (UID BODY.PEEK[])
        S: * 1 FETCH (UID 1 BODY[] "x")
        S: {tag} OK done
    """)
    async with scripted_server(script) as server, server.connect() as connection:
        assert await collected(connection, 1) == ({1}, set())


async def test_a_long_set_is_asked_for_in_several_commands() -> None:
    uids = range(1_000_000, 1_006_000, 2)
    bodies = dict.fromkeys(uids, '"x"')
    script = giving(bodies, refusal="", bad=set())

    async with scripted_server(script) as server, server.connect() as connection:
        given, _ = await collected(connection, *uids)

    assert given == set(uids)
    assert all(len(command) < 8_192 for command in server.dialogues[0].commands)


async def test_a_folder_that_is_left_takes_its_unread_bodies_with_it() -> None:
    script = in_folder("""
        C: UID FETCH 1 (UID BODY.PEEK[])
        S: * 1 FETCH (UID 1 BODY[] "x")
        S: {tag} OK done
        C: EXAMINE "Sent"
        S: * 1 EXISTS
        S: {tag} OK open
    """)
    async with scripted_server(script) as server, server.connect() as connection:
        await connection.examine("INBOX")
        connection.start_bodies(UidSet.of([1]))

        assert (await connection.examine("Sent")).exists == 1
