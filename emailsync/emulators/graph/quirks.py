"""What Graph does to its clients now and then, switched on by a test, mailbox by mailbox."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum


class Loop(StrEnum):
    """Rounds that never end."""

    SAME_LINK = "same_link"  #: every page's nextLink is the link of the page itself
    CYCLE = "cycle"  #: the second page's nextLink leads back to the first
    SAME_PAYLOAD = "same_payload"  #: the links change, the items do not


class RemovedReason(StrEnum):
    """What `@removed` says of a message that has moved to another folder."""

    DELETED = "deleted"
    CHANGED = "changed"


class LinkKind(StrEnum):
    """What a token is for."""

    NEXT = "skiptoken"
    DELTA = "deltatoken"


class ExpiredAnswer(StrEnum):
    """How a token that has expired is refused."""

    GONE = "gone"  #: 410 with a Location that has an empty token
    SYNC_STATE_NOT_FOUND = "sync_state_not_found"  #: 410 SyncStateNotFound
    BAD_REQUEST = "bad_request"  #: 400 syncStateNotFound
    NESTED = "nested"  #: 400 with resyncRequired as the inner error's code


@dataclass(slots=True)
class Quirks:
    """Of one mailbox; as made, the mailbox behaves as documented and at its best."""

    partial_items: bool = True  #: a change of isRead alone gives little more than isRead
    headers_in_delta: bool = True  #: internetMessageHeaders, when selected
    moved_reason: RemovedReason = RemovedReason.DELETED
    duplicates: bool = False  #: a page's first item comes again at its end
    empty_page_every: int = 0  #: every so many pages of a round one without items; 0: none
    loop: Loop | None = None
    loses_returned: bool = False  #: a message that comes back to a folder stays reported as gone
    mime_varies: bool = False  #: `$value` differs between calls
    link_base: str | None = None  #: nextLinks and deltaLinks lead to this base URL


@dataclass(slots=True)
class AccessState:
    """Whether a valid token opens the mailbox."""

    is_denied: bool = False  #: 403 by policy
    is_enabled: bool = True  #: False: MailboxNotEnabledForRESTAPI
    tells_owner: bool = True  #: False: User.Read was not consented to
    claims: str | None = None  #: 401 with this challenge (base64)


@dataclass(slots=True)
class TokenExpiry:
    """Which delta and skip tokens of a mailbox are still good: those made after a mark.

    Marks are per folder, "" for the hierarchy of folders.
    """

    answer: ExpiredAnswer = ExpiredAnswer.GONE
    made: int = 0
    _marks: dict[tuple[str | None, LinkKind], int] = field(default_factory=dict)

    def stamp(self) -> int:
        """Return the mark of a new token."""
        self.made += 1
        return self.made

    def expire(
        self,
        folder_id: str | None,
        *,
        kinds: Iterable[LinkKind],
        answer: ExpiredAnswer,
    ) -> None:
        """Let all tokens made so far expire, of one folder or (None) of the whole mailbox."""
        self.answer = answer
        for kind in kinds:
            self._marks[folder_id, kind] = self.made

    def has_expired(self, folder_id: str, kind: LinkKind, stamp: int) -> bool:
        """Tell whether a token is good no more."""
        marks = (self._marks.get((scope, kind), 0) for scope in (folder_id, None))
        return stamp <= max(marks)
