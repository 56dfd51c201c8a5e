"""When a removal needs a second look before anything is deleted.

Servers and proxies do answer with empty or partial listings, and a synchroniser that believes
the first one wipes mailboxes (OfflineIMAP issues 2, 349 and 426).
"""

from typing import Final

SHARE: Final = 0.2  #: of a folder
AT_LEAST: Final = 50  #: messages; below, a share says nothing


def needs_second_listing(removing: int, stored: int) -> bool:
    """Return whether removing so many of a folder's stored messages must be confirmed."""
    return removing > AT_LEAST and removing > SHARE * stored
