"""No secret, no forged line and no terminal escape leaves through the log."""

import base64
import io
import json
import logging
import warnings
from collections.abc import Iterator

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from emailsync import logs
from emailsync.crypto import Secret

CANARY = "c4n4ry-p4ssw0rd-0f-n0b0dy"
log = structlog.get_logger()


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def _logging_as_it_was() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level, show = root.handlers, root.level, warnings.showwarning
    yield
    logging.captureWarnings(capture=False)
    root.handlers, warnings.showwarning = handlers, show
    root.setLevel(level)
    structlog.reset_defaults()


def fail_with_secrets_at_hand() -> None:
    password, credentials = CANARY, {"password": Secret(CANARY)}
    raise ValueError(f"could not use {credentials} ({len(password)} characters)")


def log_everything(form: str) -> str:
    stream = io.StringIO()
    logs.configure(level="debug", form="json" if form == "json" else "console", stream=stream)
    try:
        fail_with_secrets_at_hand()
    except ValueError:
        log.exception("account.failed", secret=Secret(CANARY), inner=[{"x": Secret(CANARY)}])
        logging.getLogger("asyncio").exception("library failed")
    log.info("account.added", password=CANARY, refresh_token=CANARY, Authorization=CANARY)
    for name in ("aioimaplib.aioimaplib", "asyncpg", "httpx", "uvicorn.error", "somebody"):
        logging.getLogger(name).info("AUTHENTICATE XOAUTH2 %s", CANARY)
    return stream.getvalue()


@pytest.mark.parametrize("form", ["json", "console"])
def test_a_password_is_found_in_no_spelling(form: str) -> None:
    raw = CANARY.encode()
    spellings = [CANARY, raw.hex(), base64.b64encode(raw).decode().rstrip("=")]

    written = log_everything(form)

    assert "account.failed" in written
    assert not [spelling for spelling in spellings if spelling in written]


@given(text=st.text() | st.sampled_from(["\x1b[2J", "\u2028", "\x7f", "a\nb", "\u202e", "\ud800"]))
def test_every_json_line_stays_one_printable_line(text: str) -> None:
    stream = io.StringIO()
    logs.configure(level="info", form="json", stream=stream)

    log.info("folder.skipped", folder=text)
    logging.getLogger("asyncio").warning("%s", text)

    ours, theirs = stream.getvalue().splitlines()
    assert (ours + theirs).isascii()
    assert (ours + theirs).isprintable()
    assert json.loads(ours)["folder"] == text
    assert json.loads(theirs)["event"] == text


@given(text=st.text() | st.sampled_from(["\x1b[2J", "\u2028", "\x7f", "a\nb", "\u202e", "\ud800"]))
def test_a_console_line_steers_no_terminal(text: str) -> None:
    stream = io.StringIO()
    logs.configure(level="info", form="console", stream=stream)

    log.info("folder.skipped", folder=text)

    line = stream.getvalue()
    assert line.count("\n") == 1
    assert not logs.NOT_FOR_A_TERMINAL.search(line[:-1])


def test_a_list_is_text_for_people_and_a_list_for_machines() -> None:
    people, machines = io.StringIO(), io.StringIO()

    for form, stream in (("console", people), ("json", machines)):
        logs.configure(level="info", form="json" if form == "json" else "console", stream=stream)
        log.info("config.reloaded", changed=["limits.imap.concurrent", "logging.level"], other=[])

    assert "changed='limits.imap.concurrent, logging.level' other=none" in people.getvalue()
    assert json.loads(machines.getvalue())["changed"] == ["limits.imap.concurrent", "logging.level"]


def test_the_form_follows_the_stream_unless_it_is_set() -> None:
    pipe, terminal = io.StringIO(), Terminal()

    logs.configure(level="info", form=None, stream=pipe)
    log.info("daemon.started")
    logs.configure(level="info", form=None, stream=terminal)
    log.info("daemon.started")

    assert json.loads(pipe.getvalue())["event"] == "daemon.started"
    assert "\x1b[" in terminal.getvalue()


def test_a_second_call_changes_the_level_of_loggers_in_use() -> None:
    stream = io.StringIO()
    logs.configure(level="warning", form="json", stream=stream)
    log.info("queue.resized")

    logs.configure(level="debug", form="json", stream=stream)
    log.debug("queue.drained")

    assert [json.loads(line)["event"] for line in stream.getvalue().splitlines()] == [
        "queue.drained"
    ]


def test_the_time_is_utc_and_the_bound_context_is_in_each_line() -> None:
    stream = io.StringIO()
    logs.configure(level="info", form="json", stream=stream)

    with structlog.contextvars.bound_contextvars(account_id="a1"):
        log.info("sync.finished")

    line = json.loads(stream.getvalue())
    assert line["timestamp"].endswith("Z")
    assert line["account_id"] == "a1"
