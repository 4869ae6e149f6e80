"""Which system calls a process may make from now on: a filter in the kernel that nothing takes off.

    start    read files, import, fork          a template, while it loads libraries and makes workers
    strict   compute; read what it was handed, write to its one answer; no path, no socket, no process
    reader   strict, and reading files          what its view of the file system holds
    ranks    strict, and writing to other lines for processes of one training, with lines between them
    cuda     reader, and what NVIDIA's driver is asked by ioctl

Everything else fails with EPERM; another architecture's calls, whose numbers mean other things, kill.
"""

import ctypes
import errno
import signal
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from datasites.sandbox.spec import Profile
from datasites.sandbox.system_calls import NUMBERS, PR_SET_NO_NEW_PRIVS, call, prctl

_LOAD, _EQUAL, _AT_LEAST, _AND, _RETURN = 0x20, 0x15, 0x35, 0x54, 0x06
_ALLOW, _KILL, _ERRNO = 0x7FFF0000, 0x80000000, 0x00050000
_X86_64, _X32_BIT = 0xC000003E, 0x40000000
_ARCH_AT, _NUMBER_AT, _ARGUMENTS_AT = 4, 0, 16
_SET_FILTER, _ALL_THREADS = 1, 1
_FORK_FLAGS = 0x01200011
"""SIGCHLD with the two bits by which glibc's fork tells the child its number."""
_THREAD_FLAGS = 0x003D0F00
"""What glibc's `pthread_create` asks for: everything is shared, so it is no process."""


@dataclass(frozen=True, slots=True)
class _OneOf:
    """Allowed if an argument is one of these."""

    argument: int
    values: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class _Ioctl:
    """Allowed if a request is one of these, below a number, or of the driver of this letter."""

    values: tuple[int, ...]
    below: int
    letter: str


Rule = _OneOf | _Ioctl | None
"""None: allowed with any arguments."""

_OWN = _OneOf(0, (0,))
"""Of this process alone: any other's number would say whether that process lives."""
_CLOCK = _OneOf(0, tuple(range(8)))
"""The machine's and its own: the clock of another process says how long that has computed."""
COMPUTE: Mapping[str, Rule] = {
    **dict.fromkeys(
        (
            "read", "readv", "pread64", "lseek", "close", "fstat", "poll", "ppoll", "pselect6",
            "mmap", "mprotect", "munmap", "mremap", "madvise", "brk", "futex", "membarrier",
            "rseq", "rt_sigaction", "rt_sigprocmask", "rt_sigreturn", "sigaltstack",
            "restart_syscall", "getpid", "gettid", "getuid", "geteuid", "getgid", "getegid",
            "getppid", "sched_yield", "nanosleep", "gettimeofday", "times", "getrusage",
            "getrandom", "set_robust_list", "exit", "exit_group", "recvmsg", "recvfrom",
        )
    ),
    **dict.fromkeys(("clock_nanosleep", "clock_gettime", "clock_getres"), _CLOCK),
    "sched_getaffinity": _OWN,
}  # fmt: skip
_IS_TERMINAL, _CLOSE_ON_EXEC = 0x5401, 0x5451
FILES: Mapping[str, Rule] = {
    **dict.fromkeys(
        (
            "open", "openat", "stat", "lstat", "newfstatat", "statx", "access", "faccessat",
            "faccessat2", "readlink", "readlinkat", "getdents64", "getcwd", "getrlimit", "dup",
            "dup2", "dup3", "uname",
        )
    ),
    "ioctl": _OneOf(1, (_IS_TERMINAL, _CLOSE_ON_EXEC)),  # a socket would tell of networks
    "fcntl": _OneOf(1, (0, 1, 2, 3, 4, 1030)),  # copies and flags: no locks, no signals
}  # fmt: skip
PROCESSES: Mapping[str, Rule] = {
    "sched_getaffinity": None, "sysinfo": None,
    "clone": _OneOf(0, (_FORK_FLAGS, _THREAD_FLAGS)),
    "wait4": None, "kill": _OneOf(1, (signal.SIGKILL,)), "prctl": None, "seccomp": None,
    "prlimit64": None, "arch_prctl": None,
    "close_range": None, "pipe2": None, "sendmsg": None, "sendto": None, "write": None,
    "writev": None, "set_tid_address": None, "getsockname": None, "getsockopt": None,
    "shutdown": None,
}  # fmt: skip
_UVM = (0x3000_0001, 0x3000_0002)
"""Begin and end of shared memory, whose other requests are small numbers."""
CUDA: Mapping[str, Rule] = {
    "ioctl": _Ioctl(values=(_IS_TERMINAL, _CLOSE_ON_EXEC, *_UVM), below=128, letter="F"),
    "eventfd2": None,
}  # fmt: skip
"""Source: NVIDIA/open-gpu-kernel-modules, `nv-ioctl-numbers.h` and `uvm_ioctl.h`."""
START = {**COMPUTE, **FILES, **PROCESSES}


