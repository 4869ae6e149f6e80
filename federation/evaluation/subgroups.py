"""Patients by what the facts say of them: whom a model serves worse than others.

A word of a category (`sex=female`) is a group, and so is each third of a number's coded range (`age,
lower third`). A patient whose fact is missing is in none of its groups. Facts are those of a patient's
first slice.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from syft_code.cohort import Cohort
from syft_code.recipes.recipe import DataSpec

LEAST_PATIENTS = 20
"""A smaller group is left out: its figures would say little."""
THIRDS = (("lower third", -np.inf, -1 / 3), ("middle third", -1 / 3, 1 / 3), ("upper third", 1 / 3, np.inf))  # fmt: skip
"""Of numbers coded to -1..1, by public ranges."""
_MISSING = "?"


def of(cohort: Cohort, data: DataSpec) -> dict[str, Cohort]:
    """The groups of a cohort that are large enough, each as a cohort of its own."""
    return {
        name: cohort.select(members)
        for name, members in _groups(cohort, data)
        if int(members.sum()) >= LEAST_PATIENTS
    }


def fact(group: str) -> str:
    """The fact that a group's name is of.

    >>> fact("sex=female"), fact("age, lower third")
    ('sex', 'age')
    """
    return group.split("=")[0].split(", ")[0]


def _groups(cohort: Cohort, data: DataSpec) -> Iterator[tuple[str, NDArray[np.bool_]]]:
    _, first = np.unique(cohort.patient, return_index=True)
    facts = dict(zip(data.facts, cohort.facts[first].T, strict=True))
    for name, values in facts.items():
        if name.endswith(_MISSING):
            continue
        if "=" in name:
            yield name, values > 0
            continue
        known = facts.get(name + _MISSING, np.zeros(len(values))) == 0
        for third, least, below in THIRDS:
            yield f"{name}, {third}", known & (values >= least) & (values < below)
