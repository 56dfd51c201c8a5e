"""What every error of the API looks like (RFC 9457)."""

from typing import Any

import httpx


def refused(response: httpx.Response, status: int) -> dict[str, Any]:
    """Return the problem that an answer of this status is."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    body: dict[str, Any] = response.json()
    assert (body["status"], bool(body["detail"])) == (status, True)
    return body