def strict(*writable: int) -> Mapping[str, Rule]:
    """Compute, and write to these descriptors alone."""
    return {**COMPUTE, **{name: _OneOf(0, writable) for name in ("write", "writev")}}


def reader(*writable: int) -> Mapping[str, Rule]:
    """As `strict`, and read files; what there is to read, its view of the file system says."""
    return {**strict(*writable), **FILES}


def ranks(*writable: int) -> Mapping[str, Rule]:
    """As `strict`, and write to every descriptor that there is: only what was handed over."""
    return {**COMPUTE, "write": None, "writev": None}


def cuda(*writable: int) -> Mapping[str, Rule]:
    """As `reader`, with the driver's ioctls: NVIDIA's part of the kernel is within reach."""
    return {**reader(*writable), **CUDA}


PROFILES: Mapping[Profile, Callable[..., Mapping[str, Rule]]] = {
    "strict": strict,
    "reader": reader,
    "ranks": ranks,
    "cuda": cuda,
}


def start(profile: Profile) -> Mapping[str, Rule]:
    """What a template may: filters add up, so that its workers get no call that it has not."""
    return {**START, **CUDA} if profile == "cuda" else START


def program(allowed: Mapping[str, Rule]) -> bytes:
    """The filter as the kernel takes it: classic BPF, eight bytes an instruction."""
    refuse = (_RETURN, 0, 0, _ERRNO | errno.EPERM)
    lines = [
        (_LOAD, 0, 0, _ARCH_AT),
        (_EQUAL, 1, 0, _X86_64),
        (_RETURN, 0, 0, _KILL),
        (_LOAD, 0, 0, _NUMBER_AT),
        (_AT_LEAST, 0, 1, _X32_BIT),
        (_RETURN, 0, 0, _KILL),
        # glibc asks for clone3 first, whose flags no filter can read, and then for clone.
        (_EQUAL, 0, 1, NUMBERS["clone3"]),
        (_RETURN, 0, 0, _ERRNO | errno.ENOSYS),
    ]
    for name, rule in allowed.items():
        if rule is None:
            lines += [(_EQUAL, 0, 1, NUMBERS[name]), (_RETURN, 0, 0, _ALLOW)]
            continue
        body = _check(rule) if isinstance(rule, _OneOf) else _check_ioctl(rule)
        lines += [(_EQUAL, 0, len(body), NUMBERS[name]), *body]
    return b"".join(struct.pack("<HBBI", *line) for line in (*lines, refuse))


def _check(rule: _OneOf) -> list[tuple[int, int, int, int]]:
    """Both halves of an argument: the upper is zero, the lower one of the values; else EPERM."""
    at = _ARGUMENTS_AT + 8 * rule.argument
    refuse = (_RETURN, 0, 0, _ERRNO | errno.EPERM)
    lines = [(_LOAD, 0, 0, at + 4), (_EQUAL, 1, 0, 0), refuse, (_LOAD, 0, 0, at)]
    for value in rule.values:
        lines += [(_EQUAL, 0, 1, value), (_RETURN, 0, 0, _ALLOW)]
    return [*lines, refuse]


def _check_ioctl(rule: _Ioctl) -> list[tuple[int, int, int, int]]:
    """As `_check`; a request's second byte is its driver's letter."""
    *lines, refuse = _check(_OneOf(1, rule.values))
    allow = (_RETURN, 0, 0, _ALLOW)
    lines += [(_AT_LEAST, 1, 0, rule.below), allow]
    lines += [(_AND, 0, 0, 0xFF00), (_EQUAL, 0, 1, ord(rule.letter) << 8), allow]
    return [*lines, refuse]


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("lines", ctypes.c_char_p))


def install(allowed: Mapping[str, Rule]) -> None:
    """Put the filter on every thread of this process, for good; filters add up."""
    text = program(allowed)
    prctl(PR_SET_NO_NEW_PRIVS, 1)
    shown = _Program(length=len(text) // 8, lines=text)
    call(NUMBERS["seccomp"], _SET_FILTER, _ALL_THREADS, ctypes.byref(shown))
