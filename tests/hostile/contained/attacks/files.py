"""Reading what is somebody else's, writing anywhere."""

import contextlib
import os
from pathlib import Path

import numpy as np
import torch

from tests.hostile.contained.attacks.world import (
    SECRET_BYTES,
    World,
    read_raw,
    succeeds,
    system_call,
)

_DISK_BYTES, _PIECE = 8 << 20, 1 << 19


def read_root_only_file(world: World) -> bool:
    return world.is_secret(Path(world.canary).read_bytes())


def read_other_asset(world: World) -> bool:
    return world.is_secret(Path(world.asset).read_bytes())


def read_other_asset_memmap(world: World) -> bool:
    return world.is_secret(np.memmap(world.asset, np.uint8, "r").tobytes())


def read_other_asset_torch_from_file(world: World) -> bool:
    values = torch.from_file(world.asset, shared=False, size=SECRET_BYTES, dtype=torch.uint8)
    return world.is_secret(values.numpy().tobytes())


def list_other_assets_dir(world: World) -> bool:
    return Path(world.asset).name in os.listdir(Path(world.asset).parent)


def stat_other_asset(world: World) -> bool:
    return os.stat(world.asset).st_size > 0


def find_other_asset_by_access(world: World) -> bool:
    return os.access(world.asset, os.F_OK)


def find_other_asset_by_readlink(world: World) -> bool:
    """Another error tells that the file is there and no link."""
    try:
        os.readlink(world.asset)
    except OSError as problem:
        return problem.errno == 22
    return True


def write_outside_scratch(world: World) -> bool:
    target = Path(world.open_folder, "written")
    target.write_bytes(b"x")
    return target.exists()


def write_anywhere(world: World) -> bool:
    for folder in ("/", "/tmp", "/dev", "/dev/shm", "/var/tmp", "/run", ".", world.packages):
        target = Path(folder, f"consilium-hostile-{os.getpid()}")
        with contextlib.suppress(OSError):
            target.write_bytes(b"x")
            target.unlink()
            return True
    return False


def make_folder(world: World) -> bool:
    os.mkdir(f"{world.open_folder}/folder")
    return os.path.isdir(f"{world.open_folder}/folder")


def modify_asset(world: World) -> bool:
    with contextlib.suppress(OSError):
        return os.pwrite(world.handed, b"changed", 0) > 0
    with open(world.own_asset, "r+b") as file:
        return file.write(b"changed") > 0


def modify_asset_by_mapping(world: World) -> bool:
    """A shared mapping of the file that was handed over, made writable later."""
    address = system_call(9, 0, 4096, 1, 1, world.handed, 0)
    return succeeds(10, address, 4096, 3)


def truncate_chmod_asset(world: World) -> bool:
    with contextlib.suppress(OSError):
        os.ftruncate(world.handed, 0)
        return True
    with contextlib.suppress(OSError):
        os.truncate(world.asset, 1)
        return True
    os.chmod(world.asset, 0o777)
    return True


def chmod_handed_file(world: World) -> bool:
    os.fchmod(world.handed, 0o777)
    return True


def rename_asset(world: World) -> bool:
    os.rename(world.asset, f"{world.open_folder}/moved")
    return True


def delete_asset(world: World) -> bool:
    os.unlink(world.asset)
    return True


def symlink_trick(world: World) -> bool:
    link = Path(world.open_folder, "link")
    link.symlink_to(world.canary)
    return world.is_secret(link.read_bytes())


def hardlink_trick(world: World) -> bool:
    link = Path(world.open_folder, "hard")
    link.hardlink_to(world.asset)
    return world.is_secret(link.read_bytes())


def proc_self_root_cwd(world: World) -> bool:
    for start in (
        "/proc/self/root",
        f"/proc/{world.parent}/root",
        "/proc/1/root",
        "/proc/self/cwd",
    ):
        with contextlib.suppress(OSError):
            return world.is_secret(read_raw(start + world.canary))
    return False


def chroot_dotdot(world: World) -> bool:
    os.chroot(world.open_folder)
    for _ in range(20):
        os.chdir("..")
    return world.is_secret(Path(f".{world.canary}").read_bytes())


def dotdot_from_descriptors(world: World) -> bool:
    """A folder that is still open would be a way out of the view."""
    for descriptor in range(256):
        with contextlib.suppress(OSError):
            path = "../" * 20 + world.canary.lstrip("/")
            out = os.open(path, os.O_RDONLY, dir_fd=descriptor)
            return world.is_secret(os.read(out, SECRET_BYTES))
    return False


def persist_pth_in_env(world: World) -> bool:
    target = Path(world.packages, "hostile.pth")
    target.write_text("# runs at every start of Python\n")
    return target.exists()


def change_library(world: World) -> bool:
    with open(Path(world.packages, "module.py"), "a") as file:
        return file.write("# changed\n") > 0


def fill_disk(world: World) -> bool:
    for number in range(_DISK_BYTES // _PIECE):
        Path(world.open_folder, f"fill{number}").write_bytes(bytes(_PIECE))
    return True


def make_device(world: World) -> bool:
    path = f"{world.open_folder}/device"
    os.mknod(path, 0o020600, os.makedev(1, 5))  # /dev/zero under another name
    return os.path.exists(path)


def open_disk(world: World) -> bool:
    """The machine's devices: a disk, its messages, its hypervisor."""
    for device in ("/dev/vda", "/dev/sda", "/dev/kmsg", "/dev/kvm", "/dev/loop0", "/dev/fuse"):
        with contextlib.suppress(OSError):
            os.close(os.open(device, os.O_RDONLY | os.O_NONBLOCK))
            return True
    return False
