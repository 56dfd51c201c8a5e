"""The part of the control API that all emulated providers have: usage, faults, latency.

`GET`/`DELETE /_control/usage` read and reset the counters; `POST`/`DELETE /_control/faults` add a
list of rules (the fields of `Fault`) and drop all; `PUT /_control/latency` takes `{"seconds": S}`.
"""

from collections.abc import Sequence

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from emailsync.emulators.faults import CONTROL_PREFIX, Fault, Faults
from emailsync.emulators.usage import Usage

NO_CONTENT = 204


def control_routes(faults: Faults, usage: Usage) -> Sequence[Route]:
    """Return the routes by which another process sees and disturbs a provider."""

    async def read_usage(_request: Request) -> Response:
        return JSONResponse(usage.summary())

    async def reset_usage(_request: Request) -> Response:
        usage.reset()
        return Response(status_code=NO_CONTENT)

    async def add_faults(request: Request) -> Response:
        faults.add(*map(Fault.from_json, await request.json()))
        return Response(status_code=NO_CONTENT)

    async def clear_faults(_request: Request) -> Response:
        faults.clear()
        return Response(status_code=NO_CONTENT)

    async def set_latency(request: Request) -> Response:
        faults.latency_s = (await request.json())["seconds"]
        return Response(status_code=NO_CONTENT)

    return [
        Route(f"{CONTROL_PREFIX}/usage", read_usage, methods=["GET"]),
        Route(f"{CONTROL_PREFIX}/usage", reset_usage, methods=["DELETE"]),
        Route(f"{CONTROL_PREFIX}/faults", add_faults, methods=["POST"]),
        Route(f"{CONTROL_PREFIX}/faults", clear_faults, methods=["DELETE"]),
        Route(f"{CONTROL_PREFIX}/latency", set_latency, methods=["PUT"]),
    ]
