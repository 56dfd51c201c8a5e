"""The change feed over HTTP: read on from where one was, or wait a while for something new.

A position is where the reader stands, not what was read: it moves with every answer, so that only
who was away for longer than changes are kept has missed some, and is told so.
"""

from collections import Counter
from datetime import datetime, timedelta
from typing import Annotated, Final, Literal
from uuid import UUID

import anyio
from pydantic import BaseModel, Field, TypeAdapter
from starlette.responses import Response

from emailsync.api.backend import Reach
from emailsync.api.bell import Bell
from emailsync.api.dispatch import reply
from emailsync.api.endpoints import Access, Call, Endpoint, Nothing, Sent, Table
from emailsync.api.fields import MAX_BIGINT, NO_NUL, TenantText
from emailsync.api.paging import decode, encode
from emailsync.api.problems import MEDIA_TYPE, Refused
from emailsync.config import LiveSettings
from emailsync.domain.accounts import TenantId
from emailsync.ports import Clock
from emailsync.store.feed import START, Position, Reading

LONGEST_WAIT_S: Final = 30
RECHECK_S: Final = 0.05  #: for a change that waits for an older transaction, which tells nobody
MOST_WAITING: Final = 100  #: requests; more are to come back later
MOST_OF_A_TENANT: Final = 20  #: of them, with tokens of one tenant: the others may wait as well
MARGIN: Final = timedelta(hours=1)  #: changes are removed once an hour
FROM_THE_BEGINNING: Final = "0"

Number = Annotated[int, Field(ge=0, le=MAX_BIGINT)]
KEY: Final = TypeAdapter(tuple[Number, Number, Annotated[int, Field(ge=0, le=2**40)]])


class ChangesQuery(Sent):
    """Where to read on, and how long to wait for something new."""

    after: Annotated[
        str,
        Field(
            min_length=1,
            max_length=200,
            pattern=NO_NUL,
            description="`next` of the answer before, or 0: from the beginning of what is kept.",
        ),
    ] = FROM_THE_BEGINNING
    limit: Annotated[int, Field(ge=1, le=1_000, description="How many at most.")] = 100
    wait_s: Annotated[
        int, Field(ge=0, le=LONGEST_WAIT_S, description="Seconds to wait if there is nothing.")
    ] = 0
    tenant_id: TenantText | None = None


class Change(BaseModel):
    """A message was created, updated or deleted."""

    seq: int
    tenant_id: str
    provider_id: UUID
    message_id: int
    kind: Literal["created", "updated", "deleted"]
    at: datetime


class Changes(BaseModel):
    """What changed, oldest first, and where to read on, whether anything changed or not."""

    items: list[Change]
    next: str


class ChangeReader:
    """The resource `/changes`."""

    def __init__(self, reach: Reach, bell: Bell, settings: LiveSettings, clock: Clock) -> None:
        self._reach = reach
        self._bell = bell
        self._settings = settings
        self._clock = clock
        self._waiting: Counter[TenantId | None] = Counter()  #: requests, by whose token they show

    @property
    def table(self) -> Table:
        """The entry."""
        return (
            Endpoint(
                "GET",
                "/changes",
                Access.TENANT,
                "What changed, in an order that leaves nothing out",
                self.read,
                {200: Changes, 410: MEDIA_TYPE},
            ),
        )

    async def read(self, call: Call[Nothing, ChangesQuery, Nothing]) -> Response:
        """Return what is new; a tenant's token hears of its own tenant only."""
        asked = call.query
        tenant_id = call.grant.tenant_id or asked.tenant_id
        after = self._position(asked.after)
        if asked.tenant_id is not None and not call.grant.covers(asked.tenant_id):
            return reply(Changes(items=[], next=asked.after))
        reading = await self._wait(after, asked, tenant_id, call.grant.tenant_id)
        last = reading.changes[-1].position if reading.changes else after
        items = [
            Change(
                seq=change.position.seq,
                tenant_id=change.tenant_id,
                provider_id=change.provider_id,
                message_id=change.message_id,
                kind=change.kind,
                at=change.at,
            )
            for change in reading.changes
        ]
        return reply(Changes(items=items, next=self._shown(last)))

    async def _wait(
        self, after: Position, asked: ChangesQuery, tenant_id: TenantId | None, who: TenantId | None
    ) -> Reading:
        """Return as soon as something is new, or when the time is over."""
        until_s = self._clock.monotonic() + asked.wait_s
        while True:
            rung = self._bell.next(tenant_id)
            reading = await self._reach().feed.read(after, limit=asked.limit, tenant_id=tenant_id)
            left_s = until_s - self._clock.monotonic()
            if reading.changes or left_s <= 0:
                return reading
            nap_s = min(left_s, RECHECK_S) if reading.is_held_up else left_s
            await self._sleep(rung, nap_s, who)

    async def _sleep(self, rung: anyio.Event, at_most_s: float, who: TenantId | None) -> None:
        is_full = who is not None and self._waiting[who] >= MOST_OF_A_TENANT
        if is_full or self._waiting.total() >= MOST_WAITING:
            raise Refused(
                503,
                "Too many requests wait for changes; ask again later, or without waiting.",
                headers={"Retry-After": "1"},
            )
        self._waiting[who] += 1
        try:
            with anyio.move_on_after(at_most_s):
                await rung.wait()
        finally:
            self._waiting[who] -= 1
            if not self._waiting[who]:
                del self._waiting[who]

    def _position(self, after: str) -> Position:
        if after == FROM_THE_BEGINNING:
            return START
        xact, seq, told_at = decode(after, KEY, where="query.after")
        kept = timedelta(days=self._settings.current.store.retention.changes_days)
        age = timedelta(seconds=self._clock.now().timestamp() - told_at)
        if age > kept - MARGIN:
            raise Refused(
                410,
                f"This position is {age.days} days old, and changes are kept for {kept.days}: some "
                "may be gone. Compare all messages once, and read on from after=0.",
            )
        return Position(xact, seq)

    def _shown(self, position: Position) -> str:
        return encode((position.xact, position.seq, int(self._clock.now().timestamp())))
