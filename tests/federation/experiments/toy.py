"""A study so small that a whole experiment takes seconds; and its command, for processes to start.

python -m tests.federation.experiments.toy run FILE.toml --out FOLDER
"""

import time
from collections.abc import Mapping

import numpy as np

from federation.evaluation.exact_metrics import HospitalCohorts
from federation.simulation.hospital_data import InMemoryHospitals
from syft_code.cohort import Cohort
from syft_code.errors import InvalidInput
from syft_code.recipes.recipe import DataSpec

SPEC = DataSpec(
    kind="table",
    task="classification",
    channels=(),
    height_px=0,
    width_px=0,
    classes=("healthy", "ill"),
    patient_unit="patient",
    stand_in=True,
    facts=("one", "two", "three"),
    positive="ill",
)
TOML = """
name = "toy"
seeds = [0, 1]
epsilons = ["none", 8]
evaluate_every = 2
[plan]
rounds = 4
sharing = { bound = 1024.0 }
recipe = { model = { kind = "layers", layers = [{ kind = "linear", features = 3 }] }, loss = { kind = "cross_entropy" } }
dp_sgd = { sample_rate = 0.5, steps = 2, max_grad_norm = 1.0 }
optimizer = { learning_rate = 0.3 }
[[study]]
name = "toy"
options = { hospitals = 3 }
[[algorithm]]
name = "SCAFFOLD"
plan = { algorithm = { kind = "scaffold" } }
[[algorithm]]
name = "FedAdam"
plan = { algorithm = { kind = "fedadam", learning_rate = 0.05 }, averaging = 0.5 }
"""

REMARK = "hospital-1: All [of] it is drawn."


class Slow(InMemoryHospitals):
    """Takes its time to find a cohort, so that a test can interrupt it."""

    __slots__ = ()

    def training(self, name: str) -> Cohort:
        time.sleep(1.0)
        return InMemoryHospitals.training(self, name)


def load(
    study: str, *, data: str, split: str, seed: int, options: Mapping[str, object]
) -> InMemoryHospitals:
    """Hospitals of 20, 30, ... patients; which class one is of can be learned from the facts."""
    if study != "toy":
        raise InvalidInput(f"There is no study {study!r}.")
    count = int(str(options.get("hospitals", 3)))
    cohorts = {
        f"hospital-{n}": HospitalCohorts(
            name=f"hospital-{n}",
            training=cohort(10 + 10 * n, [seed, n, 0]),
            held_out=cohort(20, [seed, n, 1]),
        )
        for n in range(1, count + 1)
    }
    return InMemoryHospitals(spec=SPEC, cohorts=cohorts, remarks=(REMARK,))


def load_slowly(
    study: str, *, data: str, split: str, seed: int, options: Mapping[str, object]
) -> InMemoryHospitals:
    """The same patients, each time a little later."""
    found = load(study, data=data, split=split, seed=seed, options=options)
    return Slow(spec=found.spec, cohorts=found.cohorts, remarks=found.remarks)


def cohort(patients: int, seed: list[int]) -> Cohort:
    """Drawn patients, one row each."""
    random = np.random.default_rng(seed)
    labels = random.integers(0, 2, patients).astype(np.uint8)
    facts = random.standard_normal((patients, 3)) + labels[:, None]
    return Cohort(
        images=np.zeros((patients, 0, 0, 0), np.uint8),
        labels=labels,
        patient=np.arange(patients, dtype=np.int32),
        facts=facts.astype(np.float32),
    )
