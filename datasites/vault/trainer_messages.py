"""What the vault and its training process say to each other, apart from torch."""

from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field

from datasites import wire
from syft_code import canonical
from syft_code.plans.messages import Purpose


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One round or evaluation; the body is the round's broadcast (float32, little endian).

    What the hospital keeps of the plan between rounds (float64) comes after it. `cohort_sha256` is
    of the bytes that must stand at `cohort_path`.
    """

    __pydantic_config__ = canonical.STRICT
    plan: str
    hospital: str
    purpose: Purpose
    round: int
    cohort_path: str
    cohort_sha256: str
    threads: int
    kind: Literal["job"] = "job"


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """So many steps are done."""

    __pydantic_config__ = canonical.STRICT
    step: int
    kind: Literal["step"] = "step"


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """The body is the update of the trained part, or the noised sums (float64, little endian)."""

    __pydantic_config__ = canonical.STRICT
    kind: Literal["result"] = "result"


Answer = Annotated[Step | Result | wire.Failure, Field(discriminator="kind")]
