"""Every way in which HTTP can fail has a meaning: a new one in httpx fails this file."""

import inspect
from datetime import UTC, datetime, timedelta

import httpx
import pytest

from emailsync.domain.errors import (
    AuthUnproven,
    Misconfigured,
    Retryable,
    ServerRefused,
    SyncError,
    Throttled,
    Unreachable,
)
from emailsync.providers.http_failures import (
    EXCEPTIONS,
    failure_of_answer,
    failure_of_exception,
)
from emailsync.providers.http_messages import Answer

OUR_BUGS = {
    httpx.CookieConflict,
    httpx.StreamError,
    httpx.StreamConsumed,
    httpx.StreamClosed,
    httpx.ResponseNotRead,
    httpx.RequestNotRead,
}
"""Raised for wrong use of httpx, never for anything a server does: they pass as what they are."""

MEANINGS: dict[type[Exception], type[SyncError]] = {
    httpx.HTTPError: Unreachable,
    httpx.RequestError: Unreachable,
    httpx.TransportError: Unreachable,
    httpx.TimeoutException: Unreachable,
    httpx.ConnectTimeout: Unreachable,
    httpx.ReadTimeout: Unreachable,
    httpx.WriteTimeout: Unreachable,
    httpx.PoolTimeout: Retryable,
    httpx.NetworkError: Unreachable,
    httpx.ConnectError: Unreachable,
    httpx.ReadError: Unreachable,
    httpx.WriteError: Unreachable,
    httpx.CloseError: Unreachable,
    httpx.ProxyError: Unreachable,
    httpx.UnsupportedProtocol: Misconfigured,
    httpx.ProtocolError: Unreachable,
    httpx.RemoteProtocolError: Unreachable,
    httpx.LocalProtocolError: ServerRefused,
    httpx.DecodingError: ServerRefused,
    httpx.TooManyRedirects: ServerRefused,
    httpx.HTTPStatusError: ServerRefused,
    httpx.InvalidURL: ServerRefused,
}


def exceptions_of_httpx() -> set[type[Exception]]:
    return {
        value
        for value in vars(httpx).values()
        if inspect.isclass(value) and issubclass(value, Exception)
    }


def an_answer(status: int, **headers: str) -> Answer:
    return Answer(
        status=status,
        headers={name.replace("_", "-"): value for name, value in headers.items()},
        body=b"",
        received_at=datetime(2026, 10, 5, tzinfo=UTC),
    )


def test_every_exception_of_httpx_has_a_meaning_or_is_our_bug() -> None:
    assert set(EXCEPTIONS) | OUR_BUGS == exceptions_of_httpx()
    assert not set(EXCEPTIONS) & OUR_BUGS


@pytest.mark.parametrize("kind", MEANINGS)
def test_what_an_exception_of_httpx_means(kind: type[Exception]) -> None:
    error = kind.__new__(kind)

    failure = failure_of_exception(error, "api.example.test")

    assert type(failure) is MEANINGS[kind]
    assert failure.message.startswith("api.example.test: ")


def test_an_exception_that_a_later_httpx_brings_means_what_its_parent_means() -> None:
    class HandshakeTimeout(httpx.ConnectTimeout):
        pass

    failure = failure_of_exception(HandshakeTimeout("?"), "api.example.test")

    assert type(failure) is Unreachable


def test_the_message_repeats_nothing_that_httpx_says() -> None:
    """h11 quotes the header it refuses, and httpx the URL."""
    failure = failure_of_exception(httpx.LocalProtocolError("b'Bearer s3cret'"), "host")

    assert "s3cret" not in failure.message


@pytest.mark.parametrize(
    ("status", "meaning"),
    [
        *((status, None) for status in (200, 201, 202, 204, 206, 299)),
        *((status, ServerRefused) for status in (100, 101, 199, 300, 301, 302, 304, 307, 308)),
        (401, AuthUnproven),
        (408, Unreachable),
        (429, Throttled),
        (509, Throttled),
        *((status, Unreachable) for status in (500, 501, 502, 503, 504, 505, 507, 520, 599)),
        *((status, ServerRefused) for status in (600, 999)),
    ],
)
def test_what_a_status_means(status: int, meaning: type[SyncError] | None) -> None:
    failure = failure_of_answer(an_answer(status), "api.example.test")

    assert failure is None if meaning is None else type(failure) is meaning


@pytest.mark.parametrize("status", sorted(set(range(400, 500)) - {401, 408, 429}))
def test_any_other_refusal_of_a_request_is_retried_as_a_failure_of_the_account(status: int) -> None:
    """A 403 too: what proves an account's access gone is the provider's code, not the status."""
    assert type(failure_of_answer(an_answer(status), "api.example.test")) is ServerRefused


@pytest.mark.parametrize("status", [429, 503, 504, 509])
def test_a_wait_that_is_asked_for_is_kept(status: int) -> None:
    failure = failure_of_answer(an_answer(status, retry_after="17"), "api.example.test")

    assert isinstance(failure, Throttled)
    assert failure.retry_after == timedelta(seconds=17)


@pytest.mark.parametrize("status", [500, 502])
def test_an_outage_stays_one_whatever_wait_it_names(status: int) -> None:
    failure = failure_of_answer(an_answer(status, retry_after="17"), "api.example.test")

    assert type(failure) is Unreachable


def test_a_date_is_read_by_the_date_of_the_answer() -> None:
    failure = failure_of_answer(
        an_answer(
            429,
            retry_after="Fri, 02 Jan 2015 00:00:30 GMT",
            date="Fri, 02 Jan 2015 00:00:00 GMT",
        ),
        "api.example.test",
    )

    assert isinstance(failure, Throttled)
    assert failure.retry_after == timedelta(seconds=30)
