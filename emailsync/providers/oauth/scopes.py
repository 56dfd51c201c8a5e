"""What a token must be good for: the scopes that reading mail takes at each API.

Google lets its users untick what a client asks for (granular consent), and a directory may cut
Microsoft's; so what was granted is looked at each time.
"""

from collections.abc import Collection
from typing import Final

from emailsync.domain.errors import AuthRefused
from emailsync.providers.oauth.audiences import Audience

FULL: Final = "https://mail.google.com/"
READ_ONLY: Final = "https://www.googleapis.com/auth/gmail.readonly"
GOOGLE: Final = {Audience.GMAIL: READ_ONLY, Audience.GOOGLE_IMAP: FULL}
"""What is asked for: the least that serves."""
MICROSOFT: Final = {
    Audience.GRAPH: "Mail.Read",
    Audience.OUTLOOK_IMAP: "IMAP.AccessAsUser.All",
}
"""The same, without the resource that each belongs to."""
SUFFICIENT: Final = {
    Audience.GMAIL: frozenset({"gmail.readonly", "gmail.modify", FULL}),
    Audience.GOOGLE_IMAP: frozenset({FULL}),
    Audience.GRAPH: frozenset({"Mail.Read", "Mail.ReadWrite", ".default"}),
    Audience.OUTLOOK_IMAP: frozenset({"IMAP.AccessAsUser.All", ".default"}),
}


class ScopesMissing(AuthRefused):
    """The mailbox's owner agreed to less than it takes to read mail."""


def check_scopes(audience: Audience, granted: Collection[str] | None) -> None:
    """Return if a token with these scopes reads mail; None: the issuer did not say.

    Graph's scopes come with or without their resource in front.

    Raises:
        ScopesMissing: it does not.
    """
    names = {scope.rpartition("/")[2] or scope for scope in granted or ()}
    if names and names.isdisjoint(SUFFICIENT[audience]):
        raise ScopesMissing(
            "the mailbox's owner did not allow this client to read the mail: connect it again, "
            "with every box ticked"
        )
