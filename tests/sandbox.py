"""A unit's sandbox without systemd as process 1: run as a program, it confines itself and executes.

The options are read from the unit file, so the two cannot drift apart: each one is put in force in
the way of systemd 252, or is named in `NOT_HERE` with the reason why it is not. An ordinary user,
whom nothing has to turn into one, confines himself by all but what the kernel keeps for root.
"""

import ctypes
import errno
import json
import os
import resource
import shutil
import stat
import sys
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from unit_file import allowed_calls, service_settings

NOT_HERE = {
    "Type": "is no confinement", "ExecStart": "is no confinement", "ExecReload": "the same",
    "EnvironmentFile": "the same", "WatchdogSec": "the same", "TimeoutStartSec": "the same",
    "TimeoutStopSec": "the same", "KillMode": "the same", "Restart": "the same",
    "RestartSec": "the same", "RestartPreventExitStatus": "the same",
    "MemoryHigh": "needs a control group", "MemoryMax": "the same", "OOMPolicy": "the same",
    "TasksMax": "the same", "IPAddressDeny": "the same",
    "RemoveIPC": "happens when the service stops",
}  # fmt: skip
NEEDS_ROOT = {
    "StateDirectory", "StateDirectoryMode", "LoadCredential", "DynamicUser", "User",
    "ProtectSystem", "ProtectHome", "PrivateTmp", "PrivateDevices", "PrivateMounts", "PrivateIPC",
    "ProtectHostname", "ProtectProc", "ProcSubset", "ProtectKernelTunables",
    "ProtectControlGroups", "PrivateUsers", "CapabilityBoundingSet",
}  # fmt: skip

CLONE_NEWNS, CLONE_NEWUTS, CLONE_NEWIPC, CLONE_NEWUSER = 0x20000, 0x4000000, 0x8000000, 0x10000000
NAMESPACES = (CLONE_NEWNS, CLONE_NEWUTS, CLONE_NEWIPC, CLONE_NEWUSER, 0x2000000, 0x20000000,
              0x40000000)  # fmt: skip
MS_RDONLY, MS_REMOUNT, MS_BIND, MS_REC, MS_PRIVATE = 1, 32, 4096, 16384, 1 << 18
MS_NOTHING_SPECIAL = 2 | 4 | 8  # nosuid, nodev, noexec
PR_SET_DUMPABLE, PR_CAPBSET_READ, PR_CAPBSET_DROP, PR_SET_NO_NEW_PRIVS = 4, 23, 24, 38
PROT_WRITE, PROT_EXEC, SHM_EXEC = 0x2, 0x4, 0o100000
KEYCTL_JOIN_SESSION_KEYRING = 1
#: libseccomp's actions and comparisons (seccomp.h).
ALLOW, REFUSE = 0x7FFF0000, 0x50000
FEWER, SAME, MORE, MASKED = 2, 4, 6, 7
FAMILIES = {"AF_UNIX": 1, "AF_INET": 2, "AF_INET6": 10}
DEVICES = ("null", "zero", "full", "random", "urandom", "tty")

libc = ctypes.CDLL(None, use_errno=True)
libseccomp = ctypes.CDLL("libseccomp.so.2")


@dataclass(frozen=True, slots=True)
class Sandbox:
    """Whom and what the unit leaves open here: the paths stand for those of a real machine."""

    uid: int  #: stands for the dynamic user
    gid: int
    state_directory: str
    credentials_directory: str  #: holds what LoadCredential= would have copied
    readable: Sequence[str]  #: what the tests need of places that the unit hides

    def command(self) -> list[str]:
        """Return the words that run what follows them in the sandbox."""
        return [sys.executable, __file__, json.dumps(asdict(self))]

    def environ(self) -> Mapping[str, str]:
        """Return the variables that systemd sets."""
        return {
            "STATE_DIRECTORY": self.state_directory,
            "CREDENTIALS_DIRECTORY": self.credentials_directory,
        }


