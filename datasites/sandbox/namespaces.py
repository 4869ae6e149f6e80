"""A process's own view of the machine: these files to read, no network, no other process.

    unshare ─▶ fork: process 1 of its own ─▶ a tree of read-only binds ─▶ pivot_root ─▶ no capability

What `bwrap` does, for machines without it. It needs a process of one thread, so it comes before any
library. Source: bubblewrap's README and its `setup_newroot`; `pivot_root(2)`.
"""

import contextlib
import ctypes
import os
import signal
import socket
import struct
from collections.abc import Iterable
from pathlib import Path

from datasites.sandbox.system_calls import (
    CAPSET,
    PIVOT_ROOT,
    PR_CAPBSET_DROP,
    PR_SET_DUMPABLE,
    PR_SET_PDEATHSIG,
    call,
    mount,
    prctl,
    unmount,
    unshare,
)

NOBODY = 65_534
HOST_NAME = "contained"  # the machine's own may name the hospital
_NEW_USER, _NEW_FILES = 0x1000_0000, 0x0002_0000
_NEW_REST = 0x0400_0000 | 0x0800_0000 | 0x2000_0000 | 0x4000_0000  # UTS, IPC, PID, net
_READ_ONLY, _NO_SUID, _NO_DEVICES, _NO_EXEC, _REMOUNT = 1, 2, 4, 8, 32
_BIND, _RECURSIVE, _PRIVATE = 1 << 12, 1 << 14, 1 << 18
_DETACH = 2
_KEPT = _NO_SUID | _NO_DEVICES | _NO_EXEC | 1024 | 2048 | (1 << 21)
"""Flags of a mount that another user made must not be taken off: no atime, relative atime."""
_CAPABILITIES = 41
_TREE_BYTES = 1 << 20


def enter(readable: Iterable[str], *, as_owner: bool = False) -> None:
    """Go on as process 1 of new namespaces, where only these paths are; nothing can be written.

    The calling process stays outside, waits, and ends as the one inside does. An ordinary user
    becomes the same user without rights; root becomes nobody, but who reads an owner's files
    (`as_owner`) is told so and stays root to them, without rights.

    Raises:
        OSError: if the kernel does not allow it.
    """
    os.umask(0o022)
    if as_owner:
        _with_own_users()
    else:
        try:
            unshare(_NEW_FILES | _NEW_REST)
        except PermissionError:
            _with_own_users()
    _fork()
    mount("none", "/", None, _RECURSIVE | _PRIVATE)
    _see_only(readable)
    socket.sethostname(HOST_NAME)
    drop_root()
    prctl(PR_SET_PDEATHSIG, signal.SIGKILL)  # another user's process forgets it


def drop_root() -> None:
    """Nobody instead of root, and without capabilities in any case."""
    if os.geteuid() == 0:
        os.setgroups([])
        os.setresgid(NOBODY, NOBODY, NOBODY)
        os.setresuid(NOBODY, NOBODY, NOBODY)
    drop_capabilities()


def drop_capabilities() -> None:
    """None is left, and none comes back."""
    for capability in range(_CAPABILITIES):
        with contextlib.suppress(OSError):
            prctl(PR_CAPBSET_DROP, capability)
    header = ctypes.create_string_buffer(struct.pack("<Ii", 0x2008_0522, 0))
    call(CAPSET, header, ctypes.create_string_buffer(bytes(24)))


def _with_own_users() -> None:
    """For who may not part with the machine's view: in a namespace of users of its own, as one user."""
    outside, group = os.geteuid(), os.getegid()
    inside = outside or NOBODY
    prctl(PR_SET_DUMPABLE, 1)  # else the maps belong to root
    unshare(_NEW_USER | _NEW_FILES | _NEW_REST)
    Path("/proc/self/setgroups").write_text("deny")
    Path("/proc/self/uid_map").write_text(f"{inside} {outside} 1")
    Path("/proc/self/gid_map").write_text(f"{group or NOBODY} {group} 1")


def _fork() -> None:
    """The child goes on; the parent waits, and dies with whoever started it."""
    child = os.fork()
    if child:
        _, status = os.waitpid(child, 0)
        os._exit(os.waitstatus_to_exitcode(status) & 0xFF)
    prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def _see_only(readable: Iterable[str]) -> None:
    """Build a tree of read-only binds on a small file system in memory, and make it the root."""
    mount("none", "/tmp", "tmpfs", _NO_SUID | _NO_DEVICES, f"size={_TREE_BYTES},mode=755")  # noqa: S108
    os.chdir("/tmp")  # noqa: S108
    os.mkdir("old")
    os.mkdir("new")
    call(PIVOT_ROOT, b".", b"old")
    os.chdir("/")
    mount("none", "/new", "tmpfs", _NO_SUID | _NO_DEVICES, f"size={_TREE_BYTES},mode=755")
    for path in sorted(set(readable)):
        _show(path)
    mount("none", "/new", None, _REMOUNT | _READ_ONLY | _NO_SUID | _NO_DEVICES)
    os.chdir("/new")
    call(PIVOT_ROOT, b".", b".")
    unmount(".", _DETACH)
    os.chdir("/")


def _show(path: str) -> None:
    """Bind one path of the old tree at the same place of the new one, with the links on the way."""
    old, new = f"/old{path}", f"/new{path}"
    if os.path.lexists(new):
        return
    os.makedirs(os.path.dirname(new), mode=0o755, exist_ok=True)
    if os.path.islink(old):
        os.symlink(os.readlink(old), new)
        return
    if os.path.isdir(old):
        os.mkdir(new, mode=0o755)
    else:
        os.close(os.open(new, os.O_CREAT | os.O_WRONLY, 0o444))
    mount(old, new, None, _BIND | _RECURSIVE)
    kept = os.statvfs(new).f_flag & _KEPT
    devices = 0 if path.startswith("/dev/") else _NO_DEVICES
    mount("none", new, None, _REMOUNT | _BIND | _READ_ONLY | _NO_SUID | devices | kept)
