"""What an attacker knows of the machine, and the evidence by which an attack counts as got in.

The secret stands in a file of root's alone, in another asset, in another process's memory, its
environment and an open file of its. An attack that claims to have read shows the secret: `World`
holds its hash alone.
"""

import ctypes
import hashlib
import os
from dataclasses import dataclass

SECRET_BYTES = 32

_libc = ctypes.CDLL(None, use_errno=True)
_libc.syscall.restype = ctypes.c_long


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """Paths, numbers and names outside the sandbox; `handed` is the file that came with the job."""

    secret_hash: str
    canary: str  # mode 0600
    asset: str
    own_asset: str  # the one that is handed over, read-only
    open_folder: str  # anybody may write into it
    packages: str  # among what the template may read
    shared_memory: str  # a file in /dev/shm
    decoy: int  # a process of the same user
    decoy_address: int  # of the secret, in its memory
    decoy_descriptor: int  # of a file with the secret, open there
    variable: str  # in the environment of decoy and host
    parent: int  # the process that started the template
    parent_pipe: str  # its path beneath /proc
    tcp_port: int
    udp_port: int
    socket_path: str
    abstract: str
    host_name: str
    log_mark: str  # first line of the log
    memory_bytes: int
    log_bytes: int
    handed: int = -1

    def is_secret(self, data: bytes | str) -> bool:
        """Whether these bytes begin with the secret."""
        raw = data.encode() if isinstance(data, str) else data
        return hashlib.sha256(raw[:SECRET_BYTES]).hexdigest() == self.secret_hash


class Refused(OSError):
    """A system call failed."""


def system_call(number: int, *arguments: object) -> int:
    """Any system call by its number, as native code makes it."""
    wide = [ctypes.c_long(a) if isinstance(a, int) else a for a in arguments]
    result: int = _libc.syscall(ctypes.c_long(number), *wide)
    if result < 0:
        raise Refused(ctypes.get_errno(), f"system call {number}")
    return result


def succeeds(number: int, *arguments: object) -> bool:
    """Whether the kernel does it."""
    try:
        system_call(number, *arguments)
    except OSError:
        return False
    return True


def read_raw(path: str) -> bytes:
    """The beginning of a file, by system calls alone."""
    descriptor = system_call(2, path.encode(), os.O_RDONLY, 0)
    buffer = ctypes.create_string_buffer(SECRET_BYTES)
    size = system_call(0, descriptor, buffer, SECRET_BYTES)
    return buffer.raw[:size]


def size_of(descriptor: int) -> int:
    """By a call that computing needs, too: Python's own asks with a path."""
    status = ctypes.create_string_buffer(144)
    system_call(5, descriptor, status)
    return int.from_bytes(status.raw[48:56], "little")
