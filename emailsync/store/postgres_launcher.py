"""Becomes a program of PostgreSQL under an identity that PostgreSQL accepts.

Run as a script by its path: `... IDENTITY PARENT_PID DIRECTORY PROGRAM [ARGUMENT ...]`.
Knows the standard library only; the process it starts is the one the caller waits for and signals.
"""

import ctypes
import os
import pwd
import signal
import struct
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

EXIT_CANNOT_BECOME = 126  #: this identity is not to be had here

SUBSTITUTE_USER = "nobody"  #: initdb looks its user up by name, so it must be one that exists

CLONE_NEWUSER = 0x10000000  # linux/sched.h
PR_SET_PDEATHSIG = 1  # linux/prctl.h
PR_SET_SECUREBITS = 28
SECBIT_NO_SETUID_FIXUP = 1 << 2  # linux/securebits.h
PR_CAP_AMBIENT = 47
PR_CAP_AMBIENT_RAISE = 2
CAP_DAC_OVERRIDE = 1  # linux/capability.h
CAPABILITY_VERSION_3 = 0x20080522

_libc = ctypes.CDLL(None, use_errno=True)


def _call(function: str, *arguments: object) -> None:
    if getattr(_libc, function)(*arguments) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{function}: {os.strerror(number)}")


def _stay() -> None:
    """Stay who we are: an ordinary user."""


def _enter_user_namespace() -> None:
    """Bear another user id inside a new user namespace, and none of root's capabilities.

    Outside of it the process is still who it was: files belong to it as before, and reach as far.
    """
    user = pwd.getpwnam(SUBSTITUTE_USER)
    outer_uid, outer_gid = os.geteuid(), os.getegid()
    _call("unshare", CLONE_NEWUSER)
    Path("/proc/self/setgroups").write_text("deny")  # or gid_map stays shut, user_namespaces(7)
    Path("/proc/self/uid_map").write_text(f"{user.pw_uid} {outer_uid} 1")
    Path("/proc/self/gid_map").write_text(f"{user.pw_gid} {outer_gid} 1")


def _become_substitute() -> None:
    """Become an existing ordinary user who, like root, may pass any folder, and nothing else.

    That one ambient capability is why no folder above the binaries or the data has to be opened.
    It also keeps that user's other processes out: they have no way to the data or the socket, and
    the kernel does not let them trace a process with more capabilities than their own.
    """
    user = pwd.getpwnam(SUBSTITUTE_USER)
    os.setgroups([])
    os.setresgid(user.pw_gid, user.pw_gid, user.pw_gid)
    # Without it setresuid drops the capability, and so does each access(2), which initdb trusts.
    _call("prctl", PR_SET_SECUREBITS, SECBIT_NO_SETUID_FIXUP, 0, 0, 0)
    os.setresuid(user.pw_uid, user.pw_uid, user.pw_uid)
    bit = 1 << CAP_DAC_OVERRIDE
    header = struct.pack("=Ii", CAPABILITY_VERSION_3, 0)
    effective_permitted_inheritable = struct.pack("=6I", bit, bit, bit, 0, 0, 0)
    _call("capset", header, effective_permitted_inheritable)
    _call("prctl", PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, CAP_DAC_OVERRIDE, 0, 0)


BECOME: Mapping[str, Callable[[], None]] = {
    "same": _stay,
    "namespace": _enter_user_namespace,
    "substitute": _become_substitute,
}


def main(arguments: list[str]) -> None:
    """Become the identity, tie the own life to the parent's, and turn into the program."""
    identity, parent, directory, program, *rest = arguments
    BECOME[identity]()
    # Only now: changing credentials clears it. SIGINT is PostgreSQL's fast shutdown.
    _call("prctl", PR_SET_PDEATHSIG, signal.SIGINT, 0, 0, 0)
    if os.getppid() != int(parent):
        return  # it died before we asked to be told
    os.umask(0o077)
    os.chdir(directory)
    os.execv(program, [program, *rest])  # noqa: S606 - no shell is the point


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except (OSError, KeyError) as error:
        sys.stderr.write(f"{error}\n")
    sys.exit(EXIT_CANNOT_BECOME)
