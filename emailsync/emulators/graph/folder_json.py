"""A mail folder as Graph v1.0 shows it; the well-known name is not among its properties."""

from collections.abc import Callable
from typing import Any

from emailsync.emulators.graph.items import Folder
from emailsync.emulators.graph.mailbox import Mailbox
from emailsync.emulators.graph.odata import Selection

ENTITY = "mailFolder"
EXPANDABLE = ("childFolders",)


def _parent(mailbox: Mailbox, folder: Folder) -> str | None:
    """Return the parent's id; the root's own parent is never shown to readers."""
    return mailbox.folders[folder.parent].id if folder.parent is not None else folder.id


PROPERTIES: dict[str, Callable[[Mailbox, Folder], Any]] = {
    "id": lambda _, folder: folder.id,
    "displayName": lambda _, folder: folder.display_name,
    "parentFolderId": _parent,
    "childFolderCount": lambda mailbox, folder: len(mailbox.children(folder)),
    "unreadItemCount": lambda mailbox, folder: sum(
        not mailbox.messages[number].is_read for number in folder.members
    ),
    "totalItemCount": lambda _, folder: len(folder.members),
    "isHidden": lambda _, folder: folder.is_hidden,
}


def folder_json(mailbox: Mailbox, folder: Folder, selection: Selection) -> dict[str, Any]:
    """Return the selected properties, and the folders right under it when expanded."""
    select = PROPERTIES if selection.select is None else ["id", *selection.select]
    entity = {name: PROPERTIES[name](mailbox, folder) for name in select}
    if "childFolders" in selection.expand:
        inner = Selection(select=selection.expand["childFolders"])
        entity["childFolders"] = [
            folder_json(mailbox, child, inner) for child in mailbox.children(folder)
        ]
    return entity
