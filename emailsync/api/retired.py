"""What is left of the retired configuration API: every method says where its work is done now."""

from starlette.responses import Response

from emailsync.api.endpoints import (
    ANY_METHOD,
    Access,
    Anything,
    Call,
    Endpoint,
    Nothing,
    Sent,
    Table,
)
from emailsync.api.problems import MEDIA_TYPE, Refused


class Below(Sent):
    """Whatever came behind the address."""

    rest: str


async def gone(call: Call[Nothing, Anything, Nothing]) -> Response:
    """Name the place to go."""
    del call
    raise _gone()


async def gone_below(call: Call[Below, Anything, Nothing]) -> Response:
    """Name the place to go."""
    del call
    raise _gone()


def _gone() -> Refused:
    return Refused(
        410,
        "EmailConfig is retired. Accounts are configured at /providers: POST /providers adds one, "
        "PATCH /providers/{id} changes it.",
        headers={"Link": '</providers>; rel="successor-version"'},
    )


RETIRED: Table = tuple(
    Endpoint(
        ANY_METHOD,
        f"{root}{below}",
        Access.ANY_TOKEN,
        "Retired: see /providers",
        gone_below if below else gone,
        {410: MEDIA_TYPE},
    )
    for root in ("/email-config", "/email-configs")
    for below in ("", "/{rest:path}")
)
