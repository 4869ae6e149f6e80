"""Hospitals played from one data set: who goes where, and that they differ as they should."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from datasites.data.folders.reading import Reading
from datasites.data.readers.images import ham10000
from datasites.data.readers.volumes.brats import spec as brats_spec
from datasites.demo import partitioners
from syft_code.cohort import Cohort
from syft_code.errors import InvalidData

Parts = list[np.ndarray]


def skin(labels: list[int], *, ages: list[float] | None = None, site: str = "") -> Reading:
    """One picture a patient; an age that is NaN is missing."""
    count = len(labels)
    shade = np.random.default_rng(0).permutation(count).astype(np.float16)
    known = np.array(ages if ages is not None else [0.0] * count)
    facts = np.stack([np.nan_to_num(known), np.isnan(known)], axis=1).astype(np.float32)
    return Reading(
        cohort=Cohort(
            images=np.ascontiguousarray(np.broadcast_to(shade[:, None, None, None], (count, 3, 2, 2))),
            labels=np.array(labels, dtype=np.uint8),
            patient=np.arange(count, dtype=np.int32),
            facts=facts,
        ),
        patient_ids=tuple(f"p{number}" for number in range(count)),
        site=(site,) * count,
        spec=replace(ham10000.spec(size_px=8, stand_in=True), facts=("age", "age?")),
        remarks=(),
    )  # fmt: skip


def brains(tumours: list[list[int]]) -> Reading:
    """Slices of 10 pixels, so many of them tumour, for each patient."""
    patient = np.repeat(np.arange(len(tumours), dtype=np.int32), [len(t) for t in tumours])
    sizes = [size for slices in tumours for size in slices]
    labels = np.array([[[1] * size + [0] * (10 - size)] for size in sizes], dtype=np.uint8)
    images = np.random.default_rng(0).normal(size=(len(sizes), 4, 1, 10)).astype(np.float16)
    return Reading(
        cohort=Cohort(images=images, labels=labels, patient=patient),
        patient_ids=tuple(f"p{number}" for number in range(len(tumours))),
        site=("",) * len(tumours),
        spec=brats_spec(size_px=8, stand_in=True),
        remarks=(),
    )


def sizes(parts: Parts) -> list[int]:
    return [int(part.sum()) for part in parts]


@given(
    labels=st.lists(st.integers(0, 6), min_size=1, max_size=60),
    hospitals=st.integers(1, 12),
    rule=st.sampled_from(
        ["quantity", "quantity:1.5", "quantity:0", "dirichlet", "dirichlet:0.001", "dirichlet:100",
         "intensity", "age"]
    ),
    gaps=st.integers(0, 60),
    seed=st.integers(0, 3),
)  # fmt: skip
def test_every_patient_is_in_exactly_one_hospital_and_no_hospital_is_empty(
    labels: list[int], hospitals: int, rule: str, gaps: int, seed: int
) -> None:
    ages = [float("nan") if i < gaps else i / 60 for i in range(len(labels))]
    everyone = skin(labels, ages=ages)
    if hospitals > len(labels):
        with pytest.raises(InvalidData, match="hospitals"):
            partitioners.split(everyone, rule, hospitals=hospitals, seed=seed)
        return
    parts = partitioners.split(everyone, rule, hospitals=hospitals, seed=seed)
    stacked = np.stack(parts)
    assert stacked.shape == (hospitals, len(labels)) and stacked.dtype == np.bool_
    assert (stacked.sum(axis=0) == 1).all() and (stacked.sum(axis=1) >= 1).all()
    again = partitioners.split(everyone, rule, hospitals=hospitals, seed=seed)
    assert np.array_equal(stacked, np.stack(again))


def test_another_seed_is_another_split() -> None:
    everyone = skin([i % 7 for i in range(70)])
    for rule in ("quantity", "dirichlet"):
        one, two = (np.stack(partitioners.split(everyone, rule, seed=seed)) for seed in (1, 2))
        assert not np.array_equal(one, two)


def test_true_sites_are_hospitals_and_nothing_else_passes_for_them() -> None:
    everyone = replace(skin([0] * 5), site=("b", "a", "b", "b", "a"))
    assert sizes(partitioners.split(everyone, "site")) == [3, 2]
    assert sizes(partitioners.split(everyone, "site", hospitals=2)) == [3, 2]
    with pytest.raises(InvalidData, match="as many hospitals as sites"):
        partitioners.split(everyone, "site", hospitals=3)
    with pytest.raises(InvalidData, match="every patient must have one"):
        partitioners.split(skin([0] * 5), "site")


def skew(parts: Parts, labels: list[int]) -> float:
    """The mean distance of the hospitals' shares of the classes from everybody's."""
    of = np.array(labels)
    everybody = np.bincount(of, minlength=7) / len(of)
    shares = [np.bincount(of[part], minlength=7) / part.sum() for part in parts]
    return float(np.mean([np.abs(share - everybody).sum() / 2 for share in shares]))


def test_the_smaller_alpha_the_more_the_classes_differ() -> None:
    labels = [i % 7 for i in range(1400)]
    skews = [
        skew(partitioners.split(skin(labels), f"dirichlet:{a}", hospitals=5), labels)
        for a in (0.05, 1.0, 1000.0)
    ]
    assert skews[0] > 0.5 > skews[1] > 2 * skews[2]
    assert skews[2] < 0.08


def test_dirichlet_hospitals_are_of_one_size() -> None:
    parts = partitioners.split(skin([i % 3 for i in range(101)]), "dirichlet:0.1", hospitals=4)
    assert sizes(parts) == [26, 25, 25, 25]


def test_shares_of_classes_have_the_moments_of_the_dirichlet_distribution() -> None:
    concentration = np.array([0.3, 0.0, 1.2])
    rows = partitioners._dirichlet(np.random.default_rng(0), concentration, 20_000)
    assert np.allclose(rows.sum(axis=1), 1) and not rows[:, 1].any()
    share = concentration / concentration.sum()
    assert np.allclose(rows.mean(axis=0), share, atol=0.01)
    variance = share * (1 - share) / (concentration.sum() + 1)
    assert np.allclose(rows.var(axis=0), variance, atol=0.01)


def test_quantities_fall_by_the_power_of_the_rank() -> None:
    everyone = skin([0] * 250)
    assert sizes(partitioners.split(everyone, "quantity:0", hospitals=5)) == [50] * 5
    zipf = sizes(partitioners.split(everyone, "quantity:1", hospitals=5))
    assert zipf == sorted(zipf, reverse=True)
    assert zipf[0] / zipf[4] == pytest.approx(5, rel=0.15)


def test_hospitals_by_tumour_have_larger_ones_from_first_to_last() -> None:
    everyone = brains([[9, 1], [2, 2], [0, 8], [1, 0], [7, 7], [3, 3]])
    parts = partitioners.split(everyone, "tumour", hospitals=3)
    assert [set(np.flatnonzero(part).tolist()) for part in parts] == [{3, 1}, {5, 2}, {0, 4}]


def test_hospitals_by_intensity_and_by_age_are_sorted_runs() -> None:
    everyone = skin([0] * 30, ages=[((i * 7) % 30) / 30 for i in range(30)])
    for rule in ("intensity", "age"):
        values = partitioners.quantity(everyone, rule)
        runs = [values[part] for part in partitioners.split(everyone, rule, hospitals=3)]
        assert [len(run) for run in runs] == [10, 10, 10]
        assert runs[0].max() < runs[1].min() and runs[1].max() < runs[2].min()


def test_patients_whose_age_is_missing_are_dealt_out_evenly() -> None:
    ages = [float("nan")] * 8 + [i / 100 for i in range(40)]
    parts = partitioners.split(skin([0] * 48, ages=ages), "age", hospitals=4)
    assert [int(part[:8].sum()) for part in parts] == [2, 2, 2, 2]
    assert sizes(parts) == [12] * 4


@pytest.mark.parametrize(
    "rule",
    ["by magic", "", "site:2", "age:1", "dirichlet:", "dirichlet:0", "dirichlet:nan", "dirichlet:-1",
     "quantity:-1", "quantity:inf", "dirichlet:x"],
)  # fmt: skip
def test_rules_that_are_none_are_refused(rule: str) -> None:
    with pytest.raises(InvalidData, match="A split must be one of site, quantity"):
        partitioners.split(skin([0] * 9), rule)


def test_data_without_what_a_rule_sorts_by_is_refused() -> None:
    table = replace(skin([0] * 9).cohort, images=np.zeros((9, 0, 0, 0), np.uint8))
    with pytest.raises(InvalidData, match="must have pictures"):
        partitioners.split(replace(skin([0] * 9), cohort=table), "intensity")
    with pytest.raises(InvalidData, match="must be segmented"):
        partitioners.split(skin([0] * 9), "tumour")
    with pytest.raises(InvalidData, match="Split by 'tumour'"):
        partitioners.split(brains([[1]] * 9), "dirichlet")
    with pytest.raises(InvalidData, match="Read it with facts"):
        partitioners.split(brains([[1]] * 9), "age")


def test_counts_for_the_picture_are_those_of_the_parts() -> None:
    labels = [0, 0, 1, 6, 6, 6]
    parts = [np.array([1, 0, 1, 0, 0, 0], bool), np.array([0, 1, 0, 1, 1, 1], bool)]
    counts = partitioners.class_counts(skin(labels), parts)
    assert counts.tolist() == [[1, 1, 0, 0, 0, 0, 0], [1, 0, 0, 0, 0, 0, 3]]
    parts = [np.array([1, 0, 1], bool), np.array([0, 1, 0], bool)]
    assert partitioners.class_counts(brains([[1, 2], [3], [4]]), parts).tolist() == [[2], [1]]


def test_a_hospital_whose_only_class_is_used_up_takes_what_is_left() -> None:
    labels = np.repeat(np.arange(7), 4)
    for seed in range(6):
        parts = partitioners.by_classes(labels, 3, alpha=0.001, seed=seed)
        assert (np.stack(parts).sum(axis=0) == 1).all() and sizes(parts) == [10, 9, 9]