class Confinement:
    """Puts the options in force one by one; each method is named after the ones it takes."""

    def __init__(self, sandbox: Sandbox, unit: Mapping[str, Sequence[str]]) -> None:
        self.sandbox = sandbox
        self._is_root = os.geteuid() == 0
        left_out = NOT_HERE.keys() | (set() if self._is_root else NEEDS_ROOT)
        self._left = {name: values for name, values in unit.items() if name not in left_out}

    def take(self, name: str, *known: str) -> str:
        """Return the value of an option, which is one of the known ones; "" when it is not set.

        Raises:
            AssertionError: the unit says what nobody taught this sandbox.
        """
        value = " ".join(self._left.pop(name, []))
        assert not value or not known or value in known, f"teach the sandbox {name}={value}"
        return value

    def is_set(self, name: str) -> bool:
        """Return whether a switch is on."""
        return self.take(name, "yes") == "yes"

    def refuse_unknown(self) -> None:
        """Raise AssertionError for options that nobody asked for."""
        assert not self._left, f"teach the sandbox or list in NOT_HERE: {[*self._left]}"

    def enter(self) -> None:
        """Put everything in force, in an order in which each step is still permitted."""
        filters = self.system_call_filters()
        if self._is_root:
            self.file_systems()
        self.limits()
        if self._is_root:
            self.user()
            self.capabilities()
        self.privileges()
        self.refuse_unknown()
        for apply in filters:
            apply()

    def limits(self) -> None:
        """Limit*, UMask."""
        for name, limit in (("LimitNOFILE", resource.RLIMIT_NOFILE),
                            ("LimitCORE", resource.RLIMIT_CORE)):  # fmt: skip
            if value := self.take(name):
                resource.setrlimit(limit, (int(value), int(value)))
        if mask := self.take("UMask"):
            os.umask(int(mask, 8))

    def file_systems(self) -> None:
        """Namespaces of mounts, IPC and host name; what is read-only, hidden or empty."""
        spaces = CLONE_NEWNS if self.is_set("PrivateMounts") else 0
        spaces |= CLONE_NEWIPC if self.is_set("PrivateIPC") else 0
        spaces |= CLONE_NEWUTS if self.is_set("ProtectHostname") else 0
        _check(libc.unshare(spaces), "unshare")
        _mount(None, "/", flags=MS_REC | MS_PRIVATE)
        self.take("StateDirectory")
        self.take("StateDirectoryMode")
        self.take("LoadCredential")
        kept = {path: os.open(path, os.O_PATH) for path in (*self.sandbox.readable,
                self.sandbox.credentials_directory, self.sandbox.state_directory)}  # fmt: skip
        if self.take("ProtectSystem", "strict"):
            _make_everything_read_only()
        if self.is_set("PrivateTmp"):
            _cover("/tmp", "mode=1777")  # noqa: S108 - the directory itself is meant
            _cover("/var/tmp", "mode=1777")  # noqa: S108 - the same
        if self.is_set("ProtectHome"):
            for home in ("/home", "/root", "/run/user"):
                _cover(home, "mode=0755")
        if self.is_set("PrivateDevices"):
            _make_devices()
        for path, descriptor in kept.items():
            _uncover(path, descriptor, read_only=path != self.sandbox.state_directory)
        self.proc()

    def proc(self) -> None:
        """ProtectProc, ProcSubset; with them ProtectKernelTunables has nothing left to protect."""
        options = []
        if self.take("ProtectProc", "invisible"):
            options.append("hidepid=invisible")
        if self.take("ProcSubset", "pid"):
            options.append("subset=pid")
        _mount("proc", "/proc", kind="proc", flags=MS_NOTHING_SPECIAL, options=",".join(options))
        self.is_set("ProtectKernelTunables")  # /sys is read-only like everything
        self.is_set("ProtectControlGroups")  # the same

    def user(self) -> None:
        """DynamicUser and PrivateUsers: a user that owns nothing, in a world of its own."""
        self.is_set("DynamicUser")
        self.take("User")
        os.setgroups([])
        os.setresgid(*[self.sandbox.gid] * 3)
        os.setresuid(*[self.sandbox.uid] * 3)
        if self.is_set("PrivateUsers"):
            _check(
                libc.prctl(PR_SET_DUMPABLE, 1, 0, 0, 0), "PR_SET_DUMPABLE"
            )  # or /proc/self is root's
            _check(libc.unshare(CLONE_NEWUSER), "unshare")
            Path("/proc/self/setgroups").write_text("deny")
            Path("/proc/self/uid_map").write_text(f"{self.sandbox.uid} {self.sandbox.uid} 1")
            Path("/proc/self/gid_map").write_text(f"{self.sandbox.gid} {self.sandbox.gid} 1")

    def capabilities(self) -> None:
        """CapabilityBoundingSet."""
        if not self.take("CapabilityBoundingSet"):
            for capability in range(64):
                if libc.prctl(PR_CAPBSET_READ, capability, 0, 0, 0) == 1:
                    _check(libc.prctl(PR_CAPBSET_DROP, capability, 0, 0, 0), "PR_CAPBSET_DROP")

    def privileges(self) -> None:
        """AmbientCapabilities, NoNewPrivileges."""
        assert not self.take("AmbientCapabilities"), "whoever becomes another user has none"
        if self.is_set("NoNewPrivileges"):
            _check(libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "PR_SET_NO_NEW_PRIVS")

    def system_call_filters(self) -> Sequence["Filter"]:
        """Return what is left of the options: those that systemd makes filters of, too."""
        self.take("SystemCallErrorNumber", "EPERM")
        calls = allowed_calls(self._left.pop("SystemCallFilter", []))
        filters = []
        self.take("SystemCallArchitectures", "native")  # every filter kills the others
        if self.is_set("MemoryDenyWriteExecute"):
            filters.append(_no_writable_code())
        if families := self.take("RestrictAddressFamilies"):
            filters.append(_families({FAMILIES[name] for name in families.split()}))
        if self.is_set("RestrictNamespaces"):
            filters.append(_no_namespaces())
        if self.is_set("RestrictSUIDSGID"):
            filters.append(_no_set_ids())
        denied = {
            "LockPersonality": ("personality",),
            "RestrictRealtime": ("sched_setscheduler", "sched_setattr"),
            "ProtectClock": ("clock_settime", "settimeofday", "adjtimex", "clock_adjtime"),
            "ProtectKernelModules": ("init_module", "finit_module", "delete_module"),
            "ProtectKernelLogs": ("syslog",),
        }
        for name, names in denied.items():
            if self.is_set(name):
                rules = Filter(errno.EPERM)
                for call in names:
                    rules.deny(call)
                filters.append(rules)
        if self.take("KeyringMode", "private"):
            _check(libc.syscall(_number("keyctl"), KEYCTL_JOIN_SESSION_KEYRING, None), "keyctl")
        # The last one, since it may deny what loads the others.
        return [*filters, Filter(errno.EPERM, only=calls)] if calls else filters


