"""The daemon as systemd and its operator know it: signals, reloads, a database that is away."""

import base64
import json
import signal
import time
from pathlib import Path

import anyio
import httpx

from dovecot import DovecotServer
from dovecot_mailbox import DovecotMailbox
from fault_proxy import Ending, FaultProxy, Faults
from installation import Installation
from postgres import PostgresCluster

MAIL = b"Subject: hello\r\n\r\nworld\r\n"
NEVER = "0 0 1 1 *"
OPEN_LEASES = "SELECT count(*) FROM provider_configs WHERE lease_owner IS NOT NULL"


async def get(installation: Installation, path: str) -> httpx.Response:
    token_file = Path(installation.settings["email_sync"]["state_dir"]) / "http-token"
    headers = {"Authorization": f"Bearer {token_file.read_text().strip()}"}
    async with httpx.AsyncClient(base_url=installation.http_url, headers=headers) as client:
        return await client.get(path)


async def wait_for_status(installation: Installation, path: str, status: int) -> None:
    with anyio.fail_after(30):
        while (await get(installation, path)).status_code != status:
            await anyio.sleep(0.05)


async def test_a_new_account_is_synced_at_once_and_seen_on_the_pages(
    installation: Installation, mailbox: DovecotMailbox
) -> None:
    """No tick comes here: adding the account wakes the daemon."""
    mailbox.append(MAIL)
    installation.configure({"email_sync": {"cron": NEVER}})

    async with installation.daemon() as daemon:
        await anyio.to_thread.run_sync(installation.add_account, mailbox)
        await daemon.wait_for_event("sync.job_finished", result="done", created=1)
        queues = (await get(installation, "/health/queues")).json()
        metrics = (await get(installation, "/health/metrics")).text
        code = await daemon.terminate()

    assert code == 0
    assert sum(queue["completed"] for queue in queues) == 1
    assert 'messages_synced_total{provider_type="imap"} 1.0' in metrics
    assert await installation.stored(mailbox.user) == mailbox.snapshot()


async def test_no_log_and_no_page_shows_the_password(
    installation: Installation, mailbox: DovecotMailbox
) -> None:
    password = mailbox.password.encode()
    spellings = [password, password.hex().encode(), base64.b64encode(password).rstrip(b"=")]
    installation.configure({"logging": {"level": "debug"}})

    async with installation.daemon() as daemon:
        await anyio.to_thread.run_sync(installation.add_account, mailbox)
        await daemon.wait_for_event("sync.job_finished", result="done")
        pages = (await get(installation, "/health/metrics")).content
        await daemon.terminate()

    said = daemon.log_file.read_bytes() + pages
    assert not [spelling for spelling in spellings if spelling in said]
    assert all(json.loads(line) for line in daemon.log_file.read_text().splitlines())


async def test_a_reload_puts_live_keys_in_force_and_names_the_others(
    installation: Installation,
) -> None:
    async with installation.daemon() as daemon:
        installation.configure(
            {"queues": {"high": {"concurrency": 9}}, "database": {"pool_max": 5}}
        )
        daemon.send(signal.SIGHUP)
        reloaded = await daemon.wait_for_event("config.reloaded")
        needed = await daemon.wait_for_event("config.restart_needed")
        await daemon.wait_for_notification("READY=1")
        code = await daemon.terminate()

    assert reloaded["changed"] == ["queues.high.concurrency"]
    assert (needed["level"], needed["keys"]) == ("warning", ["database.pool_max"])
    assert any(said.startswith("RELOADING=1\nMONOTONIC_USEC=") for said in daemon.notifications)
    assert code == 0


async def test_an_invalid_file_changes_nothing_and_is_counted(installation: Installation) -> None:
    whole = installation.settings_file.read_bytes()
    damages = [whole.rstrip()[:-1], whole + b"\n[queues]\nhigh = 1\n", b"\xff\xfe", b"", None]

    async with installation.daemon() as daemon:
        for number, damage in enumerate(damages, start=1):
            if damage is None:
                installation.settings_file.unlink()
            else:
                installation.settings_file.write_bytes(damage)
            daemon.send(signal.SIGHUP)
            refused = await daemon.wait_for_event("config.reload_refused", count=number)
            assert refused["problems"]
        metrics = (await get(installation, "/health/metrics")).text
        ready = await get(installation, "/health/ready")
        installation.settings_file.write_bytes(whole)
        daemon.send(signal.SIGHUP)
        await daemon.wait_for_event("config.reloaded")
        code = await daemon.terminate()

    assert f"config_reload_failed {len(damages)}.0" in metrics
    assert ready.status_code == 200
    assert code == 0


