"""What a provider's Retry-After is taken for, in every form that has been seen in the field."""

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from emailsync.domain.retry_after import retry_after, retry_after_in

NOW = datetime(2026, 10, 5, 12, 0, tzinfo=UTC)
DATE = "Mon, 05 Oct 2026 12:00:00 GMT"
SECOND, HOUR = timedelta(seconds=1), timedelta(hours=1)


def seconds(number: int) -> timedelta:
    return timedelta(seconds=number)


@pytest.mark.parametrize(
    ("header", "wait"),
    [
        # seconds
        ("1", seconds(1)),
        ("30", seconds(30)),
        ("120", seconds(120)),
        ("3600", HOUR),
        (" 7 ", seconds(7)),
        ("\t7", seconds(7)),
        ("+7", seconds(7)),
        ("0007", seconds(7)),
        # less than a second, or none
        ("0", SECOND),
        ("-0", SECOND),
        ("0.0", SECOND),
        ("0.2", SECOND),
        ("-1", SECOND),
        ("-86400", SECOND),
        ("-0.5", SECOND),
        # fractions are rounded up: coming back early counts against us
        ("1.0", seconds(1)),
        ("1.001", seconds(2)),
        ("29.5", seconds(30)),
        ("5.", seconds(5)),
        # more than an hour
        ("3601", HOUR),
        ("315360000", HOUR),
        ("9" * 300, HOUR),
        # dates, in the three formats of RFC 9110 section 5.6.7
        ("Mon, 05 Oct 2026 12:00:42 GMT", seconds(42)),
        ("Monday, 05-Oct-26 12:00:42 GMT", seconds(42)),
        ("Mon Oct  5 12:00:42 2026", seconds(42)),
        ("Mon, 05 Oct 2026 14:00:42 +0200", seconds(42)),
        ("05 Oct 2026 12:00:42 GMT", seconds(42)),
        ("Mon, 05 Oct 2026 12:00:00 GMT", SECOND),
        ("Mon, 05 Oct 2026 11:59:00 GMT", SECOND),
        ("Thu, 01 Jan 1970 00:00:00 GMT", SECOND),
        ("Mon, 05 Oct 2026 14:00:00 GMT", HOUR),
        ("Mon, 05 Oct 2036 12:00:00 GMT", HOUR),
        # nothing that names a time
        (None, None),
        ("", None),
        ("  ", None),
        ("NaN", None),
        ("Infinity", None),
        ("-inf", None),
        ("1e3", None),
        ("0x10", None),
        ("1,5", None),
        ("120, 120", None),
        ("10 s", None),
        ("soon", None),
        ("--5", None),
        ("٣", None),
        ("Mon, 99 Oct 2026 12:00:42 GMT", None),
        ("Mon, 05 Oct 99999999999 12:00:42 GMT", None),
        ("9" * 5_000, None),
        ("\x00", None),
    ],
)
def test_the_wait_of_a_header(header: str | None, wait: timedelta | None) -> None:
    assert retry_after(header, date=DATE, now=NOW) == wait


@given(st.one_of(st.text(), st.floats().map(str), st.integers().map(str), st.datetimes().map(str)))
@example("9" * 5_000)
def test_no_header_asks_for_less_than_a_second_or_more_than_an_hour(header: str) -> None:
    wait = retry_after(header, date=None, now=NOW)

    assert wait is None or SECOND <= wait <= HOUR


@given(
    asked=st.integers(1, 3_600),
    skew=st.timedeltas(timedelta(days=-400), timedelta(days=400)),
)
def test_a_date_is_read_by_the_servers_own_clock(asked: int, skew: timedelta) -> None:
    server_now = (NOW + skew).replace(microsecond=0)
    header = format_datetime(server_now + seconds(asked), usegmt=True)

    wait = retry_after(header, date=format_datetime(server_now, usegmt=True), now=NOW)

    assert wait == seconds(asked)


@pytest.mark.parametrize("date", [None, "", "yesterday"])
def test_without_a_usable_date_of_the_server_our_clock_decides(date: str | None) -> None:
    assert retry_after("Mon, 05 Oct 2026 12:00:42 GMT", date=date, now=NOW) == seconds(42)


@pytest.mark.parametrize(
    ("message", "wait"),
    [
        ("User-rate limit exceeded.  Retry after 2026-10-05T12:10:00.000Z", seconds(600)),
        ("User-rate limit exceeded. Retry after 2026-10-05T12:10:00.001Z (Mail)", seconds(601)),
        ("retry after 2026-10-05T14:10:00+02:00.", seconds(600)),
        ("Retry after 2026-10-05T12:10:00", seconds(600)),
        ("Retry after 2026-10-05T11:00:00Z", SECOND),
        ("Retry after 2027-10-05T11:00:00Z", HOUR),
        ("Retry after 2026-13-05T11:00:00Z", None),
        ("Retry after 2026-10-05T99", None),
        ("Retry after a while", None),
        ("Quota exceeded for quota metric 'Queries' and limit 'Queries per minute'", None),
        ("", None),
    ],
)
def test_the_wait_of_a_message(message: str, wait: timedelta | None) -> None:
    assert retry_after_in(message, date=DATE, now=NOW) == wait


@given(st.text().map("Retry after 2026-".__add__))
def test_no_message_breaks_the_reader(message: str) -> None:
    wait = retry_after_in(message, date=None, now=NOW)

    assert wait is None or SECOND <= wait <= HOUR
