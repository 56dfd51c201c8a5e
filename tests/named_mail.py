"""Mail whose names last for life and whose folders have no UIDs, in the words of a test."""

from typing import Any

from emailsync.domain.folders import FolderId
from emailsync.domain.pages import Placement, PlacementChange, ReadyMessage
from store_rig import StoreRig


def named(rig: StoreRig, name: str, *folders: FolderId, **fields: Any) -> ReadyMessage:
    """Return a message that lies in these folders."""
    return rig.message(1, name, remote_id=name, placements=tuple(map(Placement, folders)), **fields)


def moved(name: str, *folders: FolderId) -> PlacementChange:
    """Return the change that says that a message lies in exactly these folders now."""
    return PlacementChange(name, tuple(map(Placement, folders)))


async def places(rig: StoreRig) -> dict[str, set[FolderId]]:
    """Return the folders of every message that is not deleted."""
    found = await rig.stored.inventory(None, after="", limit=1_000)
    return {message.remote_id: set(message.folders) for message in found}
