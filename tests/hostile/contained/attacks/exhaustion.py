"""Taking all there is, never ending, and what is left of a job."""

import contextlib
import ctypes
import mmap
import os
import signal
import threading
import time

from datasites.sandbox.inside import MOST_FILES
from tests.hostile.contained.attacks.world import World, size_of, succeeds, system_call

_MANY = 40
_LOG, _LOGS = 2, (1, 2)


def fork_bomb(world: World) -> bool:
    children = []
    with contextlib.suppress(OSError):
        for _ in range(_MANY):
            child = os.fork()
            if not child:
                time.sleep(20)
                os._exit(0)
            children.append(child)
    for child in children:
        os.kill(child, signal.SIGKILL)
    return len(children) == _MANY


def thread_bomb(world: World) -> bool:
    go = threading.Event()
    threads = [threading.Thread(target=go.wait, daemon=True) for _ in range(_MANY)]
    try:
        for thread in threads:
            thread.start()
    finally:
        go.set()
    return True


def memory_hog(world: World) -> bool:
    return len(mmap.mmap(-1, world.memory_bytes)) == world.memory_bytes


def memory_hog_in_pieces(world: World) -> bool:
    """Address space alone: pages that nobody touches."""
    piece = 64 << 20
    held = [mmap.mmap(-1, piece) for _ in range(world.memory_bytes // piece)]
    return len(held) * piece >= world.memory_bytes - piece


def locked_memory(world: World) -> bool:
    """Memory that cannot be swapped out."""
    page = mmap.mmap(-1, mmap.PAGESIZE)
    address = ctypes.addressof(ctypes.c_char.from_buffer(page))
    return succeeds(149, address, mmap.PAGESIZE)


def fd_exhaustion(world: World) -> bool:
    held = [os.dup(_LOG) for _ in range(MOST_FILES)]
    return len(held) == MOST_FILES


def highest_priority(world: World) -> bool:
    os.setpriority(os.PRIO_PROCESS, 0, -10)
    return True


def real_time_priority(world: World) -> bool:
    os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
    return True


def overfill_log(world: World) -> bool:
    """The host looks, too."""
    piece = b"overfill" * 512
    for _ in range(2 * world.log_bytes // len(piece)):
        os.write(_LOG, piece)
    return size_of(_LOG) > world.log_bytes


def rewrite_log(world: World) -> bool:
    """What another job left for the owner; the host looks whether it is still there."""
    for descriptor in _LOGS:
        with contextlib.suppress(OSError):
            os.lseek(descriptor, 0, os.SEEK_SET)
            os.write(descriptor, b"nothing happened")
    return False


def truncate_log(world: World) -> bool:
    for descriptor in _LOGS:
        with contextlib.suppress(OSError):
            os.ftruncate(descriptor, 0)
    return False


def read_log(world: World) -> bool:
    return any(world.log_mark.encode() in _read(descriptor, world) for descriptor in _LOGS)


def _read(descriptor: int, world: World) -> bytes:
    with contextlib.suppress(OSError):
        return os.pread(descriptor, world.log_bytes, 0)
    return b""


def map_log(world: World) -> bool:
    for descriptor in _LOGS:
        with contextlib.suppress(OSError):
            address = system_call(9, 0, mmap.PAGESIZE, 1, 1, descriptor, 0)
            mark = world.log_mark.encode()
            return size_of(descriptor) > 0 and ctypes.string_at(address, len(mark)) == mark
    return False


def size_of_log(world: World) -> bool:
    """How much other jobs wrote there: by its length one job tells the next something."""
    return any(size_of(descriptor) > 0 for descriptor in _LOGS)


def end_of_log(world: World) -> bool:
    return any(os.lseek(descriptor, 0, os.SEEK_END) > 0 for descriptor in _LOGS)


def cpu_loop(world: World) -> bool:
    while True:
        pass


def sleep(world: World) -> bool:
    time.sleep(600)
    return False


def ignore_sigterm(world: World) -> bool:
    for number in set(signal.Signals) - {signal.SIGKILL, signal.SIGSTOP}:
        with contextlib.suppress(OSError, ValueError):
            signal.signal(number, signal.SIG_IGN)
    while True:
        pass


def outlive_parent(world: World) -> bool:
    """Ask to be left alone at the parent's end, leave its session, then go on."""
    succeeds(157, 1, 0, 0, 0, 0)
    with contextlib.suppress(OSError):
        os.setsid()
    while True:
        pass


def daemonize(world: World) -> bool:
    for _ in range(2):
        with contextlib.suppress(OSError):
            if os.fork():
                os._exit(0)
            os.setsid()
    outlive_parent(world)
    return False


def close_line(world: World) -> bool:
    """Let go of the host, then go on without it."""
    os.close(0)
    while True:
        pass


def oversize_result(world: World) -> bool:
    while True:
        os.write(0, bytes(1 << 16))


OVERDUE = (
    cpu_loop,
    sleep,
    ignore_sigterm,
    outlive_parent,
    daemonize,
    close_line,
    oversize_result,
)
"""These never end by themselves: what counts is whether they outlive the end of their template."""
