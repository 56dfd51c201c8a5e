"""The map of the program: what the daemon is made of, how it starts, reloads and stops.

Everything is built here and given to whoever needs it; no other module knows all the others. A
database that is away at the start is waited for, with the health pages already up.
"""

import math
import signal
import socket
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import AsyncExitStack, contextmanager
from typing import Final

import anyio
import anyio.abc
import anyio.to_thread
import structlog

from emailsync import logs
from emailsync.api.auth import Gate
from emailsync.api.backend import Backend
from emailsync.api.bell import Bell
from emailsync.api.resources import Surroundings, resources
from emailsync.api.server import bind, build_api, serve
from emailsync.api.sessions import Sessions
from emailsync.assembly import Syncing, instance_name, open_syncing
from emailsync.collector import spare_what_is_there
from emailsync.config import LiveSettings, Settings
from emailsync.domain.access import Grant
from emailsync.domain.accounts import TenantId
from emailsync.domain.errors import Misconfigured, StoreUnavailable
from emailsync.housekeeping import keep_counting, keep_tidy, watch_disk, watch_event_loop
from emailsync.metrics import Metrics
from emailsync.providers.imap.discovery import ImapServers, imap_servers
from emailsync.providers.oauth.connector import Connector, connector
from emailsync.scheduling.live_pipeline import LivePipeline
from emailsync.sd_notify import ServiceManager
from emailsync.secret_files import open_key_ring, open_tokens
from emailsync.settings_file import ConfigInvalid, live_changes, restart_needed, with_live_keys
from emailsync.store.accounts import AccountStore
from emailsync.store.connect_flows import ConnectFlows
from emailsync.store.database import Database
from emailsync.store.erasure import Erasure
from emailsync.store.feed import ChangeFeed
from emailsync.store.mail_reader import MailReader
from emailsync.store.monitor import Monitor
from emailsync.store.opening import database_server, opened_database
from emailsync.store.tenants import TenantStore
from emailsync.store.tokens import TokenStore
from emailsync.store.wake import CHANGES, WAKE, listen, moved_of
from emailsync.system_clock import SystemClock

GRACE_S: Final = 20.0  #: that running jobs get to end by themselves when the daemon stops
DEADLINE_S: Final = 25  #: after which the kernel ends a daemon that cannot stop; systemd waits 30
FIRST_RETRY_S: Final = 1.0  #: after the database was not there at the start; doubled each time
LONGEST_RETRY_S: Final = 30.0
API_CONNECTIONS: Final = 4  #: of the pool, that the API may use at once: syncing goes on beside it
READY_FOR_S: Final = 1.0  #: that an answer of /health/ready is given again

log = structlog.get_logger(__name__)


async def run_daemon(
    settings: Settings, load_again: Callable[[], Settings], environ: Mapping[str, str]
) -> int:
    """Run until a signal stops it; return the exit code.

    Args:
        settings: valid ones.
        load_again: reads the settings once more, for a reload; raises ConfigInvalid.
        environ: where systemd says how it wants to be told.

    Raises:
        SecretFileError: a key or token file cannot be used.
        SyncError: the database cannot be used at all, see `opened_database`.
    """
    logs.configure(level=settings.logging.level, form=settings.logging.format)
    daemon = Daemon(settings, load_again, ServiceManager(environ))
    await daemon.run()
    log.info("daemon.stopped")
    return 0


