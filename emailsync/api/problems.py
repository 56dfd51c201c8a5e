"""Errors as `application/problem+json` (RFC 9457): what is wrong and what to do about it.

Whatever refuses a request raises `Refused`; the message is for whoever asked and repeats nothing
of what was sent, which may be a secret.
"""

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any, Final

from pydantic import BaseModel, ValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from emailsync.domain.errors import StoreUnavailable

MEDIA_TYPE: Final = "application/problem+json"
RETRY_AFTER_S: Final = 5  #: what a client is told while the database is away
ADVICE: Mapping[int, str] = {
    404: "There is nothing at this address, or it is not yours to see. /openapi.json names every "
    "address; the health pages are /health, /health/ready, /health/queues and /health/metrics.",
    405: "This address answers other methods only; the Allow header names them.",
    500: "The daemon failed to answer. Its log tells why.",
}


class Fault(BaseModel):
    """One thing that is wrong with what was sent."""

    where: str  #: such as "body.settings.port"
    detail: str


class Problem(BaseModel):
    """What every error looks like."""

    type: str
    title: str
    status: int
    detail: str
    errors: list[Fault] | None = None


class Refused(Exception):
    """The request is answered with a problem."""

    def __init__(
        self,
        status: int,
        detail: str,
        *,
        headers: Mapping[str, str] | None = None,
        faults: Sequence[Fault] = (),
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.headers = headers
        self.faults = faults

    @property
    def response(self) -> Response:
        """The answer."""
        return problem(self.status, self.detail, headers=self.headers, faults=self.faults)


def not_found() -> Refused:
    """Return the one answer for what is not there and for what is not the asker's to see."""
    return Refused(404, ADVICE[404])


def invalid(error: ValidationError, where: str, *, skip: int = 0) -> Refused:
    """Return the answer to values that are not valid, all of them named and none repeated.

    Args:
        error: what pydantic found.
        where: the values were, such as "body".
        skip: how many of the first names of each place are not the client's.
    """
    details = error.errors(include_url=False, include_context=False, include_input=False)
    faults = [
        Fault(where=".".join([where, *map(str, each["loc"][skip:])]), detail=each["msg"])
        for each in details
    ]
    return _to_correct(faults)


def wrong(where: str, detail: str) -> Refused:
    """Return the answer to one value that is valid by itself, but not here."""
    return _to_correct([Fault(where=where, detail=detail)])


def problem(
    status: int,
    detail: str,
    *,
    headers: Mapping[str, str] | None = None,
    faults: Sequence[Fault] = (),
) -> JSONResponse:
    """Return the response for an error; `detail` tells the client what to do."""
    content: dict[str, Any] = {
        "type": "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
    }
    if faults:
        content["errors"] = [fault.model_dump() for fault in faults]
    return JSONResponse(content, status, headers=headers, media_type=MEDIA_TYPE)


async def answer_refused(_request: Request, error: Exception) -> Response:
    """Answer as the refusal says."""
    assert isinstance(error, Refused)
    return error.response


async def answer_unavailable(_request: Request, error: Exception) -> Response:
    """Ask to come back; why the database is away is the operator's to know."""
    assert isinstance(error, StoreUnavailable)
    return problem(
        503,
        "The database is not available right now; ask again later.",
        headers={"Retry-After": str(RETRY_AFTER_S)},
    )


async def answer_http_exception(_request: Request, error: Exception) -> Response:
    """Put what Starlette raises for unknown routes and methods into our form."""
    assert isinstance(error, HTTPException)
    detail = ADVICE.get(error.status_code, error.detail)
    return problem(error.status_code, detail, headers=error.headers)


async def answer_bug(_request: Request, _error: Exception) -> Response:
    """Hide the cause from the client; Starlette raises it on, so the log has it."""
    return problem(500, ADVICE[500])


def _to_correct(faults: Sequence[Fault]) -> Refused:
    return Refused(422, "Correct what `errors` lists; /openapi.json has the rules.", faults=faults)
