"""The kernel's other doors."""

import contextlib
import ctypes
import os
import resource
import struct
from pathlib import Path

from datasites.sandbox.inside import MOST_FILES
from tests.hostile.contained.attacks.execution import run_code
from tests.hostile.contained.attacks.world import World, read_raw, succeeds, system_call

_PAGE = 4096


def unshare_mount(world: World) -> bool:
    """Build a view of its own."""
    return succeeds(272, 0x1000_0000) or succeeds(272, 0x0002_0000)


def unshare_after_dumpable(world: World) -> bool:
    succeeds(157, 4, 1, 0, 0, 0)
    return succeeds(272, 0x1000_0000 | 0x4000_0000)


def mount(world: World) -> bool:
    return succeeds(165, b"none", world.open_folder.encode(), b"tmpfs", 0, None) and succeeds(
        166, world.open_folder.encode(), 2
    )


def enter_namespace(world: World) -> bool:
    return succeeds(308, os.open(f"/proc/{world.parent}/ns/net", os.O_RDONLY), 0)


def bpf(world: World) -> bool:
    attributes = ctypes.create_string_buffer(struct.pack("<IIII", 2, 4, 4, 1) + bytes(112))
    return system_call(321, 0, attributes, 128) > 0


def perf(world: World) -> bool:
    attributes = ctypes.create_string_buffer(struct.pack("<IIQQQQQ", 1, 128, 0, 0, 0, 0, 1), 128)
    return system_call(298, attributes, 0, -1, -1, 0) > 0


def userfaultfd(world: World) -> bool:
    return system_call(323, 1) > 0


def keyring(world: World) -> bool:
    """A place where one job leaves something for the next."""
    return system_call(248, b"user", b"hostile", b"kept", 4, -5) > 0


def sysv_shm(world: World) -> bool:
    segment = system_call(29, 0, _PAGE, 0o1600)
    system_call(31, segment, 0, None)
    return True


def sysv_queue(world: World) -> bool:
    queue = system_call(68, 0, 0o1600)
    system_call(71, queue, 0, None)
    return True


def sysv_semaphore(world: World) -> bool:
    semaphore = system_call(64, 0, 1, 0o1600)
    system_call(66, semaphore, 0, 0, 0)
    return True


def posix_queue(world: World) -> bool:
    name = f"hostile{os.getpid()}".encode()
    system_call(240, name, os.O_CREAT | os.O_RDWR, 0o600, None)
    system_call(241, name)
    return True


def shm_read(world: World) -> bool:
    return world.is_secret(read_raw(world.shared_memory))


def shm_drop(world: World) -> bool:
    path = Path(f"{world.shared_memory}-dropped")
    path.write_bytes(b"x")
    return path.exists()


def setrlimit_raise(world: World) -> bool:
    endless = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
    resource.setrlimit(resource.RLIMIT_AS, endless)
    return resource.getrlimit(resource.RLIMIT_AS) == endless


def setrlimit_files(world: World) -> bool:
    resource.setrlimit(resource.RLIMIT_NOFILE, (2 * MOST_FILES, 2 * MOST_FILES))
    return True


def personality(world: World) -> bool:
    """Addresses that are no secret any more."""
    return succeeds(135, 0x0040000)


def undo_no_new_privs(world: World) -> bool:
    """Whether prctl can be called at all."""
    return succeeds(157, 38, 1, 0, 0, 0)


def int80(world: World) -> bool:
    """The i386 entry: 20 is getpid there and writev here."""
    return run_code(b"\xb8\x14\0\0\0\xcd\x80\xc3") == os.getpid()


def int80_opens(world: World) -> bool:
    """The i386 entry's number 5 is open; its addresses are of 32 bits."""
    low = system_call(9, 0, _PAGE, 3, 0x22 | 0x40, -1, 0)
    path = world.canary.encode() + b"\0"
    ctypes.memmove(low, path, len(path))
    code = b"\xbb" + struct.pack("<I", low) + b"\x31\xc9\x31\xd2\xb8\x05\0\0\0\xcd\x80\xc3"
    return run_code(b"\x53" + code[:-1] + b"\x5b\xc3") >= 0


def x32(world: World) -> bool:
    return system_call(0x4000_0000 + 39) == os.getpid()


def relax_filter(world: World) -> bool:
    """A filter that allows everything, after which a door should be open."""
    line = ctypes.create_string_buffer(struct.pack("<HBBI", 6, 0, 0, 0x7FFF0000))
    program = ctypes.create_string_buffer(struct.pack("<HxxxxxxQ", 1, ctypes.addressof(line)))
    with contextlib.suppress(OSError):
        system_call(157, 38, 1, 0, 0, 0)
    with contextlib.suppress(OSError):
        system_call(317, 1, 0, program)
    return world.is_secret(read_raw(world.canary))


def landlock_again(world: World) -> bool:
    """More rules, which must not be fewer."""
    return system_call(444, None, 0, 1) > 0


def read_kernel_log(world: World) -> bool:
    buffer = ctypes.create_string_buffer(_PAGE)
    return system_call(103, 3, buffer, _PAGE) > 0


def write_kernel_setting(world: World) -> bool:
    os.close(os.open("/proc/sys/kernel/core_pattern", os.O_WRONLY))
    return True


def read_host_name(world: World) -> bool:
    return os.uname().nodename == world.host_name


def count_the_machines_processes(world: World) -> bool:
    """And its load and free memory, which other jobs change."""
    information = ctypes.create_string_buffer(128)
    system_call(99, information)
    return struct.unpack_from("<H", information.raw, 80)[0] > 0


def watch_files(world: World) -> bool:
    descriptor = system_call(294, 0)
    return system_call(254, descriptor, world.open_folder.encode(), 0xFFF) > 0


def become_root(world: World) -> bool:
    os.setresuid(0, 0, 0)
    return os.geteuid() == 0