class _Comparison(ctypes.Structure):
    _fields_ = [
        ("argument", ctypes.c_uint), ("operator", ctypes.c_int),
        ("first", ctypes.c_uint64), ("second", ctypes.c_uint64),
    ]  # fmt: skip


class Filter:
    """A seccomp filter: `only` lets these calls through; without it all but what is denied."""

    def __init__(self, refusal: int, *, only: Collection[str] = ()) -> None:
        self._refusal = REFUSE | refusal
        libseccomp.seccomp_init.restype = ctypes.c_void_p
        self._context = ctypes.c_void_p(
            libseccomp.seccomp_init(ctypes.c_uint32(self._refusal if only else ALLOW))
        )
        for call in only:
            if (number := _number(call)) is not None:
                self._add(ALLOW, number)

    def deny(self, call: str, *comparisons: tuple[int, int, int, int]) -> None:
        """Refuse a call whose arguments compare so: (argument, operator, value, value)."""
        number = _number(call)
        assert number is not None, call
        self._add(self._refusal, number, *comparisons)

    def __call__(self) -> None:
        """Load it; from now on it holds for this process and its children."""
        _check(min(libseccomp.seccomp_load(self._context), 0), "seccomp_load")

    def _add(self, action: int, number: int, *comparisons: tuple[int, int, int, int]) -> None:
        array = (_Comparison * len(comparisons))(*(_Comparison(*each) for each in comparisons))
        done = libseccomp.seccomp_rule_add_array(
            self._context, ctypes.c_uint32(action), number, len(comparisons), array
        )
        if done not in {0, -errno.EACCES}:  # what the default does already cannot be added
            raise OSError(-done, f"system call {number}")


