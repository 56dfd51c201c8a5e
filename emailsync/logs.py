"""How the daemon speaks: one JSON object a line for machines, colour for a person at a terminal.

Logs go to stderr, so that stdout belongs to a command's answer. Nothing that came from outside can
forge a line or steer a terminal, and nothing here shows a secret: values are redacted by type and
by name, tracebacks come without local variables. Events are named where they happen.
"""

import json
import logging
import re
import sys
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Final, Literal, TextIO

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

PINNED: Final = (
    *("aioimaplib", "apscheduler", "asyncio", "asyncpg", "google", "httpcore", "httpx", "msal"),
    "uvicorn",
)
"""Libraries that are never more talkative than WARNING: some log tokens and mail at DEBUG."""

SECRET_NAMES: Final = re.compile(r"pass(word|wd)|secret|token|credential|authori[sz]ation|cookie")
NOT_FOR_A_TERMINAL: Final = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\ud800-\udfff]")
MAX_FRAMES: Final = 20  #: of a traceback; a recursion error has a thousand


def configure(
    *, level: str, form: Literal["json", "console"] | None, stream: TextIO | None = None
) -> None:
    """Set up logging for the process; may be called again to change it.

    Args:
        level: debug, info, warning or error; for our own events only.
        form: None means console on a terminal, else JSON.
        stream: where lines go; stderr by default.
    """
    target = stream or sys.stderr
    console = form == "console" or (form is None and target.isatty())
    rendering = _for_people(colors=target.isatty()) if console else _for_machines()
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _redact,
    ]
    structlog.configure(
        processors=[*shared, *rendering],
        wrapper_class=structlog.make_filtering_bound_logger(_number_of(level)),
        logger_factory=structlog.PrintLoggerFactory(target),
        cache_logger_on_first_use=False,  # a reload changes the level of loggers in use
    )
    _route_libraries(target, shared, rendering)


def printable(text: str) -> str:
    """Return `text` with everything spelled out that a terminal would obey."""
    return NOT_FOR_A_TERMINAL.sub(_spelled, text)


def shown_time(at: datetime) -> str:
    """Return a time as people read it, wherever they and the server are."""
    return at.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def _for_machines() -> list[Processor]:
    transformer = structlog.tracebacks.ExceptionDictTransformer(
        show_locals=False, max_frames=MAX_FRAMES
    )
    return [
        structlog.processors.ExceptionRenderer(transformer),
        structlog.processors.JSONRenderer(serializer=_as_one_line),
    ]


def _for_people(*, colors: bool) -> list[Processor]:
    return [
        structlog.processors.format_exc_info,
        _escape_controls,
        structlog.dev.ConsoleRenderer(
            colors=colors, exception_formatter=structlog.dev.plain_traceback
        ),
    ]


def _as_one_line(event: EventDict, default: Callable[[object], object]) -> str:
    """Serialise as ASCII: json escapes every control character but DEL."""
    return json.dumps(event, default=default, ensure_ascii=True).replace("\x7f", "\\u007f")


def _redact(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Hide what is named like a secret; `Secret` values hide themselves, whatever their name."""
    for name in event:
        if SECRET_NAMES.search(name.lower()):
            event[name] = "***"
    return event


def _escape_controls(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Spell out what a terminal would obey; only a traceback keeps its own line breaks."""
    for name, value in event.items():
        text = _readable(value)
        lines = text.split("\n") if name == "exception" else [text]
        event[name] = "\n".join(printable(line) for line in lines)
    return event


def _readable(value: object) -> str:
    if isinstance(value, (list, tuple)):
        return ", ".join(map(_readable, value)) or "none"
    return str(value)


def _spelled(match: re.Match[str]) -> str:
    return match.group().encode("unicode_escape").decode("ascii")


def _route_libraries(
    target: TextIO, shared: Sequence[Processor], rendering: Sequence[Processor]
) -> None:
    """Bring the libraries' warnings into the same stream and form."""
    handler = logging.StreamHandler(target)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[structlog.stdlib.add_logger_name, *shared],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *rendering],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(logging.WARNING)
    for name in PINNED:
        library = logging.getLogger(name)
        library.handlers = []
        library.propagate = True
        library.setLevel(logging.WARNING)
    logging.captureWarnings(capture=True)


def _number_of(level: str) -> int:
    return logging.getLevelNamesMapping()[level.upper()]
