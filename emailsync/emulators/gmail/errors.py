"""Google's errors, in the shape and words in which the Gmail API gives them.

Source: developers.google.com/workspace/gmail/api/guides/handle-errors; the shape is that of
Google's JSON APIs of version 1.
"""

from datetime import datetime
from typing import Any

import orjson

from emailsync.emulators.faults import Fault
from emailsync.emulators.gmail.exchange import Reply

USAGE_LIMITS = "usageLimits"
STATUS_NAMES = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    429: "RESOURCE_EXHAUSTED",
    500: "INTERNAL",
    503: "UNAVAILABLE",
}


def error(
    code: int,
    reason: str,
    message: str,
    *,
    domain: str = "global",
    status: str | None = None,
    location: str | None = None,
    details: list[dict[str, Any]] | None = None,
) -> Reply:
    """Return an error; `location` is the header that is at fault."""
    item = {"message": message, "domain": domain, "reason": reason}
    if location is not None:
        item |= {"location": location, "locationType": "header"}
    body: dict[str, Any] = {
        "code": code,
        "message": message,
        "errors": [item],
        "status": status or STATUS_NAMES[code],
    }
    if details is not None:
        body["details"] = details
    return Reply(code, orjson.dumps({"error": body}))


def as_fault(reply: Reply, *, on: str = "", **rule: Any) -> Fault:
    """Return the rule by which calls get this answer."""
    return Fault(on=on, status=reply.status, body=reply.body.decode(), **rule)


def invalid_argument(message: str) -> Reply:
    """Return 400: a parameter is wrong."""
    return error(400, "invalidArgument", message)


def mail_service_not_enabled() -> Reply:
    """Return 400: the account has no Gmail."""
    message = "Mail service not enabled"
    return error(400, "failedPrecondition", message, status="FAILED_PRECONDITION")


def invalid_credentials() -> Reply:
    """Return 401: the token is not valid (any more)."""
    return error(401, "authError", "Invalid Credentials", location="Authorization")


def delegation_denied(address: str) -> Reply:
    """Return 403: the token is not this user's."""
    return error(403, "forbidden", f"Delegation denied for {address}")


def insufficient_scope() -> Reply:
    """Return 403: the token lacks a scope."""
    detail = {
        "@type": "type.googleapis.com/google.rpc.ErrorInfo",
        "reason": "ACCESS_TOKEN_SCOPE_INSUFFICIENT",
        "domain": "googleapis.com",
        "metadata": {"service": "gmail.googleapis.com"},
    }
    message = "Request had insufficient authentication scopes."
    return error(403, "insufficientPermissions", message, details=[detail])


def domain_policy() -> Reply:
    """Return 403: the domain's administrator has disabled the application."""
    message = "The domain administrators have disabled Gmail apps."
    return error(403, "domainPolicy", message)


def user_rate_limit_exceeded() -> Reply:
    """Return 403: this user's quota is used up for now."""
    return error(403, "userRateLimitExceeded", "User Rate Limit Exceeded", domain=USAGE_LIMITS)


def rate_limit_exceeded() -> Reply:
    """Return 403: the project's quota is used up for now."""
    return error(403, "rateLimitExceeded", "Rate Limit Exceeded", domain=USAGE_LIMITS)


def daily_limit_exceeded() -> Reply:
    """Return 403: the project's quota is used up for today."""
    return error(403, "dailyLimitExceeded", "Daily Limit Exceeded", domain=USAGE_LIMITS)


def user_rate_limit_retry_after(at: datetime) -> Reply:
    """Return 429: this user may come back at a time that only the message tells."""
    time = f"{at:%Y-%m-%dT%H:%M:%S}.{at.microsecond // 1000:03}Z"
    message = f"User-rate limit exceeded.  Retry after {time}"
    return error(429, "rateLimitExceeded", message)


def too_many_concurrent_requests() -> Reply:
    """Return 429: too many calls of this user are under way."""
    return error(429, "rateLimitExceeded", "Too many concurrent requests for user")


def quota_metric_exceeded(limit: str) -> Reply:
    """Return 429: Google's infrastructure counts too, and answers in words of its own."""
    message = (
        f"Quota exceeded for quota metric 'Queries' and limit '{limit}' of service "
        "'gmail.googleapis.com' for consumer 'project_number:123456789012'."
    )
    return error(429, "rateLimitExceeded", message)


def not_found() -> Reply:
    """Return 404: no such message, label, or history so old."""
    return error(404, "notFound", "Requested entity was not found.")


def backend_error() -> Reply:
    """Return 500."""
    return error(500, "backendError", "Backend Error")


def unavailable() -> Reply:
    """Return 503."""
    return error(503, "backendError", "The service is currently unavailable.")
