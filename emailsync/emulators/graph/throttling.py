"""Outlook's limits per application and mailbox, and the application's own over all tenants.

Source: learn.microsoft.com/graph/throttling-limits; a refused request counts too
(learn.microsoft.com/graph/throttling).
"""

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from email.utils import formatdate

import anyio

from emailsync.emulators.graph.errors import throttled
from emailsync.emulators.usage import Usage

MAILBOX_WINDOW_S = 600.0
APPLICATION_WINDOW_S = 10.0


@dataclass(slots=True, kw_only=True)
class Limits:
    """What is enforced; None: not at all."""

    mailbox_requests: int | None = 10_000  #: in any 10 minutes
    mailbox_concurrent: int | None = 4
    application_requests: int | None = 130_000  #: in any 10 seconds
    retry_after_s: int = 10
    retry_after_as_date: bool = False
    service_time_s: float = 0.0  #: how long the mailbox is at work for a request
    batch_parallel: int = 4  #: parts of one batch that run at the same time


def new_usage() -> Usage:
    """Return counters with the windows of these limits."""
    return Usage(mailbox_window_s=MAILBOX_WINDOW_S, project_window_s=APPLICATION_WINDOW_S)


class Throttle:
    """Who is let in."""

    def __init__(self, limits: Limits, usage: Usage) -> None:
        self._limits = limits
        self._usage = usage

    @asynccontextmanager
    async def admitted(self, mailbox: str) -> AsyncIterator[None]:
        """Count a request of the mailbox, which is at work for it while the context lasts.

        Raises:
            GraphError: 429.
        """
        limits, usage = self._limits, self._usage
        refusal = self._refusal(mailbox)
        usage.spend(mailbox, 1)
        if refusal:
            raise throttled(refusal, self._retry_after())
        with usage.call_under_way(mailbox):
            if limits.service_time_s:
                await anyio.sleep(limits.service_time_s)
            yield

    def _refusal(self, mailbox: str) -> str:
        limits, usage = self._limits, self._usage
        if _is_reached(usage.running(mailbox), limits.mailbox_concurrent):
            return "Application is over its MailboxConcurrency limit."
        if _is_reached(usage.mailbox_units(mailbox), limits.mailbox_requests):
            return "Application is over its MailboxRequests limit."
        if _is_reached(usage.project_units(), limits.application_requests):
            return "Application is over its Requests limit."
        return ""

    def _retry_after(self) -> str:
        seconds = self._limits.retry_after_s
        if self._limits.retry_after_as_date:
            return formatdate(time.time() + seconds, usegmt=True)
        return str(seconds)


def _is_reached(used: int, limit: int | None) -> bool:
    return limit is not None and used >= limit
