"""Refusals in the exact shape of Microsoft Graph (learn.microsoft.com/graph/errors)."""

from collections.abc import Mapping
from typing import Any

BAD_REQUEST = 400
UNAUTHORIZED = 401
FORBIDDEN = 403
NOT_FOUND = 404
GONE = 410
FAILED_DEPENDENCY = 424
TOO_MANY_REQUESTS = 429
GATEWAY_TIMEOUT = 504

CHALLENGE = (
    'Bearer realm="", '
    'authorization_uri="https://login.microsoftonline.com/common/oauth2/authorize", '
    'client_id="00000003-0000-0000-c000-000000000000"'
)


class GraphError(Exception):
    """A refusal; whoever answers adds the ids of the request."""

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        *,
        headers: Mapping[str, str] | None = None,
        inner_code: str | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.headers = dict(headers or {})
        self.inner_code = inner_code  #: a more specific code, nested

    def body(self, request_id: str, client_request_id: str, date: str) -> dict[str, Any]:
        """Return the body; `date` is ISO 8601 without a zone, as theirs is."""
        inner = {"code": self.inner_code} if self.inner_code else {}
        inner |= {"date": date, "request-id": request_id, "client-request-id": client_request_id}
        return {"error": {"code": self.code, "message": str(self), "innerError": inner}}


def no_valid_token(message: str, *, claims: str | None = None) -> GraphError:
    """401; `claims` (base64) is the challenge of continuous access evaluation."""
    challenge = CHALLENGE
    if claims:
        challenge += f', error="insufficient_claims", claims="{claims}"'
    return GraphError(
        UNAUTHORIZED,
        "InvalidAuthenticationToken",
        message,
        headers={"WWW-Authenticate": challenge},
    )


def access_denied() -> GraphError:
    """403: a permission or policy is missing."""
    return GraphError(
        FORBIDDEN, "ErrorAccessDenied", "Access is denied. Check credentials and try again."
    )


def not_consented() -> GraphError:
    """403: the directory, in other words, of a permission that is missing."""
    return GraphError(
        FORBIDDEN,
        "Authorization_RequestDenied",
        "Insufficient privileges to complete the operation.",
    )


def mailbox_not_enabled() -> GraphError:
    """404: no licence, on premises or soft-deleted."""
    return GraphError(
        NOT_FOUND,
        "MailboxNotEnabledForRESTAPI",
        "The mailbox is either inactive, soft-deleted, or is hosted on-premise.",
    )


def unknown_user(user: str) -> GraphError:
    """404: nobody of that id or name."""
    return GraphError(NOT_FOUND, "ErrorInvalidUser", f"The requested user '{user}' is invalid.")


def item_not_found() -> GraphError:
    """404: gone, moved away under a regular id, or of another mailbox."""
    return GraphError(
        NOT_FOUND, "ErrorItemNotFound", "The specified object was not found in the store."
    )


def malformed_id() -> GraphError:
    """400: not an id at all."""
    return GraphError(BAD_REQUEST, "ErrorInvalidIdMalformed", "Id is malformed.")


def unknown_segment(segment: str) -> GraphError:
    """400: no such resource."""
    return GraphError(BAD_REQUEST, "BadRequest", f"Resource not found for the segment '{segment}'.")


def unknown_property(name: str, entity: str) -> GraphError:
    """400: $select or $expand names what the entity does not have."""
    return GraphError(
        BAD_REQUEST,
        "RequestBroker--ParseUri",
        f"Could not find a property named '{name}' on type 'microsoft.graph.{entity}'.",
    )


def bad_query(message: str) -> GraphError:
    """400: a query option that is not supported or not understood."""
    return GraphError(BAD_REQUEST, "ErrorInvalidUrlQuery", message)


def bad_request(message: str) -> GraphError:
    """400: a body that is not understood."""
    return GraphError(BAD_REQUEST, "BadRequest", message)


def bad_sync_state() -> GraphError:
    """400: a token that we never made, or one of another folder."""
    return GraphError(BAD_REQUEST, "SyncStateInvalid", "The sync state is invalid.")


def throttled(message: str, retry_after: str) -> GraphError:
    """429."""
    return GraphError(
        TOO_MANY_REQUESTS,
        "ApplicationThrottled",
        message,
        headers={"Retry-After": retry_after},
    )
