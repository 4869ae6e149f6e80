"""The public shape of an asset is one that its kind can have."""

from dataclasses import replace

import pytest

from syft_code import canonical
from syft_code.errors import InvalidPlan
from syft_code.recipes.recipe import DataSpec
from tests.shapes import BRAIN, SERIES, SKIN, SKIN_FACTS, TABLE


@pytest.mark.parametrize("data", [SKIN, SKIN_FACTS, BRAIN, TABLE, SERIES])
def test_a_shape_survives_json(data: DataSpec) -> None:
    assert canonical.parse(DataSpec, canonical.encode(data), what="shape") == data


@pytest.mark.parametrize(
    ("data", "changes", "says"),
    [
        (TABLE, {"channels": ("red",)}, "no channels and no pixels"),
        (TABLE, {"height_px": 1}, "no channels and no pixels"),
        (TABLE, {"facts": ()}, "must have facts"),
        (TABLE, {"task": "segmentation", "positive": ""}, "must have facts, and classes"),
        (SERIES, {"channels": ("a", "b")}, "must have one channel"),
        (SERIES, {"task": "segmentation", "positive": ""}, "must have one channel"),
        (SERIES, {"width_px": 0}, "1 to 1024 pixels"),
        (SKIN, {"channels": ()}, "1 to 16 channels"),
        (SKIN, {"height_px": 0}, "1 to 1024 pixels"),
        (SKIN, {"facts": ("age", "age")}, "a name of its own"),
        (SKIN, {"facts": tuple(f"f{i}" for i in range(257))}, "at most 256 facts"),
        (SKIN, {"facts": ("",)}, "printable characters"),
        (SKIN, {"facts": ("a\nb",)}, "printable characters"),
        (SKIN, {"facts": ("a" * 81,)}, "1 to 80"),
        (SKIN, {"positive": "wart"}, "positive class must be one of the classes"),
        (BRAIN, {"positive": "edema"}, "positive class must be one of the classes"),
        (TABLE, {"classes": ("one",), "positive": ""}, "2 to 100 classes"),
    ],
)
def test_a_shape_that_its_kind_cannot_have_is_refused(
    data: DataSpec, changes: dict[str, object], says: str
) -> None:
    with pytest.raises(InvalidPlan, match=says):
        replace(data, **changes)  # type: ignore[arg-type]
