"""The patients of a simulated federation, one hospital at a time."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from federation.evaluation.encoded_pictures import EncodedPictures
from federation.evaluation.exact_metrics import HospitalCohorts, together
from syft_code.cohort import Cohort
from syft_code.recipes.architectures import Architecture
from syft_code.recipes.recipe import DataSpec, front


class HospitalData(Protocol):
    """Hospitals whose cohorts are made when they are asked for, and may be forgotten afterwards.

    A loader gives one, so that thousands of hospitals need the memory of one.
    """

    @property
    def spec(self) -> DataSpec:
        """What all hospitals' data look like."""
        ...

    @property
    def names(self) -> Sequence[str]:
        """The hospitals, in the roster's order."""
        ...

    @property
    def remarks(self) -> Sequence[str]:
        """What is to be known of the data before anybody trusts a figure."""
        ...

    def declared(self, name: str) -> int:
        """How many training patients a hospital declares: its weight."""
        ...

    def training(self, name: str) -> Cohort:
        """Its patients to train on."""
        ...

    def held_out(self, name: str) -> Cohort:
        """Its patients that no training sees; perhaps none."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True, repr=False, eq=False)
class InMemoryHospitals:
    """Hospitals that are all held in memory."""

    spec: DataSpec
    cohorts: Mapping[str, HospitalCohorts]
    remarks: tuple[str, ...] = ()

    @property
    def names(self) -> Sequence[str]:
        """As they were given."""
        return tuple(self.cohorts)

    def declared(self, name: str) -> int:
        """The true number: there is nobody to hide it from."""
        return self.cohorts[name].training.patients

    def training(self, name: str) -> Cohort:
        """Its training patients."""
        return self.cohorts[name].training

    def held_out(self, name: str) -> Cohort:
        """Its held-out patients."""
        return self.cohorts[name].held_out


def encoded(
    hospitals: HospitalData, model: Architecture, pictures: EncodedPictures
) -> HospitalData:
    """The same hospitals with what the front of a model says of each picture; all held in memory."""
    if not front(model):
        return hospitals
    cohorts = {
        name: HospitalCohorts(
            name=name,
            training=pictures.cohort(hospitals.training(name), model),
            held_out=pictures.cohort(hospitals.held_out(name), model),
        )
        for name in hospitals.names
    }
    return InMemoryHospitals(spec=hospitals.spec, cohorts=cohorts)


def only(hospitals: HospitalData, name: str) -> InMemoryHospitals:
    """One hospital by itself."""
    own = HospitalCohorts(
        name=name, training=hospitals.training(name), held_out=hospitals.held_out(name)
    )
    return InMemoryHospitals(spec=hospitals.spec, cohorts={name: own})


def pooled(hospitals: HospitalData, name: str = "pooled") -> InMemoryHospitals:
    """Everybody's patients in one place, as no federation ever has them."""
    training = together([hospitals.training(one) for one in hospitals.names])
    held_out = together([hospitals.held_out(one) for one in hospitals.names])
    one = HospitalCohorts(name=name, training=training, held_out=held_out)
    return InMemoryHospitals(spec=hospitals.spec, cohorts={name: one})
