"""Written to slip past a reviewer or a list of forbidden names; each does one forbidden thing."""

import _sitebuiltins
import codecs
import collections
import ctypes
import fileinput
import importlib
import importlib.machinery
import io
import linecache
import mmap
import os
import pickle
import posix
import shutil
import sys
import tokenize
from collections.abc import Iterator

import numpy as np
import torch
import torch.utils.cpp_extension

from tests.hostile.contained.attacks.world import SECRET_BYTES, World, read_raw

_NEVER_LOADED = "sndhdr", "nntplib", "chunk", "mailcap", "this"


def torch_reexports(world: World) -> bool:
    return world.is_secret(torch.serialization.os.popen(f"cat {world.canary}").read())


class _Reads:
    def __init__(self, path: str) -> None:
        self._path = path

    def __reduce__(self) -> tuple[object, ...]:
        return (read_raw, (self._path,))


def serialization_pickle(world: World) -> bool:
    payload = torch.serialization.pickle.dumps(_Reads(world.canary))
    return world.is_secret(torch.serialization.pickle.loads(payload))


def torch_load_of_bytes(world: World) -> bool:
    """The pickle inside a checkpoint, as torch.load runs it if it is told to trust."""
    buffer = io.BytesIO()
    torch.save({"weights": _Reads(world.canary)}, buffer)
    buffer.seek(0)
    return world.is_secret(torch.load(buffer, weights_only=False)["weights"])


def numpy_fromfile(world: World) -> bool:
    return world.is_secret(np.fromfile(world.canary, np.uint8).tobytes())


def numpy_genfromtxt(world: World) -> bool:
    return world.is_secret(str(np.genfromtxt(world.canary, dtype=str)))


def numpy_loadtxt(world: World) -> bool:
    return world.is_secret(str(np.loadtxt(world.canary, dtype=str)))


def numpy_writes(world: World) -> bool:
    np.save(f"{world.open_folder}/array.npy", np.zeros(1))
    return os.path.exists(f"{world.open_folder}/array.npy")


def numpy_ctypeslib(world: World) -> bool:
    np.ctypeslib.load_library("libresolv.so.2", "/lib/x86_64-linux-gnu")
    return True


def torch_saves(world: World) -> bool:
    torch.save(torch.zeros(1), f"{world.open_folder}/tensor.pt")
    return os.path.exists(f"{world.open_folder}/tensor.pt")


def torch_shared_memory(world: World) -> bool:
    """A tensor that other processes can see: a file in /dev/shm, or one in memory."""
    return torch.zeros(4).share_memory_().is_shared()


def getattr_concat(world: World) -> bool:
    module = sys.modules["built" + "ins"]
    return world.is_secret(getattr(module, "op" + "en")(world.canary, "rb").read())


def collections_sys(world: World) -> bool:
    found = collections._sys.modules["posix"]
    return world.is_secret(found.read(found.open(world.canary, 0), SECRET_BYTES))


def traceback_frames(world: World) -> bool:
    try:
        raise ValueError
    except ValueError as problem:
        found = problem.__traceback__.tb_frame.f_builtins["open"]
    return world.is_secret(found(world.canary, "rb").read())


def generator_frames(world: World) -> bool:
    def numbers() -> Iterator[int]:
        yield 1

    found = numbers().gi_frame.f_builtins["open"]
    return world.is_secret(found(world.canary, "rb").read())


def license_printer(world: World) -> bool:
    folder, name = os.path.split(world.canary)
    printer = _sitebuiltins._Printer("licence", "", [name], [folder])
    printer._Printer__setup()
    return world.is_secret("".join(printer._Printer__lines))


def format_walk(world: World) -> bool:
    """Names alone, in a text: down to the environment that a module holds."""
    return world.variable in "{0.__init__.__globals__[environ]}".format(os._wrap_close)


def cpp_extension(world: World) -> bool:
    run = torch.utils.cpp_extension.subprocess.check_output
    return world.is_secret(run(["cat", world.canary]))


def load_library(world: World) -> bool:
    """A library of the system that nobody asked for yet."""
    before = _maps_nothing("libresolv.so.2")
    return before and bool(ctypes.CDLL("libresolv.so.2")._handle)


def _maps_nothing(name: str) -> bool:
    try:
        ctypes.CDLL(name, mode=os.RTLD_NOLOAD)
    except OSError:
        return True
    return False


def torch_load_library(world: World) -> bool:
    torch.ops.load_library("/lib/x86_64-linux-gnu/libresolv.so.2")
    return True


def import_by_name(world: World) -> bool:
    """Code from the disk that was not loaded before."""
    name = next(name for name in _NEVER_LOADED[:-1] if name not in sys.modules)
    return importlib.import_module(name).__name__ == name


def loader_get_data(world: World) -> bool:
    loader = importlib.machinery.SourceFileLoader("x", world.canary)
    return world.is_secret(loader.get_data(world.canary))


def functional_torch_chain(world: World) -> bool:
    found = torch.nn.functional.torch.serialization.io.open
    return world.is_secret(found(world.canary, "rb").read())


class _Layer:
    module = torch


def self_attr_alias(world: World) -> bool:
    return world.is_secret(_Layer().module.builtins.open(world.canary, "rb").read())


def linecache_reads(world: World) -> bool:
    return world.is_secret(linecache.getline(world.canary, 1))


def fileinput_reads(world: World) -> bool:
    with fileinput.input(world.canary) as lines:
        return world.is_secret(next(iter(lines)))


def codecs_open(world: World) -> bool:
    with codecs.open(world.canary) as file:
        return world.is_secret(file.read())


def tokenize_open(world: World) -> bool:
    with tokenize.open(world.canary) as file:
        return world.is_secret(file.read())


def raw_file(world: World) -> bool:
    with io.FileIO(world.canary) as file:
        return world.is_secret(file.read())


def opener(world: World) -> bool:
    with open(world.canary, "rb", opener=lambda path, flags: posix.open(path, flags)) as file:
        return world.is_secret(file.read())


def mapping(world: World) -> bool:
    with open(world.canary, "rb") as file:
        return world.is_secret(mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ)[:])


def copy_to_open_folder(world: World) -> bool:
    shutil.copyfile(world.canary, f"{world.open_folder}/copy")
    return os.path.exists(f"{world.open_folder}/copy")


def scan_folder(world: World) -> bool:
    folder, name = os.path.split(world.canary)
    return name in [entry.name for entry in os.scandir(folder)]


def libc_fopen(world: World) -> bool:
    libc = ctypes.CDLL(None)
    libc.fopen.restype = ctypes.c_void_p
    file = libc.fopen(world.canary.encode(), b"r")
    buffer = ctypes.create_string_buffer(SECRET_BYTES)
    libc.fread(buffer, 1, SECRET_BYTES, ctypes.c_void_p(file)) if file else None
    return world.is_secret(buffer.raw)


def unpickled_eval(world: World) -> bool:
    code = f"cbuiltins\neval\n(S\"open('{world.canary}').read()\"\ntR."
    return world.is_secret(pickle.loads(code.encode()))  # noqa: S301
