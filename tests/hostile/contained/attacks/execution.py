"""Running something else: a program, a process, code from outside."""

import contextlib
import ctypes
import mmap
import os
import pickle
import signal
import struct
import subprocess
import sys
from pathlib import Path

from tests.hostile.contained.attacks.world import (
    SECRET_BYTES,
    World,
    read_raw,
    succeeds,
    system_call,
)

SEVEN = 7
_EXIT = "import os; os._exit(7)"
_PYTHON = [sys.executable, "-I", "-S", "-c", _EXIT]


def _status(child: int) -> bool:
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == SEVEN


def _children_may_be_waited_for() -> None:
    with contextlib.suppress(OSError):
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)


def os_system(world: World) -> bool:
    _children_may_be_waited_for()
    return os.waitstatus_to_exitcode(os.system("exit 7")) == SEVEN


def subprocess_run(world: World) -> bool:
    _children_may_be_waited_for()
    return subprocess.run(_PYTHON, check=False).returncode == SEVEN


def posix_spawn(world: World) -> bool:
    _children_may_be_waited_for()
    return _status(os.posix_spawn(sys.executable, _PYTHON, {}))


def execve_python(world: World) -> bool:
    """It answers in this process's place."""
    answer = "import os; os.write(0, b'1')"
    os.execv(sys.executable, [sys.executable, "-I", "-S", "-c", answer])


def memfd_exec(world: World) -> bool:
    _children_may_be_waited_for()
    descriptor = os.memfd_create("program", 0)
    os.write(descriptor, _program())
    child = os.fork()
    if not child:
        with contextlib.suppress(OSError):
            empty = (ctypes.c_char_p * 1)(None)
            system_call(322, descriptor, b"", empty, empty, 0x1000)  # execveat
        os._exit(1)
    return _status(child)


def memfd_create(world: World) -> bool:
    return os.memfd_create("memory", 0) > 0


def _program() -> bytes:
    """The smallest file that Linux runs: exit(7)."""
    code = b"\xbf\x07\0\0\0\xb8\x3c\0\0\0\x0f\x05"
    base, size = 0x400000, 64 + 56 + len(code)
    head = b"\x7fELF\2\1\1" + bytes(9)
    head += struct.pack("<HHIQQQIHHHHHH", 2, 62, 1, base + 120, 64, 0, 0, 64, 56, 1, 0, 0, 0)
    return head + struct.pack("<IIQQQQQQ", 1, 5, 0, base, base, size, size, 4096) + code


def fork_child(world: World) -> bool:
    _children_may_be_waited_for()
    child = os.fork()
    if not child:
        os._exit(SEVEN)
    return _status(child)


def fork_by_number(world: World) -> bool:
    return _forks(57)


def clone_by_number(world: World) -> bool:
    return _forks(56, int(signal.SIGCHLD), 0, 0, 0, 0)


def clone3(world: World) -> bool:
    arguments = ctypes.create_string_buffer(struct.pack("<QQQQQQQQ", 0, 0, 0, 0, 17, 0, 0, 0))
    return _forks(435, arguments, 64)


def clone_as_libc_forks(world: World) -> bool:
    """With the very flags that the template's filter knows."""
    word = ctypes.c_int()
    return _forks(56, 0x01200011, 0, 0, ctypes.addressof(word), 0)


def clone_with_high_bits(world: World) -> bool:
    """A filter that looks at 32 bits of 64 takes this for something else."""
    return _forks(56, (1 << 32) | 0x11, 0, 0, 0, 0)


def _forks(number: int, *arguments: object) -> bool:
    _children_may_be_waited_for()
    child = system_call(number, *arguments)
    if child == 0:
        os._exit(SEVEN)
    return _status(child)


def thread_by_pthread(world: World) -> bool:
    """A thread in C, which Python knows nothing of."""
    libc = ctypes.CDLL(None)
    thread, getpid = ctypes.c_ulong(), ctypes.cast(libc.getpid, ctypes.c_void_p)
    return libc.pthread_create(ctypes.byref(thread), None, getpid, None) == 0


def subclasses_walk(world: World) -> bool:
    _children_may_be_waited_for()
    found = next(c for c in ().__class__.__base__.__subclasses__() if c.__name__ == "_wrap_close")
    return os.waitstatus_to_exitcode(found.__init__.__globals__["system"]("exit 7")) == SEVEN


def exec_eval_compile(world: World) -> bool:
    names: dict[str, bytes] = {}
    exec(compile(f"data = open({world.canary!r}, 'rb').read()", "x", "exec"), names)  # noqa: S102
    return world.is_secret(names["data"])


class _Payload:
    def __init__(self, path: str) -> None:
        self._path = path

    def __reduce__(self) -> tuple[object, ...]:
        return (read_raw, (self._path,))


def pickle_payload(world: World) -> bool:
    return world.is_secret(pickle.loads(pickle.dumps(_Payload(world.canary))))  # noqa: S301


def ctypes_raw_syscall(world: World) -> bool:
    return world.is_secret(read_raw(world.canary))


def machine_code(world: World) -> bool:
    """The same from code that was written a moment ago."""
    path, buffer = ctypes.create_string_buffer(world.canary.encode()), bytearray(SECRET_BYTES)
    target = (ctypes.c_char * SECRET_BYTES).from_buffer(buffer)
    code = (
        b"\x48\xbf" + struct.pack("<Q", ctypes.addressof(path))  # mov rdi, path
        + b"\x31\xf6\x31\xd2\xb8\x02\0\0\0\x0f\x05"  # open(path, 0, 0)
        + b"\x89\xc7\x48\xbe" + struct.pack("<Q", ctypes.addressof(target))  # mov rsi, buffer
        + b"\xba" + struct.pack("<I", SECRET_BYTES) + b"\x31\xc0\x0f\x05\xc3"  # read(fd, buffer, 32)
    )  # fmt: skip
    return run_code(code) == SECRET_BYTES and world.is_secret(bytes(buffer))


def run_code(code: bytes) -> int:
    """What a piece of machine code leaves in eax."""
    page = mmap.mmap(-1, mmap.PAGESIZE, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    page.write(code)
    address = ctypes.addressof(ctypes.c_char.from_buffer(page))
    return int(ctypes.CFUNCTYPE(ctypes.c_int)(address)())


def frame_walk(world: World) -> bool:
    frame = sys._getframe()
    while frame.f_back:
        frame = frame.f_back
    return world.is_secret(frame.f_builtins["open"](world.canary, "rb").read())


def open_by_handle_at(world: World) -> bool:
    """By a file's number, past every folder on the way."""
    handle = ctypes.create_string_buffer(struct.pack("<Ii", 128, 0) + bytes(128))
    mount = ctypes.c_int()
    system_call(303, -100, world.canary.encode(), handle, ctypes.byref(mount), 0)
    folder = os.open(str(Path(world.canary).parent), os.O_RDONLY)
    descriptor = system_call(304, folder, handle, os.O_RDONLY)
    return world.is_secret(os.read(descriptor, SECRET_BYTES))


def openat2(world: World) -> bool:
    how = ctypes.create_string_buffer(struct.pack("<QQQ", os.O_RDONLY, 0, 0))
    descriptor = system_call(437, -100, world.canary.encode(), how, 24)
    return world.is_secret(os.read(descriptor, SECRET_BYTES))


def open_tree(world: World) -> bool:
    """A copy of the machine's file system by the calls that come after mount(2)."""
    return succeeds(428, -100, b"/", 1)


def creat(world: World) -> bool:
    return succeeds(85, f"{world.open_folder}/created".encode(), 0o600)