class Daemon:
    """One daemon, from its start to its stop."""

    def __init__(
        self, settings: Settings, load_again: Callable[[], Settings], manager: ServiceManager
    ) -> None:
        self._settings = settings  #: as at the start; what may change is in `_live`
        self._live = LiveSettings(settings)
        self._load_again = load_again
        self._manager = manager
        self._keys = open_key_ring(settings)
        self._tokens = open_tokens(settings)
        self._metrics = Metrics()
        self._clock = SystemClock()
        self._stop = anyio.Event()
        self._database: Database | None = None
        self._backend: Backend | None = None
        self._bell = Bell()
        self._pipeline: LivePipeline | None = None
        self._running: Callable[[], int] = lambda: 0
        self._ready = False
        self._ready_asked_s = -math.inf

    async def run(self) -> None:
        """Serve the API, sync, and obey signals until told to stop."""
        listener = self._listener()
        http = self._settings.http
        sessions = Sessions(self._clock, is_secure=(http.public_url or "").startswith("https:"))
        gate = Gate(
            self._tokens,
            self._find_token,
            self._list_tokens,
            self._clock,
            sessions,
            requests_per_s=http.requests_per_second,
        )
        table = resources(
            Surroundings(
                reach=self._reach,
                gate=gate,
                sessions=sessions,
                bell=self._bell,
                settings=self._live,
                clock=self._clock,
                metrics=self._metrics,
                is_ready=self._is_ready,
            )
        )
        api = build_api(table, gate)
        async with anyio.create_task_group() as group:
            group.start_soon(self._obey_signals, group.cancel_scope, name="signals")
            group.start_soon(serve, api, listener, name="http")
            group.start_soon(watch_event_loop, self._metrics, self._clock, name="loop watch")
            group.start_soon(watch_disk, self._settings.state_dir, self._metrics, name="disk")
            group.start_soon(self._manager.keep_watchdog_calm, name="watchdog")
            await self._open_and_sync()
            group.cancel_scope.cancel()

    def _listener(self) -> socket.socket:
        address = self._settings.http.listen
        try:
            return bind(*self._settings.http.address)
        except OSError as error:
            problem = f"{address}: {error.strerror}; choose another address or port"
            raise Misconfigured(f"http.listen: {problem}") from error

    async def _open_and_sync(self) -> None:
        async with AsyncExitStack() as stack:
            url = await stack.enter_async_context(database_server(self._settings, attach=False))
            self._database = await self._opened(stack, url)
            syncing = await stack.enter_async_context(
                open_syncing(
                    self._live,
                    database=self._database,
                    keys=self._keys,
                    metrics=self._metrics,
                    clock=self._clock,
                    instance_id=instance_name(self._settings),
                )
            )
            shared = await stack.enter_async_context(self._database.share(API_CONNECTIONS))
            redeemer = await stack.enter_async_context(connector(self._live, self._clock))
            servers = await stack.enter_async_context(imap_servers(self._settings.imap))
            self._backend = self._backend_on(shared, syncing, redeemer, servers)
            await self._sync(url, self._database, syncing)
            self._backend = self._database = None

    async def _opened(self, stack: AsyncExitStack, url: str) -> Database:
        """Wait for the database."""
        retry_s = FIRST_RETRY_S
        while True:
            try:
                return await stack.enter_async_context(opened_database(url, self._settings))
            except StoreUnavailable as error:
                log.warning("database.unavailable", error=error.message, retry_in_s=retry_s)
                self._manager.ready()
                self._manager.status("waiting for the database")
            await anyio.sleep(retry_s)
            retry_s = min(2 * retry_s, LONGEST_RETRY_S)

    async def _sync(self, url: str, database: Database, syncing: Syncing) -> None:
        """Sync what is due until told to stop; then let running jobs end."""
        queues = syncing.engine.queues
        pipeline = self._pipeline = LivePipeline(
            engine=syncing.engine, store=syncing.leases, settings=self._live, clock=self._clock
        )
        self._running = queues.running
        async with anyio.create_task_group() as group:
            await group.start(pipeline.run, name="pipeline")
            group.start_soon(listen, url, self._heard(pipeline), name="listener")
            group.start_soon(
                keep_counting, database, queues, self._live, self._metrics, name="counting"
            )
            group.start_soon(keep_tidy, database, self._live, self._clock, name="retention")
            spare_what_is_there()
            self._manager.ready()
            self._manager.status("syncing")
            log.info(
                "daemon.started",
                instance_id=instance_name(self._settings),
                health=f"http://{self._settings.http.listen}/health",
                database=self._settings.database.place,
            )
            await self._stop.wait()
            with ended_by_the_kernel(after_s=DEADLINE_S):
                await pipeline.stop(grace_s=GRACE_S)
            group.cancel_scope.cancel()
        self._pipeline = None

    def _backend_on(
        self, shared: Database, syncing: Syncing, redeemer: Connector, servers: ImapServers
    ) -> Backend:
        return Backend(
            accounts=AccountStore(shared, self._keys),
            tenants=TenantStore(shared, self._live),
            mail=MailReader(shared),
            feed=ChangeFeed(shared),
            erasure=Erasure(shared),
            tokens=TokenStore(shared),
            monitor=Monitor(shared),
            flows=ConnectFlows(shared, self._keys),
            connector=redeemer,
            servers=servers,
            openers=syncing.openers,
        )

    def _reach(self) -> Backend:
        if self._backend is None:
            raise StoreUnavailable("the database has not been there yet")
        return self._backend

    async def _find_token(self, sha256: bytes) -> Grant | None:
        return await self._reach().tokens.find(sha256)

    async def _list_tokens(self) -> Collection[bytes]:
        return await self._reach().tokens.hashes()

    def _heard(self, pipeline: LivePipeline) -> Mapping[str, Callable[[str], None]]:
        return {
            WAKE: lambda payload: pipeline.wake(moved_of(payload)),
            CHANGES: lambda payload: self._bell.ring(TenantId(payload) if payload else None),
        }

    async def _is_ready(self) -> bool:
        """Tell what was found in the last second: whoever asks often costs no connections."""
        if self._database is None or self._backend is None:
            return False
        now_s = self._clock.monotonic()
        if now_s - self._ready_asked_s > READY_FOR_S:
            self._ready_asked_s = now_s
            self._ready = await self._database.is_ready()
        return self._ready

    async def _obey_signals(self, everything: anyio.CancelScope) -> None:
        with anyio.open_signal_receiver(signal.SIGHUP, signal.SIGTERM, signal.SIGINT) as signals:
            async for number in signals:
                if number == signal.SIGHUP:
                    await self._reload()
                elif not self._stop.is_set():
                    log.info("daemon.stopping", running=self._running())
                    self._manager.stopping()
                    self._stop.set()
                    if self._pipeline is None:  # still on the way to the database: nothing runs
                        everything.cancel()
                else:
                    log.warning("daemon.stopped_at_once", running=self._running())
                    everything.cancel()

    async def _reload(self) -> None:
        """Put the live keys of the file in force; an invalid file changes nothing."""
        self._manager.reloading()
        try:
            loaded = await anyio.to_thread.run_sync(self._load_again)
        except ConfigInvalid as exc:
            self._metrics.reload_refused()
            log.warning("config.reload_refused", problems=[str(each) for each in exc.problems])
        else:
            changed = live_changes(self._live.current, loaded)
            ignored = restart_needed(self._live.current, loaded)
            self._live.current = with_live_keys(self._live.current, loaded)
            logging = self._live.current.logging
            logs.configure(level=logging.level, form=logging.format)
            if self._pipeline is not None:
                await self._pipeline.resize()
            log.info("config.reloaded", changed=changed)
            if ignored:
                log.warning("config.restart_needed", keys=ignored)
        self._manager.ready()


@contextmanager
def ended_by_the_kernel(*, after_s: int) -> Iterator[None]:
    """Bound the body even if it hangs in what cannot be cancelled: SIGALRM ends the process.

    Leases of a daemon that ends so run out by themselves, as after any crash.
    """
    signal.alarm(after_s)
    try:
        yield
    finally:
        signal.alarm(0)