async def test_many_reloads_in_a_row_end_in_a_running_daemon(installation: Installation) -> None:
    async with installation.daemon() as daemon:
        for _ in range(20):
            daemon.send(signal.SIGHUP)
        await daemon.wait_for_event("config.reloaded")
        ready = await get(installation, "/health/ready")
        code = await daemon.terminate()

    assert ready.status_code == 200
    assert code == 0


async def test_the_first_sigterm_waits_for_a_job_and_the_second_does_not(
    installation: Installation, mailbox: DovecotMailbox, dovecot: DovecotServer
) -> None:
    """The job hangs in a server that says nothing, so it would take the whole grace."""
    proxy = FaultProxy(dovecot.port)
    proxy.to_client = Faults(at_byte=0, ending=Ending.SILENCE)
    silent = DovecotMailbox("127.0.0.1", proxy.port, mailbox.user, mailbox.password)
    installation.configure({"imap": {"allowed_ports": [proxy.port]}})

    with proxy.running():
        async with installation.daemon() as daemon:
            await anyio.to_thread.run_sync(
                lambda: installation.add_account(silent, words=("--no-test",))
            )
            with anyio.fail_after(30):
                while not proxy.connections:
                    await anyio.sleep(0.01)
            daemon.send(signal.SIGTERM)
            stopping = await daemon.wait_for_event("daemon.stopping")
            await daemon.wait_for_notification("STOPPING=1")
            began = time.monotonic()
            daemon.send(signal.SIGINT)
            code = await daemon.wait()

    assert stopping["running"] == 1
    assert daemon.events("daemon.stopped_at_once")
    assert code == 0
    assert time.monotonic() - began < 10


async def test_a_stopped_daemon_leaves_no_lease_behind_and_is_not_counted(
    installation: Installation, mailbox: DovecotMailbox
) -> None:
    async with installation.daemon() as daemon:
        await anyio.to_thread.run_sync(installation.add_account, mailbox)
        code = await daemon.terminate()

    assert code == 0
    assert (await installation.fetch(OPEN_LEASES))[0][0] == 0
    assert (await installation.fetch("SELECT count(*) FROM instances"))[0][0] == 0


async def test_a_started_daemon_says_where_its_pages_and_its_database_are(
    installation: Installation,
) -> None:
    async with installation.daemon() as daemon:
        started = await daemon.wait_for_event("daemon.started")
        await daemon.terminate()

    assert started["health"] == f"{installation.http_url}/health"
    assert started["database"] == installation.database_url.rpartition("@")[2].rpartition("//")[2]


async def test_a_database_that_is_away_at_the_start_is_waited_for(
    installation: Installation, postgres: PostgresCluster
) -> None:
    proxy = FaultProxy(postgres.port)
    proxy.to_client = Faults(at_byte=0)
    url = installation.database_url.replace(f":{postgres.port}/", f":{proxy.port}/")
    installation.configure({"database": {"url": url}})

    with proxy.running():
        async with installation.daemon() as daemon:
            await daemon.wait_for_event("database.unavailable")
            alive = await get(installation, "/health")
            ready = await get(installation, "/health/ready")
            proxy.to_client = Faults()
            await daemon.wait_for_event("daemon.started")
            await wait_for_status(installation, "/health/ready", 200)
            proxy.to_client = Faults(at_byte=0)
            proxy.cut_all()
            await wait_for_status(installation, "/health/ready", 503)
            code = await daemon.terminate()

    assert [alive.status_code, ready.status_code] == [200, 503]
    assert code == 0


async def test_a_daemon_that_waits_for_its_database_stops_when_told(
    installation: Installation,
) -> None:
    installation.configure({"database": {"url": "postgresql://127.0.0.1:1/none"}})

    async with installation.daemon() as daemon:
        await daemon.wait_for_event("database.unavailable")
        code = await daemon.terminate()

    assert code == 0


async def test_the_event_loop_feeds_the_watchdog(installation: Installation) -> None:
    async with installation.daemon({"WATCHDOG_USEC": "400000"}) as daemon:
        for _ in range(3):
            await daemon.wait_for_notification("WATCHDOG=1")
        await daemon.terminate()


async def test_an_address_in_use_is_one_clear_line(installation: Installation) -> None:
    async with installation.daemon() as daemon:
        second = await anyio.to_thread.run_sync(installation.run)
        await daemon.terminate()

    assert second.returncode == 1
    assert "http.listen: 127.0.0.1:" in second.stderr
    assert "Address already in use; choose another" in second.stderr
    assert "Traceback" not in second.stderr
