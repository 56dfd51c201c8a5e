"""How many messages Graph counts in folders: what ours are held against."""

from collections.abc import Sequence
from dataclasses import dataclass

from emailsync.domain.errors import SyncError
from emailsync.domain.pages import FolderCheck
from emailsync.providers.graph.addressing import segment, target
from emailsync.providers.graph.batch import Part, get_batched
from emailsync.providers.graph.client import GraphClient
from emailsync.providers.graph.folder_state import FolderState
from emailsync.providers.graph.refusals import concerns_one


@dataclass(slots=True)
class FolderCounts:
    """Asks for counts, for one session: delta queries do not tell of them."""

    client: GraphClient

    async def checks(self, states: Sequence[FolderState]) -> Sequence[FolderCheck]:
        """Return the counts of those of these folders that can be counted now."""
        checks: list[FolderCheck] = []
        answers = await get_batched(self.client, [self._part(state) for state in states])
        for state, answer in zip(states, answers, strict=True):
            if isinstance(answer, SyncError):
                if not concerns_one(answer):
                    raise answer
                continue
            total = answer.json().get("totalItemCount")
            if isinstance(total, int):
                checks.append(FolderCheck(folder_id=state.id, remote_count=total))
                state.touched = False
        return checks

    async def after_round(self, state: FolderState) -> FolderCheck | None:
        """Return the count of a folder whose round is over.

        A first round that showed as many messages as the folder's listing needs no request.
        """
        if state.listed is not None and len(state.listed) == state.total:
            state.touched = False
            return FolderCheck(folder_id=state.id, remote_count=state.total)
        return next(iter(await self.checks([state])), None)

    def _part(self, state: FolderState) -> Part:
        path = f"{self.client.root}/mailFolders/{segment(state.remote_id)}"
        return Part(target(path, {"$select": "totalItemCount"}))
