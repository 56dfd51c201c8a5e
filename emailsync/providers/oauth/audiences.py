"""What an access token is for: one API at one provider. A token of one opens no other."""

from enum import StrEnum


class Audience(StrEnum):
    """What tokens are asked for."""

    GMAIL = "gmail"
    GOOGLE_IMAP = "google_imap"
    GRAPH = "graph"
    OUTLOOK_IMAP = "outlook_imap"
