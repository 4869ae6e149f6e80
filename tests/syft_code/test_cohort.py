"""Patients in memory, with facts beside their pictures or without."""

import numpy as np
import pytest

from syft_code.cohort import Cohort
from syft_code.errors import InvalidData


def cohort(facts: np.ndarray | None = None) -> Cohort:
    """Three patients of four slices."""
    fields = {
        "images": np.arange(4, dtype=np.uint8).reshape(4, 1, 1, 1),
        "labels": np.array([0, 0, 1, 2], dtype=np.uint8),
        "patient": np.array([0, 0, 1, 2], dtype=np.int32),
    }
    return Cohort(**fields) if facts is None else Cohort(**fields, facts=facts)


def test_without_facts_every_slice_has_an_empty_row() -> None:
    assert cohort().facts.shape == (4, 0) and cohort().facts.dtype == np.float32
    nobody = Cohort(
        images=np.zeros((0, 3, 2, 2), np.uint8),
        labels=np.zeros(0, np.uint8),
        patient=np.zeros(0, np.int32),
    )
    assert nobody.facts.shape == (0, 0) and nobody.patients == 0


def test_facts_go_with_their_patients() -> None:
    facts = np.arange(8, dtype=np.float32).reshape(4, 2)
    chosen = cohort(facts).select(np.array([True, False, True]))
    assert chosen.facts.tolist() == [[0, 1], [2, 3], [6, 7]]
    assert chosen.patient.tolist() == [0, 0, 1] and chosen.labels.tolist() == [0, 0, 2]
    assert chosen.select(np.array([False, False])).facts.shape == (0, 2)


@pytest.mark.parametrize(
    "facts",
    [
        np.zeros((3, 2), np.float32),
        np.zeros(4, np.float32),
        np.zeros((4, 2), np.float64),
        np.full((4, 2), np.nan, np.float32),
        np.full((4, 2), np.inf, np.float32),
    ],
)
def test_facts_that_are_not_one_finite_row_a_slice_are_refused(facts: np.ndarray) -> None:
    with pytest.raises(InvalidData, match="one row of facts"):
        cohort(facts)
