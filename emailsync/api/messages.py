"""Synced mail over HTTP: lists, messages, their bytes and their attachments.

Whatever a sender wrote is data: bytes are downloads of no type that a browser would run.
"""

from typing import Annotated, Final
from urllib.parse import quote
from uuid import UUID

from pydantic import AwareDatetime, Field, TypeAdapter
from starlette.responses import Response, StreamingResponse

from emailsync.api.backend import Reach
from emailsync.api.dispatch import knows, reply
from emailsync.api.endpoints import Access, Call, Endpoint, Nothing, Table
from emailsync.api.fields import PageQuery, RowId, TenantPath
from emailsync.api.message_models import Message, MessagePage, MessageSummary
from emailsync.api.paging import decode, page
from emailsync.api.problems import Refused, not_found
from emailsync.mime.attachments import AttachmentFinder
from emailsync.store.mail_reader import TOP, ListPosition, RawMessage, Selection

KEY: Final = TypeAdapter(tuple[AwareDatetime, RowId])
BYTES: Final = "application/octet-stream"
RAW: Final = "message/rfc822"
SANDBOX: Final = "sandbox; default-src 'none'"  #: should a browser show it after all
NOT_KEPT: Final = (
    "The bytes of this message were not kept: it was over store.max_message_bytes, or store.raw is "
    "false."
)


class MessagesQuery(PageQuery):
    """Which messages are listed."""

    provider_id: UUID | None = None
    folder_id: RowId | None = None


class MessagePath(TenantPath):
    """A message's address."""

    message_id: RowId


class AttachmentPath(MessagePath):
    """An attachment's address."""

    position: Annotated[int, Field(ge=0, le=2**31 - 1)]


class Messages:
    """The resource `/tenants/{tenant_id}/messages`."""

    def __init__(self, reach: Reach, finder: AttachmentFinder) -> None:
        self._reach = reach
        self._finder = finder

    @property
    def table(self) -> Table:
        """The entries."""
        rows = (
            ("", "Messages, the latest first", self.list, MessagePage),
            ("/{message_id}", "A message", self.show, Message),
            ("/{message_id}/raw", "A message byte for byte", self.raw, RAW),
            ("/{message_id}/attachments/{position}", "An attachment", self.attachment, BYTES),
        )
        return tuple(
            Endpoint(
                "GET",
                f"/tenants/{{tenant_id}}/messages{below}",
                Access.TENANT,
                summary,
                handler,
                {200: content},
            )
            for below, summary, handler, content in rows
        )

    async def list(self, call: Call[TenantPath, MessagesQuery, Nothing]) -> Response:
        """Return a page of messages."""
        asked = call.query
        after = TOP if asked.cursor is None else ListPosition(*decode(asked.cursor, KEY))
        selected = Selection(
            tenant_id=call.path.tenant_id,
            provider_id=asked.provider_id,
            folder_id=asked.folder_id,
        )
        found = await self._reach().mail.page(selected, after=after, limit=asked.limit + 1)
        messages, cursor = page(found, asked.limit, lambda row: (row["listed_at"], row["id"]))
        return reply(
            MessagePage(
                items=[MessageSummary.model_validate(row) for row in messages], next_cursor=cursor
            )
        )

    async def show(self, call: Call[MessagePath, Nothing, Nothing]) -> Response:
        """Return a message, one that was deleted too as long as it is kept."""
        found = await self._reach().mail.message(call.path.tenant_id, call.path.message_id)
        if found is None:
            raise not_found()
        return reply(Message.model_validate(found))

    async def raw(self, call: Call[MessagePath, Nothing, Nothing]) -> Response:
        """Return a message's bytes, in pieces."""
        where = call.path.tenant_id, call.path.message_id
        kept, size_bytes = await self._kept(call.path)
        headers = _download(f"message-{call.path.message_id}.eml")
        if kept.raw_sha256 is not None:
            headers["ETag"] = f'"{kept.raw_sha256.hex()}"'
            if knows(call.request.headers, headers["ETag"]):
                return Response(status_code=304, headers={"ETag": headers["ETag"]})
        headers["Content-Length"] = str(size_bytes)
        pieces = self._reach().mail.pieces(*where, size_bytes)
        return StreamingResponse(pieces, headers=headers, media_type=RAW)

    async def attachment(self, call: Call[AttachmentPath, Nothing, Nothing]) -> Response:
        """Return an attachment's bytes, taken from those of its message."""
        path, mail = call.path, self._reach().mail
        stored = await mail.attachment(path.tenant_id, path.message_id, path.position)
        if stored is None:
            raise not_found()
        headers = _download(stored.filename or f"attachment-{path.position}")
        if stored.sha256 is not None:
            headers["ETag"] = f'"{stored.sha256.hex()}"'
            if knows(call.request.headers, headers["ETag"]):
                return Response(status_code=304, headers={"ETag": headers["ETag"]})
        _, size_bytes = await self._kept(path)
        content = await self._finder.find(
            mail.pieces(path.tenant_id, path.message_id, size_bytes),
            size_bytes=size_bytes,
            position=path.position,
            sha256=stored.sha256,
        )
        if content is None:
            raise Refused(404, "This attachment cannot be taken from the bytes of its message.")
        return Response(content, headers=headers, media_type=BYTES)

    async def _kept(self, path: MessagePath) -> tuple[RawMessage, int]:
        found = await self._reach().mail.raw(path.tenant_id, path.message_id)
        if found is None:
            raise not_found()
        if found.size_bytes is None:
            raise Refused(404, NOT_KEPT)
        return found, found.size_bytes


def _download(filename: str) -> dict[str, str]:
    """Return the headers of bytes that are saved and never shown (RFC 6266, RFC 8187)."""
    return {
        "Content-Disposition": f"attachment; filename*=UTF-8''{quote(filename, safe='')}",
        "Content-Security-Policy": SANDBOX,
    }
