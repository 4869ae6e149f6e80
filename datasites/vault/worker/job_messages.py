"""What the vault and its training process say to each other, apart from torch."""

from typing import Annotated, Literal

from pydantic import Field

from datasites.protocol import vault_api
from syft_code import canonical
from syft_code.models.devices import Device, Precision
from syft_code.plans.messages import Purpose


@canonical.message
class TrainingJob:
    """One round or evaluation; the body is the round's broadcast (float32, little endian).

    What the hospital keeps of the plan between rounds (float64) comes after it. `cohort_sha256` is
    of the bytes of the file that comes with the job; this is process number `rank` of `processes`.
    A training computes on `device` in `precision`, an evaluation on the processor.
    """

    plan: str
    hospital: str
    purpose: Purpose
    round: int
    cohort_sha256: str
    threads: int
    processes: int = 1
    rank: int = 0
    device: Device = "cpu"
    precision: Precision = "float32"
    kind: Literal["job"] = "job"


@canonical.message
class EncodingJob:
    """What layer number `place` of a plan's front says of each picture of a cohort; its body is the layer's file.

    The cohort that comes with it is the vault's own where the layer looks at pictures, else what the layers
    before made of it; it has so many `pictures`, which the vault has counted.
    """

    plan: str
    place: int
    cohort_sha256: str
    pictures: int
    kind: Literal["encoding"] = "encoding"


Job = Annotated[TrainingJob | EncodingJob, Field(discriminator="kind")]


@canonical.message
class StepDone:
    """So many steps, or pictures, are done."""

    step: int
    kind: Literal["step"] = "step"


@canonical.message
class JobResult:
    """The body is the update of the trained part, or the noised sums (float64, little endian).

    Of an encoding it is the pictures' features (float32, little endian).
    """

    kind: Literal["result"] = "result"


JobReply = Annotated[StepDone | JobResult | vault_api.Failure, Field(discriminator="kind")]
