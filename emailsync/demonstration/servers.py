"""The demo's IMAP host and the daemon itself, as processes.

Both end with the demo, however it ends. Knows how to start, ask and stop them, not what they show.
"""

import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any

import anyio
import anyio.abc
import anyio.to_thread
from anyio.streams.buffered import BufferedByteReceiveStream
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from emailsync.demonstration.tenants import DemoMailbox
from emailsync.domain.accounts import ProviderType
from emailsync.store import postgres_launcher

LINE_MAX_BYTES = 1 << 24
HTTP_TIMEOUT_S = 5.0
READY_WITHIN_S = 60.0
POLL_S = 0.1
DAEMON_PATIENCE_S = 30.0  #: it gives its jobs 20 s to finish
LOG_END_LINES = 15


class DemoFailed(Exception):
    """A part of the demo did not start, or died; the message quotes what it said last."""


class MailHost:
    """The running mail provider, spoken to as `emailsync.emulators.mail_host` tells."""

    def __init__(self, process: anyio.abc.Process) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        self._questions = process.stdin
        self._answers = BufferedByteReceiveStream(process.stdout)

    async def begin(
        self, mailboxes: Sequence[DemoMailbox], changes_per_s: float, *, cut_share: float
    ) -> int:
        """Order the IMAP users among these and their mail; return the port once all lies there.

        `cut_share` of the connections are reset, until the mailboxes are quiet.
        """
        users = [
            {
                "email": mailbox.email,
                "password": mailbox.secret,
                "messages": mailbox.messages,
                "seed": mailbox.seed,
            }
            for mailbox in mailboxes
            if mailbox.kind is ProviderType.IMAP
        ]
        order = {"users": users, "changes_per_s": changes_per_s, "cut_share": cut_share}
        port: int = (await self._ask(order))["port"]
        return port

    async def ledger(self, *, quiet: bool) -> Mapping[str, int]:
        """Return how many messages each user has; if `quiet`, nothing changes from then on."""
        return await self._ask({"quiet": quiet})

    async def _ask(self, question: Mapping[str, Any]) -> Mapping[str, int]:
        try:
            await self._questions.send(json.dumps(question).encode() + b"\n")
            line = await self._answers.receive_until(b"\n", LINE_MAX_BYTES)
        except (anyio.IncompleteRead, anyio.EndOfStream, anyio.BrokenResourceError):
            raise DemoFailed("the mail host ended; see above") from None
        answer: Mapping[str, int] = json.loads(line)
        return answer


@asynccontextmanager
async def running_mail_host() -> AsyncIterator[MailHost]:
    """Run a mail provider while the context lasts; it ends with its input, so with us."""
    command = [sys.executable, "-m", "emailsync.emulators.mail_host"]
    async with await anyio.open_process(command, stderr=None, start_new_session=True) as process:
        try:
            yield MailHost(process)
        finally:
            process.kill()  # it holds nothing that outlives it


class Daemon:
    """The running `emailsyncd`, asked over HTTP as any operator would."""

    def __init__(self, process: anyio.abc.Process, listen: str, state_dir: Path, log: Path) -> None:
        host, _, port = listen.rpartition(":")
        self._address = host.strip("[]"), int(port)
        self._process = process
        self._token_file = state_dir / "http-token"
        self._log = log

    async def wait_until_ready(self) -> None:
        """Return once the daemon could sync.

        Raises:
            DemoFailed: it ended, or takes too long.
        """
        for _ in range(int(READY_WITHIN_S / POLL_S)):
            self.check()
            if await self._get("/health/ready") is not None:
                return
            await anyio.sleep(POLL_S)
        raise DemoFailed(f"emailsyncd is not ready after {READY_WITHIN_S:.0f} s:\n{self._tail()}")

    def check(self) -> None:
        """Raise DemoFailed when the daemon has ended."""
        if self._process.returncode is not None:
            code = self._process.returncode
            raise DemoFailed(f"emailsyncd ended with exit code {code}:\n{self._tail()}")

    def token(self) -> str:
        """Return the admin's token for the API; it is there once the daemon is ready."""
        return self._token_file.read_text().split()[0]

    async def samples(self) -> Sequence[Sample]:
        """Return what `/health/metrics` says; nothing when the daemon is too busy to answer."""
        page = await self._get("/health/metrics")
        if page is None:
            return ()
        families = text_string_to_metric_families(page)
        return [sample for family in families for sample in family.samples]

    async def _get(self, path: str) -> str | None:
        return await anyio.to_thread.run_sync(self._get_blocking, path)

    def _get_blocking(self, path: str) -> str | None:
        connection = HTTPConnection(*self._address, timeout=HTTP_TIMEOUT_S)
        try:
            headers = {"Authorization": f"Bearer {self.token()}"}
            connection.request("GET", path, headers=headers)
            response = connection.getresponse()
            body = response.read().decode()
        except (OSError, HTTPException):
            return None
        finally:
            connection.close()
        return body if response.status == 200 else None  # noqa: PLR2004 - HTTP's own number

    def _tail(self) -> str:
        return "\n".join(self._log.read_text(errors="replace").splitlines()[-LOG_END_LINES:])


@asynccontextmanager
async def running_daemon(config: Path, listen: str, state_dir: Path) -> AsyncIterator[Daemon]:
    """Run `emailsyncd --config config` while the context lasts; stop it as systemd would.

    The launcher passes our death on to it.
    """
    log = state_dir / "emailsyncd.log"
    launcher = [sys.executable, str(Path(postgres_launcher.__file__)), "same", str(os.getpid())]
    daemon = [sys.executable, "-m", "emailsync", "--config", str(config)]
    with log.open("wb") as output:
        process = await anyio.open_process(
            [*launcher, str(state_dir), *daemon],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,  # a Ctrl-C is for the demo, which stops the daemon in turn
        )
    try:
        yield Daemon(process, listen, state_dir, log)
    finally:
        with anyio.CancelScope(shield=True):
            if process.returncode is None:
                process.send_signal(signal.SIGTERM)
            with anyio.move_on_after(DAEMON_PATIENCE_S) as patience:
                await process.wait()
            if patience.cancelled_caught:
                process.kill()
                await process.wait()
