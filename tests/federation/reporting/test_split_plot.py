"""The picture of a split shows every hospital, or says how many of them it shows."""

import re

import numpy as np
import pytest

from federation.reporting.split_plot import MOST_HOSPITALS, split_picture
from syft_code.errors import InvalidInput

CLASSES = ("mel", "nv")


def test_counts_and_medians_stand_in_the_words_and_names_in_the_picture() -> None:
    plot = split_picture(
        ["north", "south"],
        np.array([[3, 4], [0, 9]]),
        classes=CLASSES,
        values=[np.array([1.0, np.nan, 3.0]), np.full(9, np.nan)],
        quantity="age",
    )
    assert plot.kind == "image/svg+xml"
    assert plot.alt == (
        "How 2 hospitals differ. north: 7 patients (mel 3, nv 4), age 2; south: 9 patients (nv 9)."
    )
    text = plot.data.decode()
    for word in ("north", "south", "Patients", "Age", "mel", "nv"):
        assert f"<!-- {word} -->" in text


def test_of_very_many_hospitals_some_are_drawn_and_the_title_says_so() -> None:
    count = 3 * MOST_HOSPITALS
    names = [f"hospital-{number}" for number in range(1, count + 1)]
    plot = split_picture(names, np.ones((count, 1), dtype=np.int64), classes=["patients"])
    text = plot.data.decode()
    drawn = re.findall(r"<!-- (hospital-\d+) -->", text)
    assert len(drawn) == MOST_HOSPITALS and {drawn[0], drawn[-1]} == {names[0], names[-1]}
    assert f"at {MOST_HOSPITALS} of {count} hospitals" in text
    assert plot.alt.endswith(f"And {count - MOST_HOSPITALS} more hospitals.")


def test_the_same_numbers_are_the_same_bytes() -> None:
    values = [np.arange(5.0), np.arange(5.0) + 1]
    one, two = (
        split_picture(
            ["a", "b"], np.ones((2, 2), int), classes=CLASSES, values=values, quantity="x"
        )
        for _ in range(2)
    )
    assert one.data == two.data


def test_numbers_that_do_not_belong_to_the_hospitals_are_refused() -> None:
    with pytest.raises(InvalidInput, match="each of 2 hospitals"):
        split_picture(["a", "b"], np.ones((3, 2), int), classes=CLASSES)
    with pytest.raises(InvalidInput, match="each of 2 hospitals"):
        split_picture(["a", "b"], np.ones((2, 2), int), classes=CLASSES, values=[np.ones(1)])
