"""One account's way to its provider's API: its quota, its token, and what a refusal means.

Repeats nothing but a request whose token had expired: a failure ends the job, and the job's
outcome decides what comes next.
"""

from collections.abc import Callable, Collection
from functools import partial
from http import HTTPStatus
from typing import Protocol

from emailsync.crypto import Secret
from emailsync.domain.errors import SyncError, Throttled
from emailsync.providers.http_client import DEADLINE_S, MAX_ANSWER_BYTES, HttpClient
from emailsync.providers.http_failures import SUCCESSES, failure_of_answer
from emailsync.providers.http_messages import Answer, ApiRequest
from emailsync.providers.quota import AccountQuota, ProjectThrottled

Refusal = Callable[[Answer], SyncError | None]
"""A provider's own reading of an answer that is no 2xx; None: the status alone decides."""


class TokenSource(Protocol):
    """The access tokens of one account, for one audience."""

    async def current(self) -> Secret:
        """Return a token that should serve, renewed when it is about to expire.

        Raises:
            AuthRefused, AuthUnproven, Unreachable, Throttled, Misconfigured: see errors.py.
        """

    async def renewed(self, rejected: Secret) -> Secret:
        """Return another token than the one that the API did not take. Raises as `current`."""


class AccountClient:
    """Sends one account's requests. Any number of its tasks may send at once."""

    def __init__(
        self, http: HttpClient, tokens: TokenSource, quota: AccountQuota, refusal: Refusal
    ) -> None:
        self._http = http
        self._tokens = tokens
        self._refusal = refusal
        self.quota = quota  #: for sizing batches: `largest`, `left` and `parallel`

    async def send(
        self,
        request: ApiRequest,
        *,
        cost: int,
        lanes: int = 1,
        allow: Collection[int] = (),
        max_bytes: int = MAX_ANSWER_BYTES,
        deadline_s: float = DEADLINE_S,
    ) -> Answer:
        """Send a request and return its answer: a 2xx, or a status of `allow`.

        A 401 renews the token and sends the request once more; a second one is judged.

        Args:
            request: what to ask.
            cost: quota units, by the provider's prices; a batch costs what its parts cost.
            lanes: how many of the mailbox's concurrent requests it takes up: a batch whose parts
                the provider runs side by side takes several. Limited to `quota.parallel`.
            allow: statuses that mean something to the caller, such as 404 and 410.
            max_bytes: of the decoded body.
            deadline_s: for everything between the request and the end of its answer.

        Raises:
            QuotaSpent: our share of the quota is used up for longer than a wait in place.
            SyncError: as the provider's refusal, or the table in http_failures.py, says.
        """
        ask = partial(self._http.send, request, max_bytes=max_bytes, deadline_s=deadline_s)
        token = await self._tokens.current()
        async with self.quota.spend(cost, lanes=lanes):
            answer = await ask(bearer=token)
        if answer.status == HTTPStatus.UNAUTHORIZED:
            token = await self._tokens.renewed(token)
            async with self.quota.spend(cost, lanes=lanes):
                answer = await ask(bearer=token)
        if answer.status not in allow and (error := self.judge(answer)):
            raise error
        return answer

    def judge(self, answer: Answer) -> SyncError | None:
        """Return why an answer, or one part of a batch's answer, cannot be used; None: it can.

        When the provider asked for a pause, the quota keeps it from now on. One that names no time
        for a mailbox pauses nothing here: the job ends, or asks for less at once.
        """
        if answer.status in SUCCESSES:
            return None
        error = self._refusal(answer) or failure_of_answer(answer, self._http.host)
        if isinstance(error, ProjectThrottled):
            self.quota.pause_project(error.retry_after)
        elif isinstance(error, Throttled) and error.retry_after:
            self.quota.pause(error.retry_after)
        return error
