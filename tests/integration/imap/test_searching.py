"""Searching: nothing that was not said completely and readably is believed."""

import pytest

from emailsync.domain.errors import (
    ServerRefused,
)
from imap_server import Dialogue, Script, in_folder, scripted_server


async def found_by(script: Script, first: int = 1, last: int | None = None) -> list[int]:
    async with scripted_server(script) as server, server.connect() as connection:
        await connection.examine("INBOX")
        return list(await connection.search_uids(first, last))


async def test_a_search_from_a_uid_on_drops_the_last_message_that_star_always_names() -> None:
    script = in_folder("""
        C: UID SEARCH UID 45:*
        S: * SEARCH 44
        S: {tag} OK done
    """)
    assert await found_by(script, 45) == []


async def test_several_search_lines_are_one_answer() -> None:
    script = in_folder("""
        C: UID SEARCH UID 1:30
        S: * SEARCH 5 1
        S: * SEARCH
        S: * SEARCH 9 5
        S: {tag} OK done
    """)
    assert await found_by(script, 1, 30) == [1, 5, 9]


async def test_an_empty_folder_is_not_searched() -> None:
    assert await found_by(in_folder("", exists=0)) == []


async def test_a_search_that_fails_is_no_empty_search() -> None:
    script = in_folder("""
        C: UID SEARCH UID 1:*
        S: {tag} NO [SERVERBUG] no
    """)
    with pytest.raises(ServerRefused):
        await found_by(script)


async def test_esearch_answers_in_ranges() -> None:
    script = in_folder(
        """
        C: UID SEARCH RETURN (ALL COUNT) UID 1:*
        S: * ESEARCH (TAG "x") UID ALL 1:3,7 COUNT 4
        S: {tag} OK done
        """,
        capabilities="IMAP4rev1 ESEARCH",
    )
    assert await found_by(script) == [1, 2, 3, 7]


@pytest.mark.parametrize(
    "answer",
    [
        'S: * ESEARCH (TAG "x") UID ALL 1:3 COUNT 4\n S: {tag} OK done',
        "S: {tag} OK done",
        "S: {tag} BAD what",
    ],
)
async def test_an_esearch_that_does_not_hold_together_is_replaced_by_a_search(
    answer: str,
) -> None:
    async def script(server: Dialogue) -> None:
        await server.log_in("IMAP4rev1 ESEARCH")
        await server.open_folder(4)
        await server.expect("UID SEARCH RETURN (ALL COUNT) UID 1:*")
        await server.play(answer)
        await server.play("""
            C: UID SEARCH UID 1:*
            S: * SEARCH 1 2 3 7
            S: {tag} OK done
        """)

    assert await found_by(script) == [1, 2, 3, 7]


async def test_an_esearch_of_everything_there_could_be_is_refused() -> None:
    script = in_folder(
        """
        C: UID SEARCH RETURN (ALL COUNT) UID 1:*
        S: * ESEARCH (TAG "x") UID ALL 1:4294967295
        S: {tag} OK done
        """,
        capabilities="IMAP4rev1 ESEARCH",
    )
    with pytest.raises(ServerRefused):
        await found_by(script)
