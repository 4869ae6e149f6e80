"""Which device a hospital trains on: what its owner asks for, tried out in a contained process.

cpu     the strict walls
cuda    a CUDA device behind weaker walls ("cuda" in `sandbox.seccomp`), else the vault does not start
auto    a CUDA device if a contained process can use it, else the processor
"""

from dataclasses import dataclass

from datasites.sandbox import offers
from datasites.sandbox.spec import Spec, cuda_paths, nvidia_devices, python_paths
from datasites.site import WantedDevice
from syft_code.errors import Unavailable
from syft_code.models.devices import Device

ADDRESS_SPACE_BYTES = 1 << 47
"""All of it: CUDA sets addresses aside for the memory of machine and device."""
BEGIN = "datasites.vault.worker.cuda_device:begin"
_TRY = "datasites.vault.worker.cuda_device:answer"
_LOG_BYTES = 1 << 20
_SHOWN = 200


@dataclass(frozen=True, slots=True)
class ChosenDevice:
    """A device, and why it is that one."""

    device: Device
    reason: str


def choose(wanted: WantedDevice) -> ChosenDevice:
    """What a vault trains on; raise `Unavailable` if its owner wants CUDA and there is none."""
    if wanted == "cpu":
        return ChosenDevice("cpu", "the hospital's entry says so")
    failure = cuda_failure()
    if not failure:
        return ChosenDevice("cuda", "a contained process can use it")
    if wanted == "cuda":
        raise Unavailable(
            f'device = "cuda" needs a CUDA device that a contained process can use, and {failure}: '
            'mend that, or set device = "cpu" or "auto" in the hospital\'s entry.'
        )
    return ChosenDevice("cpu", failure)


def cuda_failure() -> str:
    """Why a contained process can't use a CUDA device here; empty if it can."""
    if not nvidia_devices():
        return "this machine shows no NVIDIA device"
    said, words = offers.answer_of(_spec())
    return "" if said else f"the try failed ({words[:_SHOWN] or 'without a word'})"


def _spec() -> Spec:
    return Spec(
        mechanism=offers.mechanism(),
        profile="cuda",
        entry=_TRY,
        begin=BEGIN,
        readable=(*python_paths(), *cuda_paths()),
        memory_bytes=ADDRESS_SPACE_BYTES,
        log_bytes=_LOG_BYTES,
    )
