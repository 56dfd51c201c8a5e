"""Delta queries: rounds of pages that end with a deltaLink.

There is no snapshot. What changes during a round comes on a later page of it or in the next round,
and an item that changes after it was told comes again
(learn.microsoft.com/graph/delta-query-messages).
"""

from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from emailsync.emulators.graph.changes import Track
from emailsync.emulators.graph.delta_sources import CREATED, DELETED, UPDATED, Source
from emailsync.emulators.graph.delta_token import Position
from emailsync.emulators.graph.errors import (
    BAD_REQUEST,
    GONE,
    GraphError,
    bad_sync_state,
)
from emailsync.emulators.graph.mailbox import Mailbox
from emailsync.emulators.graph.quirks import ExpiredAnswer, LinkKind, Loop

NOT_SUPPORTED = "latest"  #: "sync from now" is ignored, as for all messages


@dataclass(frozen=True, slots=True)
class Token:
    """What a request brings of an earlier answer."""

    kind: LinkKind
    position: Position

    @classmethod
    def of(cls, query: Mapping[str, str]) -> "Token | None":
        """Return the token of the query; None: a first request.

        Raises:
            GraphError: 400, it was never ours.
        """
        for name, value in query.items():
            for kind in LinkKind:
                if name.lower() == f"${kind}" and value not in {"", NOT_SUPPORTED}:
                    try:
                        return cls(kind, Position.decode(value))
                    except ValueError:
                        raise bad_sync_state() from None
        return None


def check_token(token: Token, mailbox: Mailbox, scope: str, url: str) -> None:
    """Refuse a token of another folder, or one that has expired.

    Raises:
        GraphError: 400 or 410.
    """
    if token.position.scope != scope:
        raise bad_sync_state()
    if mailbox.expiry.has_expired(scope, token.kind, token.position.stamp):
        raise _expired(mailbox.expiry.answer, url)


def _expired(answer: ExpiredAnswer, url: str) -> GraphError:
    message = "The sync state generation is not found; generation=1/1."
    if answer is ExpiredAnswer.GONE:
        location = f"{url}?$deltatoken="
        return GraphError(GONE, "resyncRequired", message, headers={"Location": location})
    if answer is ExpiredAnswer.SYNC_STATE_NOT_FOUND:
        return GraphError(GONE, "SyncStateNotFound", message)
    if answer is ExpiredAnswer.BAD_REQUEST:
        return GraphError(BAD_REQUEST, "syncStateNotFound", message)
    return GraphError(BAD_REQUEST, "BadRequest", message, inner_code="resyncRequired")


def first_position(mailbox: Mailbox, source: Source, query: Mapping[str, str]) -> Position:
    """Return where a first round begins."""
    return Position(
        scope=source.scope,
        query=query,
        round_from=mailbox.last_change,
        told=mailbox.last_change,
        listed=[] if CREATED in source.change_types else None,
    )


def answer(
    mailbox: Mailbox, source: Source, position: Position, *, size: int, url: str
) -> dict[str, Any]:
    """Return one page's items and link; `url` is that of the collection's delta, without query."""
    position = position if position.stamp else replace(position, stamp=mailbox.expiry.stamp())
    items: list[dict[str, Any]] = []
    every = mailbox.quirks.empty_page_every
    if every and position.page % every == every - 1:
        after, is_last = position, False
    else:
        after, is_last = _page(source, position, size, items)
    if mailbox.quirks.duplicates and items:
        items.append(items[0])
    after = replace(after, page=position.page + 1, stamp=mailbox.expiry.stamp())
    if mailbox.quirks.loop is not None:
        after, is_last = _looped(mailbox.quirks.loop, position, after), False
    if is_last:
        after = replace(after, round_from=after.told, listed=None, count=0, page=0, back="")
    kind = LinkKind.DELTA if is_last else LinkKind.NEXT
    return {
        f"@odata.{'deltaLink' if is_last else 'nextLink'}": f"{url}?${kind}={after.encode()}",
        "value": items,
    }


def _looped(loop: Loop, position: Position, after: Position) -> Position:
    if loop is Loop.SAME_LINK:
        return position
    if loop is Loop.SAME_PAYLOAD:
        return replace(position, page=after.page, stamp=after.stamp)
    return (
        Position.decode(position.back) if position.back else replace(after, back=position.encode())
    )


def _page(
    source: Source, position: Position, size: int, items: list[dict[str, Any]]
) -> tuple[Position, bool]:
    """Add the page's items; return where it ends, and whether there was nothing to fill it."""
    if position.listed is not None:
        position = _list(source, position, size, items)
        if position.listed is not None:
            return position, False
    for item, track in source.feed.after(position.told):
        if len(items) == size:
            return position, False
        position = replace(position, told=track.at)
        if found := _change(source, position, item, track):
            items.append(found)
    return position, len(items) < size


def _list(source: Source, position: Position, size: int, items: list[dict[str, Any]]) -> Position:
    """Add items that lie there, after the last one listed."""
    keys = source.keys()
    start = bisect_right(keys, tuple(position.listed or ())) if position.listed else 0
    room = size if source.most is None else min(size, source.most - position.count)
    for key in keys[start : start + room]:
        if found := source.present(key[1], is_partial=False):
            items.append(found)
        position = replace(position, listed=key, count=position.count + 1)
    if start + room < len(keys) and position.count != source.most:
        return position
    return replace(position, listed=None) if len(items) < size else position


def _change(source: Source, position: Position, item: int, track: Track) -> dict[str, Any] | None:
    """Return what is told of a changed item; None for nothing."""
    if track.gone:
        return source.removed(item, track) if DELETED in source.change_types else None
    kind = CREATED if track.arrived > position.round_from else UPDATED
    if kind not in source.change_types:
        return None
    return source.present(item, is_partial=track.altered <= position.round_from)