def _number(call: str) -> int | None:
    """Return the number of a system call; None: this machine has no such call."""
    number: int = libseccomp.seccomp_syscall_resolve_name(call.encode())
    return number if number >= 0 else None


def _no_writable_code() -> Filter:
    rules = Filter(errno.EPERM)
    both = PROT_WRITE | PROT_EXEC
    rules.deny("mmap", (2, MASKED, both, both))
    rules.deny("mprotect", (2, MASKED, PROT_EXEC, PROT_EXEC))
    rules.deny("pkey_mprotect", (2, MASKED, PROT_EXEC, PROT_EXEC))
    rules.deny("shmat", (2, MASKED, SHM_EXEC, SHM_EXEC))
    return rules


def _families(allowed: set[int]) -> Filter:
    rules = Filter(errno.EAFNOSUPPORT)
    rules.deny("socket", (0, FEWER, min(allowed), 0))
    rules.deny("socket", (0, MORE, max(allowed), 0))
    for family in set(range(min(allowed), max(allowed))) - allowed:
        rules.deny("socket", (0, SAME, family, 0))
    return rules


def _no_namespaces() -> Filter:
    rules = Filter(errno.EPERM)
    for namespace in NAMESPACES:
        rules.deny("unshare", (0, MASKED, namespace, namespace))
        rules.deny("clone", (0, MASKED, namespace, namespace))
    rules.deny("setns")
    return rules


def _no_set_ids() -> Filter:
    rules = Filter(errno.EPERM)
    modes = (("chmod", 1), ("fchmod", 1), ("fchmodat", 2), ("mkdir", 1), ("mkdirat", 2),
             ("mknod", 1), ("mknodat", 2))  # fmt: skip
    for call, argument in modes:
        for bit in (stat.S_ISUID, stat.S_ISGID):
            rules.deny(call, (argument, MASKED, bit, bit))
    return rules


def _make_everything_read_only() -> None:
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        where = line.split()[4].encode().decode("unicode_escape")
        if where != "/proc" and not where.startswith(("/proc/", "/dev")):
            _mount(None, where, flags=MS_REMOUNT | MS_BIND | MS_RDONLY)


def _make_devices() -> None:
    devices = {name: os.open(f"/dev/{name}", os.O_PATH) for name in DEVICES}
    _cover("/dev", "mode=0755")
    for name, descriptor in devices.items():
        Path("/dev", name).touch()
        _mount(f"/proc/self/fd/{descriptor}", f"/dev/{name}", flags=MS_BIND)
    Path("/dev/fd").symlink_to("/proc/self/fd")
    Path("/dev/shm").mkdir()  # noqa: S108 - the directory itself is meant
    _cover("/dev/shm", "mode=1777")  # noqa: S108 - the same


def _cover(folder: str, options: str) -> None:
    if Path(folder).exists():
        _mount("tmpfs", folder, kind="tmpfs", options=options)


def _uncover(path: str, descriptor: int, *, read_only: bool) -> None:
    """Show again what lies under a folder that is empty now."""
    if not Path(path).exists():
        Path(path).mkdir(parents=True)
    _mount(f"/proc/self/fd/{descriptor}", path, flags=MS_BIND)
    _mount(None, path, flags=MS_REMOUNT | MS_BIND | (MS_RDONLY if read_only else 0))


def _mount(
    source: str | None, target: str, *, kind: str | None = None, flags: int = 0, options: str = ""
) -> None:
    """Call mount(2); unlike mount(8) it follows /proc/self/fd to what is hidden meanwhile."""
    texts = [None if text is None else text.encode() for text in (source, target, kind)]
    _check(libc.mount(*texts, ctypes.c_ulong(flags), options.encode()), f"mount {target}")


def _check(answer: int, what: str) -> None:
    if answer < 0:
        raise OSError(ctypes.get_errno() or -answer, what)


def main() -> None:
    """Confine this process and become the command."""
    sandbox = Sandbox(**json.loads(sys.argv[1]))
    command = sys.argv[2:]
    program = shutil.which(command[0])
    assert program is not None, command
    Confinement(sandbox, service_settings()).enter()
    os.chdir("/")
    os.execv(program, command)  # noqa: S606 - the command stays this process, as under systemd


if __name__ == "__main__":
    main()
