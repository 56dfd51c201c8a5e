"""The demo as somebody runs it who has nothing but Python: a process of its own."""

import os
import re
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from connect_rig import Browser, told
from daemon import COMMAND
from process_usage import family
from servers import LOOPBACK, free_port

RESULT = re.compile(
    r"(\d+) accounts of 3 tenants: ([\d,]+) messages stored = ([\d,]+) on the server"
)
LINK = re.compile(r"The dashboard: (http://127\.0\.0\.1:\d+/)#token=(\S{32,})$", re.MULTILINE)
NEWCOMER = re.compile(r"\S+@gmail\.example")
TYPES = re.compile(r"\(google (\d+)/(\d+), imap (\d+)/(\d+), microsoft (\d+)/(\d+)\)")
GONE_WITHIN_S = 60.0
TEST_TIMEOUT_S = 240  #: three daemons' worth of processes on a machine that runs other tests, too

pytestmark = pytest.mark.timeout(TEST_TIMEOUT_S)


@contextmanager
def running_demo(tmp_path: Path, *words: str) -> Iterator[subprocess.Popen[str]]:
    """Run a demo of three tenants, with temporary files of its own."""
    command = [COMMAND, "demo", "--tenants", "3", "--listen", f"{LOOPBACK}:{free_port()}"]
    with subprocess.Popen(
        [*command, *words],
        env=os.environ | {"TMPDIR": str(tmp_path)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        yield process
        process.kill()


@pytest.fixture
def demo(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """A demo that ends by itself."""
    with running_demo(tmp_path, "--seconds", "4") as process:
        yield process


def read_until(process: subprocess.Popen[str], wanted: str) -> str:
    assert process.stdout is not None
    seen = []
    for line in process.stdout:
        seen.append(line)
        if wanted in line:
            return line
    pytest.fail(f"no {wanted!r} in:\n{''.join(seen)}")


def processes_in(folder: Path) -> list[str]:
    """Return the processes that work in the folder or were told of it."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            words = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            place = str((process / "cwd").readlink())
        except OSError:  # it has ended meanwhile, or is a zombie
            continue
        if str(folder) in words or str(folder) in place:
            found.append(words)
    return found


def children_of(pid: int) -> list[int]:
    """Return what a process has started, as far as it lives."""
    return [child for child in family(pid) if child != pid]


def test_everything_on_the_servers_of_all_types_is_stored_at_the_end(
    demo: subprocess.Popen[str], tmp_path: Path
) -> None:
    output, _ = demo.communicate(timeout=TEST_TIMEOUT_S - 10)

    assert demo.returncode == 0, output
    assert LINK.search(output) is not None, output
    result = RESULT.search(output)
    assert result is not None, output
    accounts, stored, on_server = result.groups()
    assert int(accounts) == 6
    assert stored == on_server
    of_types = [int(count) for count in TYPES.findall(output)[-1]]
    assert all(of_types)
    assert of_types[::2] == of_types[1::2]
    assert list(tmp_path.iterdir()) == []
    assert processes_in(tmp_path) == []


def test_providers_that_fail_on_demand_lose_nothing(tmp_path: Path) -> None:
    with running_demo(tmp_path, "--seconds", "20", "--faults") as demo:
        output, _ = demo.communicate(timeout=TEST_TIMEOUT_S - 10)

    assert demo.returncode == 0, output
    assert "refused by providers" in output
    assert RESULT.search(output) is not None, output


def test_ctrl_c_removes_everything(demo: subprocess.Popen[str], tmp_path: Path) -> None:
    read_until(demo, "messages stored")
    started = children_of(demo.pid)

    demo.send_signal(signal.SIGINT)

    assert demo.wait(timeout=60) == 0
    assert list(tmp_path.iterdir()) == []
    assert processes_in(tmp_path) == []
    assert not any(Path(f"/proc/{pid}").exists() for pid in started)


async def test_a_mailbox_is_connected_in_a_browser_by_the_link_that_the_demo_prints(
    tmp_path: Path,
) -> None:
    """As the dashboard does it: the link's token for a session, and the address for a mailbox."""
    order = {"tenant_id": "tenant-001", "return_to": "/#/accounts", "bind_browser": True}
    with running_demo(tmp_path) as demo:
        url, token = LINK.findall(read_until(demo, "The dashboard: "))[0]
        newcomer = NEWCOMER.findall(read_until(demo, "add the account"))[0]
        headers = {"X-Emailsync-Dashboard": "1"}
        async with httpx.AsyncClient(headers=headers, trust_env=False, timeout=30) as client:
            await client.post(f"{url}session", json={"token": token})
            answer = await client.post(f"{url}providers/google/connect", json=order)
            browser = Browser(client=client)
            back = await browser.connect(answer.json()["consent_url"], newcomer)
            page = await browser.open(back.headers["location"])
        read_until(demo, "7 waiting for their next sync")

    assert told(back)["connect"] == "connected"
    assert page.status_code == 200


def test_a_killed_demo_leaves_no_process(demo: subprocess.Popen[str], tmp_path: Path) -> None:
    read_until(demo, "messages stored")

    demo.kill()

    give_up_at = time.monotonic() + GONE_WITHIN_S
    while left := processes_in(tmp_path):
        assert time.monotonic() < give_up_at, left
        time.sleep(0.1)


def run_demo(listen: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [COMMAND, "demo", "--listen", listen],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize("listen", ["foo", "8025", "127.0.0.1:x", "127.0.0.1:70000"])
def test_what_is_no_address_is_refused_before_anything_is_made(listen: str) -> None:
    demo = run_demo(listen)

    assert demo.returncode == 2
    assert demo.stdout == ""
    assert demo.stderr.count("\n") == 1
    assert "--listen: should be host:port" in demo.stderr


def test_an_address_in_use_is_noticed_before_anything_is_made() -> None:
    with socket.create_server((LOOPBACK, 0)) as taken:
        demo = run_demo(f"{LOOPBACK}:{taken.getsockname()[1]}")

    assert demo.returncode == 1
    assert demo.stdout == ""
    assert demo.stderr.count("\n") == 1
    assert "--listen" in demo.stderr
    assert "Address already in use" in demo.stderr


def test_a_host_name_that_cannot_be_one_is_one_clear_line() -> None:
    demo = run_demo(".example:8025")

    assert demo.returncode == 1
    assert demo.stderr.count("\n") == 1
    assert "--listen: .example:8025: Not a host name" in demo.stderr
