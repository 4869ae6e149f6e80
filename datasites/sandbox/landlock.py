"""Which files a process may open from now on: Landlock, a second wall behind the file system's view.

Source: Linux' Documentation/userspace-api/landlock.rst. It binds the calling thread and its
children alone, so it comes before any library starts a thread.
"""

import ctypes
import os
from collections.abc import Iterable
from pathlib import Path

from datasites.sandbox.spec import is_nvidia_device
from datasites.sandbox.system_calls import (
    LANDLOCK_ADD,
    LANDLOCK_CREATE,
    LANDLOCK_RESTRICT,
    PR_SET_NO_NEW_PRIVS,
    call,
    prctl,
)

_VERSION, _PATH_BENEATH = 1, 1
_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_DIR, _IOCTL = 1 << 0, 1 << 1, 1 << 2, 1 << 3, 1 << 15
_FIRST_RIGHTS = (1 << 13) - 1
_LATER_RIGHTS = {2: 1 << 13, 3: 1 << 14, 5: 1 << 15}  # refer, truncate, ioctl on devices
_TCP_FROM, _SCOPES_FROM = 4, 6
_TCP, _SCOPES = 0b11, 0b11  # bind and connect; abstract sockets and signals


class _Rules(ctypes.Structure):
    _fields_ = (("files", ctypes.c_uint64), ("tcp", ctypes.c_uint64), ("scopes", ctypes.c_uint64))


class _Beneath(ctypes.Structure):
    _pack_ = 1
    _fields_ = (("allowed", ctypes.c_uint64), ("folder", ctypes.c_int32))


def version() -> int:
    """Of this kernel's Landlock; 0 if it has none."""
    try:
        return call(LANDLOCK_CREATE, None, 0, _VERSION)
    except OSError:
        return 0


def restrict(readable: Iterable[str]) -> None:
    """Leave reading beneath these paths, and nothing else; no TCP, no signals, as far as it knows.

    A node of NVIDIA's driver that a computation needs may be written to and asked with ioctl, too.
    """
    known = version()
    files = _FIRST_RIGHTS
    for since, right in _LATER_RIGHTS.items():
        files |= right if known >= since else 0
    rules = _Rules(
        files=files,
        tcp=_TCP if known >= _TCP_FROM else 0,
        scopes=_SCOPES if known >= _SCOPES_FROM else 0,
    )
    # An older kernel refuses a longer struct than it knows.
    size = 8 if known < _TCP_FROM else 16 if known < _SCOPES_FROM else ctypes.sizeof(rules)
    ruleset = call(LANDLOCK_CREATE, ctypes.byref(rules), size, 0)
    try:
        for path in readable:
            _allow(ruleset, path, written=_WRITE_FILE | files & _IOCTL)
        prctl(PR_SET_NO_NEW_PRIVS, 1)
        call(LANDLOCK_RESTRICT, ruleset, 0)
    finally:
        os.close(ruleset)


def _allow(ruleset: int, path: str, *, written: int) -> None:
    folder = os.open(path, os.O_PATH | os.O_CLOEXEC)
    rights = _READ_FILE | _EXECUTE | (_READ_DIR if Path(path).is_dir() else 0)
    rights |= written if is_nvidia_device(path) else 0
    try:
        beneath = _Beneath(allowed=rights, folder=folder)
        call(LANDLOCK_ADD, ruleset, _PATH_BENEATH, ctypes.byref(beneath), 0)
    finally:
        os.close(folder)
