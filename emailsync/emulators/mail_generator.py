"""A seeded generator of mail that looks like a working person's: the same seed, the same mail."""

from dataclasses import dataclass
from datetime import datetime

from emailsync.domain.mail import Flags


@dataclass(frozen=True, slots=True)
class GeneratedMail:
    """A message as it lies in a mailbox."""

    raw: bytes  #: lines end with CRLF
    sent_at: datetime  #: aware; also the Date header
    flags: Flags  #: as the owner has left them
