"""The daemon does all its work inside the sandbox of its unit, and the sandbox is one."""

import base64
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import anyio
import pytest

from dovecot import DovecotServer
from emailsync.emulators.mail_generator import generate
from installation import Installation, new_installation
from sandbox import Sandbox
from servers import folder_of, ordinary_user

ROOT = os.geteuid() == 0
MESSAGES = 120
#: The compiled parser refuses it, so a worker process has to be started inside the sandbox.
UNUSUAL = b"Subject: odd\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\nno parts\r\n"

ATTEMPTS = r"""
import ctypes, json, mmap, os, socket

def attempt(what):
    try:
        what()
    except (OSError, PermissionError) as error:
        return error.errno
    return 0

libc = ctypes.CDLL(None, use_errno=True)

def call(name, *arguments):
    if getattr(libc, name)(*arguments) < 0:
        raise OSError(ctypes.get_errno(), name)

state = os.environ["STATE_DIRECTORY"]
print(json.dumps({
    "write the state": attempt(lambda: open(state + "/probe", "w").close()),
    "write /etc": attempt(lambda: open("/etc/probe", "w").close()),
    "write a credential": attempt(
        lambda: open(os.environ["CREDENTIALS_DIRECTORY"] + "/emailsyncd.key", "a").close()),
    "see other processes": os.path.exists("/proc/1/status"),
    "see homes": os.listdir("/home"),
    "writable code": attempt(
        lambda: mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)),
    "an internet socket": attempt(lambda: socket.socket(socket.AF_INET).close()),
    "a netlink socket": attempt(lambda: socket.socket(socket.AF_NETLINK, socket.SOCK_RAW).close()),
    "a namespace": attempt(lambda: call("unshare", 0x10000000)),
    "set-user-id": attempt(lambda: os.chmod(state + "/probe", 0o4700)),
    "another user": attempt(lambda: os.setuid(0)),
    "another owner": attempt(lambda: os.chown(state + "/probe", 0, 0)),
    "a device": attempt(lambda: open("/dev/mem").close()),
}))
"""
REFUSED_AS = {
    "write the state": 0,
    "write /etc": 30,  # EROFS
    "write a credential": 13,  # EACCES
    "see other processes": False,
    "see homes": [],
    "writable code": 1,  # EPERM
    "an internet socket": 0,
    "a netlink socket": 97,  # EAFNOSUPPORT
    "a namespace": 1,
    "set-user-id": 1,
    "another user": 1,
    "another owner": 1,
    "a device": 2,  # ENOENT
}
NEED_ROOT = {"write /etc", "see other processes", "see homes", "a device"}  #: to be refused so


SECRETS = {
    "emailsyncd.key": f"test:{base64.b64encode(bytes(32)).decode()}\n",
    "emailsyncd.http-token": "token\n",
    "emailsyncd.database-password": "any, since the server asks for none\n",
}


@dataclass(frozen=True, slots=True)
class Confined:
    """An installation whose daemon runs in the sandbox."""

    installation: Installation
    sandbox: Sandbox


@pytest.fixture
def confined(
    database_url: str, dovecot: DovecotServer, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Confined]:
    """An installation whose secrets and state are where the unit has them."""
    user = ordinary_user()
    with folder_of(user) as folder:
        credentials, state = folder / "credentials", folder / "state"
        for name, secret in SECRETS.items():
            hand_over(credentials, name, secret)
        state.mkdir(mode=0o700)
        os.chown(state, user.uid, user.gid)
        shutil.copy(dovecot.ca_file, folder / "ca.pem")
        installation = as_the_unit_has_it(new_installation(folder, database_url, dovecot))
        installation.configure()
        sandbox = Sandbox(
            uid=user.uid,
            gid=user.gid,
            state_directory=str(state),
            credentials_directory=str(credentials),
            readable=[str(Path(__file__).parents[2]), sys.prefix, sys.base_prefix, str(folder)],
        )
        monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(credentials))  # for root's commands
        yield Confined(installation, sandbox)


def as_the_unit_has_it(installation: Installation) -> Installation:
    given = installation.settings
    return replace(
        installation,
        settings={
            "database": given["database"]
            | {"password_file": "$CREDENTIALS_DIRECTORY/emailsyncd.database-password"},
            "http": given["http"] | {"token_file": "$CREDENTIALS_DIRECTORY/emailsyncd.http-token"},
            "credentials": {"key_file": "$CREDENTIALS_DIRECTORY/emailsyncd.key"},
            "imap": given["imap"] | {"ca_file": "ca.pem"},
            "logging": given["logging"],
        },
    )


def hand_over(folder: Path, name: str, secret: str) -> None:
    """Write a credential as newer systemds do: root's, its ACL showing as a group's permission."""
    folder.mkdir(mode=0o755, exist_ok=True)
    (folder / name).write_text(secret)
    os.chown(folder / name, 0 if ROOT else -1, ordinary_user().gid)
    (folder / name).chmod(0o440)


def test_the_sandbox_refuses_what_the_unit_forbids(confined: Confined) -> None:
    done = subprocess.run(
        [*confined.sandbox.command(), sys.executable, "-c", ATTEMPTS],
        env={**os.environ, **confined.sandbox.environ()},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    expected = {name: REFUSED_AS[name] for name in REFUSED_AS if ROOT or name not in NEED_ROOT}
    answers = json.loads(done.stdout)
    assert {name: answers[name] for name in expected} == expected


async def test_the_daemon_syncs_a_mailbox_inside_the_sandbox(
    confined: Confined, dovecot: DovecotServer
) -> None:
    """TLS, both parsers, a worker process, a reload, and a stop that gives everything back."""
    mailbox = dovecot.mailbox("sandboxed@example.test")
    mailbox.deliver(generate(3, n, recipient=mailbox.user) for n in range(MESSAGES))
    mailbox.append(UNUSUAL)
    installation = confined.installation

    async with installation.daemon(
        confined.sandbox.environ(), confined.sandbox.command()
    ) as daemon:
        await anyio.to_thread.run_sync(installation.add_account, mailbox)
        await daemon.wait_for_event("sync.job_finished", result="done")
        code = await daemon.terminate()

    assert code == 0
    assert await installation.stored(mailbox.user) == mailbox.snapshot()
    warnings = [line for line in daemon.log() if line["level"] not in {"info", "debug"}]
    assert not warnings


async def test_the_embedded_database_runs_inside_the_sandbox(confined: Confined) -> None:
    confined.installation.configure({"database": {"url": "embedded"}})

    async with confined.installation.daemon(
        confined.sandbox.environ(), confined.sandbox.command()
    ) as daemon:
        await daemon.wait_for_event("daemon.started", database="embedded")
        code = await daemon.terminate()

    assert code == 0
