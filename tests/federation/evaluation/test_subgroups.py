"""A group is who a fact names: by words, by thirds of a public range, without those of whom it is unknown."""

from dataclasses import replace

import numpy as np
import pytest

from federation.evaluation import subgroups
from syft_code.cohort import Cohort
from tests.shapes import SKIN

SPEC = replace(SKIN, facts=("age", "age?", "sex=f", "sex=m"))


def cohort(facts: list[list[float]], slices_each: int = 1) -> Cohort:
    patients = len(facts)
    slices = patients * slices_each
    return Cohort(
        images=np.zeros((slices, 3, 17, 22), np.uint8),
        labels=np.zeros(slices, np.uint8),
        patient=np.repeat(np.arange(patients, dtype=np.int32), slices_each),
        facts=np.repeat(np.array(facts, np.float32), slices_each, axis=0),
    )


@pytest.mark.parametrize("slices_each", [1, 3])
def test_words_and_thirds_are_groups_and_the_unknown_belong_to_none(slices_each: int) -> None:
    young, middle, unknown = [-0.9, 0, 1, 0], [0.0, 0, 0, 1], [0.0, 1, 0, 0]
    people = cohort([young] * 20 + [middle] * 25 + [unknown] * 30, slices_each)
    sizes = {name: group.patients for name, group in subgroups.of(people, SPEC).items()}
    assert sizes == {"age, lower third": 20, "age, middle third": 25, "sex=f": 20, "sex=m": 25}


def test_a_small_group_is_left_out_and_without_facts_there_is_none() -> None:
    assert subgroups.of(cohort([[0.5, 0, 1, 0]] * 19), SPEC) == {}
    people = cohort([[]] * 40)
    assert subgroups.of(people, SKIN) == {}


def test_groups_of_a_number_touch_and_do_not_overlap() -> None:
    values = np.linspace(-1.5, 1.5, 601)
    people = cohort([[value, 0, 0, 0] for value in values])
    groups = subgroups.of(people, SPEC)
    assert sum(group.patients for group in groups.values()) == 601
