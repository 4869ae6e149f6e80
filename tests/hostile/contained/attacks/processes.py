"""Other processes: their memory, their secrets, their lives."""

import contextlib
import ctypes
import os
import signal
import time
from pathlib import Path

from tests.hostile.contained.attacks.world import (
    SECRET_BYTES,
    World,
    size_of,
    succeeds,
    system_call,
)

_SEIZE = 0x4206
_OTHERS = range(1, 1 << 15)


def read_parent_environ(world: World) -> bool:
    return b"=" in Path(f"/proc/{world.parent}/environ").read_bytes()


def read_decoy_environ(world: World) -> bool:
    return world.variable.encode() in Path(f"/proc/{world.decoy}/environ").read_bytes()


def read_own_environ(world: World) -> bool:
    return world.variable in os.environ


def read_own_first_environ(world: World) -> bool:
    return world.variable.encode() in Path("/proc/self/environ").read_bytes()


def read_decoy_mem(world: World) -> bool:
    with open(f"/proc/{world.decoy}/mem", "rb", buffering=0) as memory:
        memory.seek(world.decoy_address)
        return world.is_secret(memory.read(SECRET_BYTES))


def read_decoy_open_file(world: World) -> bool:
    path = f"/proc/{world.decoy}/fd/{world.decoy_descriptor}"
    return world.is_secret(Path(path).read_bytes())


class _Piece(ctypes.Structure):
    _fields_ = (("base", ctypes.c_void_p), ("length", ctypes.c_size_t))


def process_vm_readv(world: World) -> bool:
    buffer = ctypes.create_string_buffer(SECRET_BYTES)
    here = _Piece(ctypes.addressof(buffer), SECRET_BYTES)
    there = _Piece(world.decoy_address, SECRET_BYTES)
    system_call(310, world.decoy, ctypes.byref(here), 1, ctypes.byref(there), 1, 0)
    return world.is_secret(buffer.raw)


def process_vm_writev(world: World) -> bool:
    """Into the memory of the template, which every later worker is a copy of."""
    target = ctypes.create_string_buffer(b"before")
    here = _Piece(ctypes.addressof(target), 1)
    there = _Piece(ctypes.addressof(target), 1)
    template = os.getppid()
    return system_call(311, template, ctypes.byref(here), 1, ctypes.byref(there), 1, 0) == 1


def ptrace(world: World) -> bool:
    return succeeds(101, _SEIZE, world.decoy, 0, 0)


def ptrace_template(world: World) -> bool:
    return succeeds(101, _SEIZE, os.getppid(), 0, 0)


def signal_decoy(world: World) -> bool:
    os.kill(world.decoy, signal.SIGUSR1)
    return True


def kill_decoy(world: World) -> bool:
    os.kill(world.decoy, signal.SIGKILL)
    return True


def kill_everybody(world: World) -> bool:
    """Signal 0 says whom a real one would reach."""
    os.kill(-1, 0)
    return True


def pidfd_kill(world: World) -> bool:
    descriptor = system_call(434, world.decoy, 0)
    system_call(424, descriptor, int(signal.SIGUSR1), None, 0)
    return True


def queue_signal(world: World) -> bool:
    information = ctypes.create_string_buffer(128)
    ctypes.memmove(information, int(signal.SIGUSR1).to_bytes(4, "little"), 4)
    ctypes.memmove(ctypes.addressof(information) + 8, (-1 & 0xFFFFFFFF).to_bytes(4, "little"), 4)
    return succeeds(129, world.decoy, int(signal.SIGUSR1), information)


def signal_by_descriptor(world: World) -> bool:
    """Whoever owns a descriptor gets a signal when there is something to read."""
    line = 0
    system_call(72, line, 8, world.decoy)  # F_SETOWN
    system_call(72, line, 10, int(signal.SIGUSR1))  # F_SETSIG
    system_call(72, line, 4, os.O_ASYNC | os.O_RDWR)
    os.write(line, b"")
    return system_call(72, line, 9, 0) == world.decoy


def signal_parent(world: World) -> bool:
    os.kill(world.parent, signal.SIGURG)  # which is ignored unless somebody waits for it
    return True


def signal_template(world: World) -> bool:
    os.kill(os.getppid(), signal.SIGURG)
    return True


def prlimit_other(world: World) -> bool:
    limits = ctypes.create_string_buffer(16)
    return succeeds(302, world.decoy, 7, None, limits)


def prlimit_template(world: World) -> bool:
    """Which makes the limits of every later worker."""
    limits = ctypes.create_string_buffer(16)
    return succeeds(302, os.getppid(), 7, None, limits)


def renice_other(world: World) -> bool:
    return os.getpriority(os.PRIO_PROCESS, world.decoy) > -21


def list_processes(world: World) -> bool:
    return str(world.decoy) in os.listdir("/proc")


def probe_affinity(world: World) -> bool:
    """Whether a process of this number lives, from a call that looks harmless."""
    return len(os.sched_getaffinity(world.decoy)) > 0


def probe_affinity_of_template(world: World) -> bool:
    return len(os.sched_getaffinity(os.getppid())) > 0


def probe_session(world: World) -> bool:
    return os.getpgid(world.decoy) > 0


def clock_of_decoy(world: World) -> bool:
    """How long another process has computed: a number that depends on its patients."""
    return time.clock_gettime(_clock(world.decoy)) > 0


def clock_of_template(world: World) -> bool:
    return time.clock_gettime(_clock(os.getppid())) > 0


def clock_of_any_process(world: World) -> bool:
    for pid in _OTHERS:
        with contextlib.suppress(OSError):
            time.clock_gettime(_clock(pid))
            if pid != os.getpid():
                return True
    return False


def resolution_of_decoys_clock(world: World) -> bool:
    return time.clock_getres(_clock(world.decoy)) > 0


def sleep_on_decoys_clock(world: World) -> bool:
    moment = ctypes.create_string_buffer((0).to_bytes(8, "little") + (1).to_bytes(8, "little"))
    return succeeds(230, _clock(world.decoy), 1, moment, None)


def _clock(pid: int) -> int:
    return (~pid << 3) | 2


def pidfd_getfd(world: World) -> bool:
    descriptor = system_call(434, world.decoy, 0)
    copy = system_call(438, descriptor, world.decoy_descriptor, 0)
    return world.is_secret(os.pread(copy, SECRET_BYTES, 0))


def inherited_fds(world: World) -> bool:
    """Anything open beside the line, the log and the file of the job."""
    for descriptor in range(3, 4096):
        if descriptor != world.handed:
            with contextlib.suppress(OSError):
                return size_of(descriptor) >= 0
    return False


def leak_through_parents_pipe(world: World) -> bool:
    with open(world.parent_pipe, "wb", buffering=0) as pipe:
        return pipe.write(b"!") == 1


def leak_to_terminal(world: World) -> bool:
    for path in ("/dev/tty", "/dev/console", "/dev/tty0", "/dev/ttyS0"):
        with contextlib.suppress(OSError):
            os.close(os.open(path, os.O_WRONLY | os.O_NOCTTY | os.O_NONBLOCK))
            return True
    return False
