"""A mail provider in a process of its own: users with generated mail, and life in their mailboxes.

Speaks lines of JSON with whoever started it, one answer to each. First an order, `{"users":
[{"email": ..., "password": ..., "messages": N, "seed": S}, ...], "changes_per_s": R, "cut_share":
C}`, C (0 if missing) of the connections being reset, answered by `{"port": N}` once all mail lies
there; then `{"quiet": Q}`, answered by `{email: messages there, ...}`: when Q is true, nothing
changes any more, and no connection is reset. It ends when its input does.
"""

import json
import random
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import anyio

from emailsync.emulators.imap_server import INBOX, LocalImapServer
from emailsync.emulators.mail_generator import generate

ARCHIVE = "Archive"
FOLDERS = ("Sent", ARCHIVE, "Projects", "Projects/2026")
FOLDER_WEIGHTS = {INBOX: 6} | dict.fromkeys(
    FOLDERS, 1
)  #: of the mail that lies there from the start
LIFE_WEIGHTS = {"deliver": 60, "read": 30, "archive": 5, "delete": 5}


@dataclass(slots=True)
class User:
    """One mailbox and how far its generator has come."""

    email: str
    password: str
    seed: int
    next_index: int = 0


class MailHost:
    """All users of the provider and what happens to their mail."""

    def __init__(
        self, server: LocalImapServer, users: Sequence[User], changes_per_s: float
    ) -> None:
        self._server = server
        self._users = users
        self._changes_per_s = changes_per_s
        self._random = random.Random(1)  # repeatable
        self._quiet = False

    async def fill(self, user: User, messages: int) -> None:
        """Make the user's mailbox with `messages` messages, most of them in the inbox."""
        await self._server.add_user(user.email, user.password, FOLDERS)
        for _ in range(messages):
            await self._deliver(user, self._pick(FOLDER_WEIGHTS), sent_at=None)

    async def live(self) -> None:
        """Let things happen until told to be quiet: new mail, reading, filing, deleting."""
        while self._users and not self._quiet:
            await self._change(self._random.choice(self._users))
            await anyio.sleep(1 / self._changes_per_s)

    async def answer(self) -> None:
        """Answer what comes in; return at the end of the input."""
        while line := await anyio.to_thread.run_sync(sys.stdin.readline):
            self._quiet = json.loads(line)["quiet"]
            if self._quiet:
                self._server.cut_share = 0.0
            say({user.email: len(self._server.ledger(user.email)) for user in self._users})

    async def _change(self, user: User) -> None:
        event = self._pick(LIFE_WEIGHTS)
        ledger = self._server.ledger(user.email)
        if event == "deliver" or not ledger:
            await self._deliver(user, INBOX, sent_at=datetime.now(UTC))
            return
        placement = self._random.choice(ledger)
        if event == "read":
            await self._server.mark_read(user.email, placement)
        elif event == "delete":
            await self._server.expunge(user.email, placement)
        elif placement.folder != ARCHIVE:
            await self._server.move(user.email, placement, ARCHIVE)

    async def _deliver(self, user: User, folder: str, *, sent_at: datetime | None) -> None:
        mail = generate(user.seed, user.next_index, recipient=user.email, sent_at=sent_at)
        user.next_index += 1
        await self._server.deliver(user.email, folder, mail)

    def _pick(self, weights: Mapping[str, int]) -> str:
        return self._random.choices(list(weights), list(weights.values()))[0]


def say(line: dict[str, Any]) -> None:
    """Write one line for whoever started us."""
    sys.stdout.write(json.dumps(line) + "\n")
    sys.stdout.flush()


async def main() -> None:
    """Serve the mail that the first line of the input orders."""
    order = json.loads(await anyio.to_thread.run_sync(sys.stdin.readline))
    server = LocalImapServer()
    users = [User(user["email"], user["password"], user["seed"]) for user in order["users"]]
    host = MailHost(server, users, order["changes_per_s"])
    for user, ordered in zip(users, order["users"], strict=True):
        await host.fill(user, ordered["messages"])
    server.cut_share = order.get("cut_share", 0.0)
    async with server.listening() as port, anyio.create_task_group() as group:
        say({"port": port})
        group.start_soon(host.live)
        await host.answer()
        group.cancel_scope.cancel()


if __name__ == "__main__":
    anyio.run(main)
