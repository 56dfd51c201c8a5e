"""The demo's mail provider, seen by an IMAP client that is not ours."""

import imaplib
import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Any

import pytest

from emailsync.emulators.mail_generator import generate

ADA = {"email": "ada@example.test", "password": "secret-a", "messages": 30, "seed": 1}
BOB = {"email": "bob@example.test", "password": "secret-b", "messages": 5, "seed": 2}


class Host:
    """The provider's process, spoken to as the demo does."""

    def __init__(self, process: subprocess.Popen[str], changes_per_s: float) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        self._in: IO[str] = process.stdin
        self._out: IO[str] = process.stdout
        self.port = self._ask({"users": [ADA, BOB], "changes_per_s": changes_per_s})["port"]

    def ledger(self, *, quiet: bool = False) -> dict[str, int]:
        return self._ask({"quiet": quiet})

    def _ask(self, question: dict[str, Any]) -> dict[str, int]:
        self._in.write(json.dumps(question) + "\n")
        self._in.flush()
        answer: dict[str, int] = json.loads(self._out.readline())
        return answer


@pytest.fixture
def process() -> Iterator[subprocess.Popen[str]]:
    """A provider that nobody has ordered anything of yet."""
    command = [sys.executable, "-m", "emailsync.emulators.mail_host"]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        yield process
        process.kill()


@contextmanager
def client(host: Host, user: dict[str, Any]) -> Iterator[imaplib.IMAP4]:
    with imaplib.IMAP4("127.0.0.1", host.port, timeout=10) as connection:
        connection.login(user["email"], user["password"])
        yield connection


def folders_of(connection: imaplib.IMAP4) -> list[str]:
    _, lines = connection.list()
    return [line.decode().rsplit('"/" ')[-1] for line in lines if isinstance(line, bytes)]


def count_all(connection: imaplib.IMAP4) -> int:
    return sum(int(connection.select(f, readonly=True)[1][0] or 0) for f in folders_of(connection))


def test_the_mail_is_there_byte_for_byte(process: subprocess.Popen[str]) -> None:
    host = Host(process, changes_per_s=0.001)

    with client(host, ADA) as connection:
        found = set()
        for folder in folders_of(connection):
            connection.select(folder, readonly=True)
            _, data = connection.uid("FETCH", "1:*", "(BODY.PEEK[])")
            found |= {part[1] for part in data if isinstance(part, tuple)}

    made = {generate(1, index, recipient="ada@example.test").raw for index in range(30)}
    assert made <= found


def test_a_user_sees_no_mail_of_another_and_none_without_the_password(
    process: subprocess.Popen[str],
) -> None:
    host = Host(process, changes_per_s=0.001)

    with client(host, BOB) as connection:
        count = count_all(connection)

    assert count in {5, 6}  # one change may have happened
    with pytest.raises(imaplib.IMAP4.error), client(host, BOB | {"password": "wrong"}):
        pass


def test_the_ledger_agrees_with_the_server_once_it_is_quiet(
    process: subprocess.Popen[str],
) -> None:
    host = Host(process, changes_per_s=500)
    first = host.ledger()
    while host.ledger() == first:
        pass

    host.ledger(quiet=True)

    for user in (ADA, BOB):
        with client(host, user) as connection:
            assert count_all(connection) == host.ledger(quiet=True)[user["email"]]


def test_it_ends_with_its_input(process: subprocess.Popen[str]) -> None:
    Host(process, changes_per_s=1)
    assert process.stdin is not None

    process.stdin.close()

    assert process.wait(timeout=10) == 0
