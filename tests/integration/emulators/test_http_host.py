"""What all emulated HTTP providers can be made to do, seen by a real client on a real socket."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import pytest
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from emailsync.emulators.control import control_routes
from emailsync.emulators.faults import Failure, Fault, Faults, emulated
from emailsync.emulators.http_host import serve
from emailsync.emulators.usage import SlidingSum, Usage
from waiting import until


async def item(_request: Request) -> Response:
    return JSONResponse({"name": "a" * 100})


@asynccontextmanager
async def provider(faults: Faults, usage: Usage) -> AsyncIterator[httpx.AsyncClient]:
    routes = [Route("/items/{id}", item), *control_routes(faults, usage)]
    async with (
        serve(emulated(routes, faults, usage)) as base_url,
        httpx.AsyncClient(base_url=base_url) as client,
    ):
        yield client


async def test_requests_are_counted_by_route() -> None:
    usage = Usage()

    async with provider(Faults(), usage) as client:
        await client.get("/items/1")
        await client.get("/items/2?x=1")
        await client.get("/nothing")

    assert usage.requests == {"GET /items/{id}": 2, "GET /nothing": 1}
    assert usage.statuses == {200: 2, 404: 1}


async def test_every_answer_has_the_date_of_now() -> None:
    async with provider(Faults(), Usage()) as client:
        answer = await client.get("/items/1")

    assert answer.headers["date"].endswith(" GMT")


async def test_a_fault_is_for_calls_by_number() -> None:
    faults = Faults()
    faults.add(Fault(on="GET /items", calls=[2], status=503, body="{}"))

    async with provider(faults, Usage()) as client:
        statuses = [(await client.get("/items/1")).status_code for _ in range(3)]

    assert statuses == [200, 503, 200]


async def test_a_fault_has_headers_and_a_body() -> None:
    faults = Faults()
    faults.add(Fault(on=r"/items/7\b", status=429, headers={"Retry-After": "3"}, body='{"a":1}'))

    async with provider(faults, Usage()) as client:
        failed = await client.get("/items/7?x=1")
        other = await client.get("/items/8")

    assert (failed.status_code, failed.json()) == (429, {"a": 1})
    assert failed.headers["retry-after"] == "3"
    assert other.status_code == 200


async def test_a_fault_happens_with_its_probability() -> None:
    faults = Faults()
    faults.add(Fault(probability=0.5))

    async with provider(faults, Usage()) as client:
        statuses = {(await client.get("/items/1")).status_code for _ in range(50)}

    assert statuses == {200, 503}


async def test_a_connection_is_cut_without_an_answer() -> None:
    faults = Faults()
    faults.add(Fault(failure=Failure.CUT))

    async with provider(faults, Usage()) as client:
        with pytest.raises((httpx.ReadError, httpx.RemoteProtocolError)):
            await client.get("/items/1")


async def test_an_answer_ends_in_its_middle() -> None:
    faults = Faults()
    faults.add(Fault(failure=Failure.TRUNCATED))

    async with provider(faults, Usage()) as client:
        with pytest.raises(httpx.RemoteProtocolError, match="complete message body"):
            await client.get("/items/1")


async def test_a_page_for_people_comes_with_200() -> None:
    faults = Faults()
    faults.add(Fault(failure=Failure.HTML))

    async with provider(faults, Usage()) as client:
        answer = await client.get("/items/1")

    assert (answer.status_code, answer.headers["content-type"][:9]) == (200, "text/html")


async def test_a_gzip_bomb_is_small_on_the_wire() -> None:
    faults = Faults()
    faults.add(Fault(failure=Failure.GZIP_BOMB))

    async with provider(faults, Usage()) as client, client.stream("GET", "/items/1") as answer:
        size = int(answer.headers["content-length"])

    assert answer.headers["content-encoding"] == "gzip"
    assert size < 1 << 20


async def test_a_delayed_call_is_answered_truly() -> None:
    faults = Faults()
    faults.add(Fault(failure=Failure.NONE, delay_s=0.05))
    started = asyncio.get_running_loop().time()

    async with provider(faults, Usage()) as client:
        answer = await client.get("/items/1")
        took = asyncio.get_running_loop().time() - started

    assert answer.status_code == 200
    assert took >= 0.05


async def test_faults_latency_and_usage_are_set_and_read_from_outside() -> None:
    async with provider(Faults(), Usage()) as client:
        await client.post("/_control/faults", json=[{"on": "/items", "status": 500}])
        await client.put("/_control/latency", json={"seconds": 0.001})
        failed = await client.get("/items/1")
        usage = (await client.get("/_control/usage")).json()
        await client.delete("/_control/faults")
        works = await client.get("/items/1")
        await client.delete("/_control/usage")
        reset = (await client.get("/_control/usage")).json()

    assert (failed.status_code, works.status_code) == (500, 200)
    assert usage["requests"] == {"GET /items/{id}": 1}
    assert reset["requests"] == {}


async def test_a_server_that_stops_cuts_what_is_under_way() -> None:
    faults, usage = Faults(), Usage()
    faults.latency_s = 60
    routes = [Route("/items/{id}", item)]

    async with (
        httpx.AsyncClient() as client,
        asyncio.TaskGroup() as group,
        serve(emulated(routes, faults, usage)) as base_url,
    ):
        answer = group.create_task(_got(client, f"{base_url}/items/1"))
        await until(lambda: usage.requests)

    assert answer.result() is None


async def _got(client: httpx.AsyncClient, url: str) -> httpx.Response | None:
    try:
        return await client.get(url)
    except httpx.TransportError:
        return None


def test_a_sliding_sum_knows_its_peak() -> None:
    units = SlidingSum(60)

    units.add(0, 10)
    units.add(59, 10)
    units.add(60, 5)

    assert (units.total(60), units.total(118), units.total(200)) == (15, 15, 0)
    assert units.peak == 20
