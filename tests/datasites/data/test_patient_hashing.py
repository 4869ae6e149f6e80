"""Who goes where: hospitals of a study, and the two groups of a hospital."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from datasites.data import patient_hashing
from datasites.data.folders.reading import Reading
from datasites.data.readers.images import ham10000
from datasites.demo import partitioners
from syft_code.cohort import Cohort
from syft_code.errors import InvalidData

SALT = bytes(range(32))
IDS = st.lists(st.text(max_size=12), unique=True, max_size=40)


def reading(*sites: str) -> Reading:
    count = len(sites)
    images = np.arange(count, dtype=np.uint8).reshape(count, 1, 1, 1)
    numbers = np.arange(count, dtype=np.int32)
    cohort = Cohort(images=images, labels=np.zeros(count, np.uint8), patient=numbers)
    return Reading(
        cohort=cohort,
        patient_ids=tuple(f"p{number}" for number in numbers),
        site=sites,
        spec=ham10000.spec(size_px=8, stand_in=True),
        remarks=(),
    )


def test_a_reading_has_one_identifier_and_one_site_for_each_patient() -> None:
    sound = reading("a", "b", "c")
    with pytest.raises(InvalidData, match="one identifier and one site"):
        replace(sound, site=("a", "b"))
    with pytest.raises(InvalidData, match="one identifier and one site"):
        replace(sound, patient_ids=("p0", "p1"))
    with pytest.raises(InvalidData, match="of their own"):
        replace(sound, patient_ids=("p0", "p1", "p1"))


def test_true_sites_are_hospitals_from_the_largest_down() -> None:
    parts = partitioners.by_site(reading("b", "a", "c", "a", "c", "a"), 3)
    assert [part.tolist() for part in parts] == [
        [False, True, False, True, False, True],
        [False, False, True, False, True, False],
        [True, False, False, False, False, False],
    ]


def test_other_numbers_of_hospitals_differ_in_size_and_not_by_site() -> None:
    everyone = reading(*["a"] * 60, *["b"] * 40)
    parts = partitioners.by_site(everyone, 4, seed=1)
    assert [int(part.sum()) for part in parts] == [39, 30, 20, 11]
    assert all(part[:60].any() and part[60:].any() for part in parts)


def test_patients_without_a_site_are_split_by_quantity() -> None:
    parts = partitioners.by_site(reading(*["a"] * 5, *[""] * 5), 2, seed=0)
    assert [int(part.sum()) for part in parts] == [6, 4]


def test_the_seed_decides_the_split() -> None:
    first, again, other = (
        np.stack(partitioners.by_site(reading(*[""] * 50), 3, seed=seed)) for seed in (1, 1, 2)
    )
    assert np.array_equal(first, again) and not np.array_equal(first, other)


@given(
    sites=st.lists(st.sampled_from(["", "a", "b", "c"]), min_size=1, max_size=60),
    hospitals=st.integers(1, 8),
    seed=st.integers(0, 5),
)
def test_every_patient_is_in_exactly_one_hospital_and_no_hospital_is_empty(
    sites: list[str], hospitals: int, seed: int
) -> None:
    everyone = reading(*sites)
    if hospitals > len(sites):
        with pytest.raises(InvalidData, match="hospitals"):
            partitioners.by_site(everyone, hospitals, seed=seed)
        return
    parts = np.stack(partitioners.by_site(everyone, hospitals, seed=seed))
    assert parts.dtype == np.bool_
    assert (parts.sum(axis=0) == 1).all() and (parts.sum(axis=1) >= 1).all()


@given(ids=IDS, more=st.text(max_size=12), fraction=st.floats(0, 1, exclude_max=True))
def test_adding_or_removing_a_patient_moves_nobody_else(
    ids: list[str], more: str, fraction: float
) -> None:
    before = dict(zip(ids, patient_hashing.held_out(ids, fraction, SALT).tolist(), strict=True))
    with_more = [more, *(patient for patient in ids if patient != more)]
    groups = patient_hashing.held_out(with_more, fraction, SALT).tolist()
    after = dict(zip(with_more, groups, strict=True))
    assert all(after[patient] == group for patient, group in before.items())
    assert all(
        patient_hashing.held_out([patient], fraction, SALT)[0] == group
        for patient, group in before.items()
    )


@given(ids=IDS, fractions=st.tuples(st.floats(0, 0.999), st.floats(0, 0.999)))
def test_a_larger_fraction_holds_out_everybody_that_a_smaller_one_does(
    ids: list[str], fractions: tuple[float, float]
) -> None:
    small, large = (patient_hashing.held_out(ids, fraction, SALT) for fraction in sorted(fractions))
    assert (large | ~small).all()


def test_the_held_out_share_is_about_the_fraction() -> None:
    ids = [f"patient {number}" for number in range(20_000)]
    assert abs(patient_hashing.held_out(ids, 0.2, SALT).mean() - 0.2) < 0.01
    assert not patient_hashing.held_out(ids, 0.0, SALT).any()


def test_known_answer_for_one_patient() -> None:
    # HMAC-SHA256 of "Hi There" under 20 bytes 0x0b begins with b0344c61 (RFC 4231, case 1).
    number = 0xB0344C61D8DB3853 / 2**64
    salt = bytes([0x0B] * 20)
    assert not patient_hashing.held_out(["Hi There"], number - 1e-9, salt)[0]
    assert patient_hashing.held_out(["Hi There"], number + 1e-9, salt)[0]


def test_another_salt_chooses_other_patients() -> None:
    ids = [str(number) for number in range(200)]
    one, two = (patient_hashing.held_out(ids, 0.5, bytes([salt]) * 16) for salt in (1, 2))
    assert 50 < int((one != two).sum()) < 150


@pytest.mark.parametrize("fraction", [float("nan"), -0.1, 1.0, float("inf")])
def test_absurd_fractions_are_refused(fraction: float) -> None:
    with pytest.raises(InvalidData, match="fraction"):
        patient_hashing.held_out(["a"], fraction, SALT)


def test_a_short_salt_is_refused() -> None:
    with pytest.raises(InvalidData, match="16 bytes"):
        patient_hashing.held_out(["a"], 0.2, b"short")
