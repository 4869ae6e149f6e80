"""What this machine offers to contain a process, found out by doing it, and what is used of it."""

import contextlib
import functools
import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from typing import BinaryIO

from datasites.sandbox import landlock, system_calls
from datasites.sandbox.spec import Mechanism, Spec, python_paths
from datasites.sandbox.template import Template
from syft_code.errors import ConsiliumError, Unavailable

UNSAFE = "CONSILIUM_UNCONTAINED"
"""The variable that allows a hospital to train without walls, where a machine offers none."""
UNSAFE_WORD = "patients-may-be-read"
NO_WALLS = (
    "This machine offers no way to contain a training: bubblewrap, namespaces and Landlock all failed "
    "(`consilium doctor` says why). Install bubblewrap or use a Linux of 5.13 or later on x86-64; or, "
    f"where all that runs is known to be harmless, set {UNSAFE}={UNSAFE_WORD}."
)
_ENTRY = "datasites.sandbox.offers:answer"
_BYTES = 1 << 30
SILENCE_S = 120.0
"""A tried process loads its libraries, perhaps PyTorch and CUDA; one that is silent for longer never speaks."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """One mechanism on this machine: whether it works, else why not and what mends it."""

    mechanism: Mechanism
    works: bool
    reason: str = ""
    remedy: str = ""


_REMEDIES: dict[Mechanism, str] = {
    "bubblewrap": "apt install bubblewrap",
    "namespaces": "sysctl -w kernel.unprivileged_userns_clone=1 kernel.apparmor_restrict_"
    "unprivileged_userns=0, or run as root",
    "landlock": "Linux 5.13 or later with `landlock` in the list lsm=",
}


CONTAINING: tuple[Mechanism, ...] = ("bubblewrap", "namespaces", "landlock")
"""The strongest first."""


def offers() -> tuple[Offer, ...]:
    """Each mechanism that contains, tried once in this process."""
    return tuple(map(_tried, CONTAINING))


def mechanism() -> Mechanism:
    """The strongest that works here; raise `Unavailable` if none does and nobody allowed that."""
    for one in CONTAINING:
        if _tried(one).works:
            return one
    if os.environ.get(UNSAFE) == UNSAFE_WORD:
        return "none"
    raise Unavailable(NO_WALLS)


def answer(jobs: BinaryIO, answers: BinaryIO, files: Sequence[int]) -> None:
    """What a tried process does: show that its walls stand, then say so."""
    try:
        os.close(os.open("/etc/passwd", os.O_RDONLY))
    except OSError:
        answers.write(b"contained")


@functools.cache
def _tried(one: Mechanism) -> Offer:
    reason = _failure(one)
    remedy = "" if not reason else _REMEDIES[one]
    return Offer(mechanism=one, works=not reason, reason=reason, remedy=remedy)


def _failure(one: Mechanism) -> str:
    """Why a mechanism does not contain here, empty if it does."""
    if not system_calls.supported():
        return "the filters know Linux on x86-64 alone"
    if one == "landlock" and not landlock.version():
        return "this kernel has no Landlock"
    spec = Spec(
        mechanism=one,
        profile="strict",
        entry=_ENTRY,
        readable=python_paths(),
        memory_bytes=_BYTES,
        log_bytes=1 << 20,
    )
    try:
        said, words = answer_of(spec)
    except (ConsiliumError, OSError) as problem:
        return str(problem)
    return "" if said == b"contained" else words or "the process inside was not contained"


def answer_of(spec: Spec) -> tuple[bytes, str]:
    """What a contained process answers to a job that hands it nothing, and its last printed line.

    Raises:
        OSError: if it can't be started.
        Unavailable: if the mechanism's program is missing.
    """
    with tempfile.TemporaryFile() as log:
        template = Template(spec, log, silence_s=SILENCE_S)
        late = ""
        try:
            worker = template.worker()
            with contextlib.closing(worker):
                worker.ready()
                worker.hand_over(None)
                said = worker.answers.read()
        except TimeoutError:
            said, late = b"", f"it said nothing for {SILENCE_S:g} s"
        except (OSError, EOFError):
            said = b""
        finally:
            template.kill()
        log.seek(0)
        words = log.read().decode(errors="replace").strip().rsplit("\n", 1)[-1]
    return said, late or words
