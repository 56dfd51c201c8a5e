"""Errors as `application/problem+json` (RFC 9457): what is wrong and what to do about it."""

from collections.abc import Mapping
from http import HTTPStatus

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

ADVICE: Mapping[int, str] = {
    404: "There is nothing at this address. The health pages are /health, /health/ready, "
    "/health/queues and /health/metrics.",
    405: "This address answers other methods only; the Allow header names them.",
    500: "The daemon failed to answer. Its log tells why.",
}


def problem(status: int, detail: str, *, headers: Mapping[str, str] | None = None) -> JSONResponse:
    """Return the response for an error; `detail` tells the client what to do."""
    content = {
        "type": "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
    }
    return JSONResponse(content, status, headers=headers, media_type="application/problem+json")


async def answer_http_exception(_request: Request, error: Exception) -> Response:
    """Put what Starlette raises for unknown routes and methods into our form."""
    assert isinstance(error, HTTPException)
    detail = ADVICE.get(error.status_code, error.detail)
    return problem(error.status_code, detail, headers=error.headers)


async def answer_bug(_request: Request, _error: Exception) -> Response:
    """Hide the cause from the client; Starlette raises it on, so the log has it."""
    return problem(500, ADVICE[500])
