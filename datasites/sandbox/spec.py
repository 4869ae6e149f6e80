"""What a contained process is told at its start; plain JSON, since it is read before any library."""

import glob
import json
import os
import re
import sys
import sysconfig
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

Mechanism = Literal["bubblewrap", "namespaces", "landlock", "none"]
Profile = Literal["strict", "reader", "ranks", "cuda"]
_SYSTEM = ("/lib", "/lib64", "/usr/lib", "/usr/lib64", "/usr/local/lib", "/etc/ld.so.cache")
_PROCESSOR = (
    "/proc/cpuinfo",
    "/sys/devices/system/cpu/possible",
    "/sys/devices/system/cpu/present",
)
"""Without them torch takes the processor for one without vectors, and is slower."""
_DEVICES = ("/dev/null", "/dev/zero", "/dev/urandom", "/dev/random")
_NVIDIA = re.compile("/dev/nvidia(ctl|-uvm|[0-9]+)")
"""What a computation opens; not the nodes for displays, for tools and for changing how a card is shared."""
_NVIDIA_FACTS = ("/proc/driver/nvidia", "/proc/devices")
CODE = Path(__file__).parents[2]
"""The folder on Python's path that our packages stand in."""
_PACKAGES = ("datasites", "policies", "syft_code")


@dataclass(frozen=True, slots=True, kw_only=True)
class Spec:
    """`entry`, `prepare` and `begin` are `module:function`: what a worker runs, what its template runs
    first, what a worker runs before its filter stands (to start threads, which it can't later).

    Units: `memory_bytes` bounds the address space, `log_bytes` the file that standard error is.
    """

    mechanism: Mechanism
    profile: Profile
    entry: str
    readable: tuple[str, ...]
    memory_bytes: int
    log_bytes: int
    prepare: str = ""
    begin: str = ""

    def to_json(self) -> str:
        """One argument of a command."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> "Spec":
        """What `to_json` wrote."""
        found = json.loads(text)
        return cls(**(found | {"readable": tuple(found["readable"])}))


def python_paths() -> tuple[str, ...]:
    """What Python needs to import and to run: its libraries, ours, the system's, four devices, what the processor is.

    Of this repository the packages of a hospital alone: a state folder may lie beside them.
    """
    wanted = [
        *(
            f"{prefix}/{part}"
            for prefix in (sys.prefix, sys.base_prefix)
            for part in ("bin", "lib")
        ),
        *(f"{sys.prefix}/pyvenv.cfg", os.path.realpath(sys.executable)),
        *(sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")),
        *(str(CODE / package) for package in _PACKAGES),
        *_SYSTEM,
        *_DEVICES,
        *_PROCESSOR,
    ]
    return tuple(dict.fromkeys(path for path in wanted if os.path.exists(path)))


def nvidia_devices() -> tuple[str, ...]:
    """The nodes of NVIDIA's driver on this machine that a computation needs."""
    return tuple(sorted(filter(is_nvidia_device, glob.glob("/dev/*"))))


def is_nvidia_device(path: str) -> bool:
    """Whether a computation on a CUDA device opens this node.

    >>> is_nvidia_device("/dev/nvidia0"), is_nvidia_device("/dev/nvidia-modeset")
    (True, False)
    """
    return bool(_NVIDIA.fullmatch(path))


def cuda_paths() -> tuple[str, ...]:
    """What a process needs to use a CUDA device, to write to as well: its nodes; and what its driver says."""
    return (*nvidia_devices(), *(path for path in _NVIDIA_FACTS if os.path.exists(path)))
