"""A command on the wire: its wire form, and the answers that have come for it."""

from collections import deque
from collections.abc import Callable

from aioimaplib.aioimaplib import Command

from emailsync.providers.imap.answers import Answer, Condition
from emailsync.providers.imap.wire_strings import Literal


def wants_nothing(_answer: Answer) -> bool:
    """Return that an answer is of no interest, whichever it is."""
    return False


class ImapCommand(Command):
    """A command on the wire with the answers that have come for it."""

    def __init__(
        self,
        name: str,
        tag: str,
        *args: str | Literal,
        prefix: str = "",
        wants: Callable[[Answer], bool] = wants_nothing,
        replies: tuple[bytes, ...] = (),
    ) -> None:
        super().__init__(name, tag, *args, prefix=prefix)
        self.wants = wants
        self.replies = deque(replies)  # to the server's continuations, after the literals
        self.answers: list[Answer] = []
        self.held_bytes = 0
        self.is_dropped = False  # nobody waits for it any more
        self.condition: Condition | None = None
        self.waited_s = 0.0

    def pieces(self, *, non_synchronizing: bool) -> deque[bytes]:
        """Return the wire form, cut where the server's go-ahead is needed.

        Args:
            non_synchronizing: the server takes literals without a go-ahead (RFC 7888).
        """
        head = f"{self.tag} {self.prefix or ''}{self.name}".encode("latin-1")
        pieces = [head]
        for arg in self.args:
            pieces[-1] += b" " + str(arg).encode("latin-1")
            if isinstance(arg, Literal):
                pieces[-1] = pieces[-1][:-1] + (b"+}\r\n" if non_synchronizing else b"}\r\n")
                pieces.append(bytes(arg))
        pieces[-1] += b"\r\n"
        return deque([b"".join(pieces)] if non_synchronizing else pieces)
