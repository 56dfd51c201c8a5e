"""An attachment as Graph shows it: a file with its bytes in base64, or a message within one."""

import base64
from collections.abc import Sequence
from typing import Any

from emailsync.emulators.graph.errors import unknown_property
from emailsync.emulators.graph.ids import IdKind, ItemId
from emailsync.emulators.graph.items import Message

ENTITY = "attachment"
FILE_CAST = "microsoft.graph.fileAttachment/"
PROPERTIES = ("id", "name", "contentType", "size", "isInline", "lastModifiedDateTime")
FILE_PROPERTIES = ("contentId", "contentLocation", "contentBytes")


def check_select(select: Sequence[str] | None) -> None:
    """Refuse what an attachment does not have; a file's own properties need the cast.

    Raises:
        GraphError: 400.
    """
    for name in select or ():
        if name not in PROPERTIES and name.removeprefix(FILE_CAST) not in (
            FILE_PROPERTIES if name.startswith(FILE_CAST) else ()
        ):
            raise unknown_property(name, ENTITY)


def attachment_json(
    message: Message, position: int, select: Sequence[str] | None
) -> dict[str, Any]:
    """Return the attachment with the selected properties, all of them by default."""
    found = message.content.attachments[position]
    name = ItemId(message.mailbox, IdKind.ATTACHMENT, message.number, position)
    kind = "itemAttachment" if found.is_item else "fileAttachment"
    entity: dict[str, Any] = {"@odata.type": f"#microsoft.graph.{kind}"}
    if not found.is_item:
        entity["@odata.mediaContentType"] = found.content_type
    wanted = {part.removeprefix(FILE_CAST) for part in select or (*PROPERTIES, *FILE_PROPERTIES)}
    values = {
        "id": str(name),
        "name": found.name,
        "contentType": found.content_type,
        "size": len(found.octets),
        "isInline": found.is_inline,
        "lastModifiedDateTime": f"{message.received_at:%Y-%m-%dT%H:%M:%SZ}",
    }
    if not found.is_item:
        values |= {"contentId": found.content_id, "contentLocation": None}
        if "contentBytes" in wanted:
            values["contentBytes"] = base64.b64encode(found.octets).decode()
    return entity | {key: value for key, value in values.items() if key == "id" or key in wanted}
