"""Pictures of slices: the slice itself is shown, and a modality that the site has."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from matplotlib.axes import Axes

from datasites.data import mock_cohort
from datasites.data.readers.volumes import brats
from federation.reporting import notebook_views, sample_plots
from federation.strategy.presets import brats_recipe
from syft_code.cohort import Cohort
from syft_code.errors import InvalidInput
from syft_code.models import networks

SPEC = brats.spec(size_px=16, stand_in=True, neighbours=1)
MOCK = mock_cohort.draw(SPEC, seed=1, slices=6)


@pytest.fixture
def shown(monkeypatch) -> list[tuple[Axes, np.ndarray]]:
    """What is drawn: where, and the values of each grey picture."""
    drawn = []
    original = sample_plots._slice

    def watched(axis, picture, classes, colours) -> None:
        drawn.append((axis, picture))
        original(axis, picture, classes, colours)

    monkeypatch.setattr(sample_plots, "_slice", watched)
    return drawn


def without(*names: str) -> Cohort:
    images = MOCK.images.copy()
    images[:, [SPEC.channels.index(name) for name in names]] = 0
    return replace(MOCK, images=images)


def outcome():
    recipe = brats_recipe(SPEC)
    weights = networks.initial_weights(recipe, SPEC, seed=0)
    return SimpleNamespace(plan=SimpleNamespace(data=SPEC, recipe=recipe), weights=weights)


def test_of_twelve_channels_flair_of_the_slice_itself_is_shown(shown) -> None:
    images = MOCK.images.copy()
    images[:, SPEC.channels.index("t1-1")] = 1.0  # the head of a neighbour is larger
    plot = sample_plots.samples(outcome(), replace(MOCK, images=images))
    assert plot.kind == "image/png" and len(plot.data) > 1000
    assert [axis.get_title(loc="left") for axis, _ in shown[:3]] == ["flair", "true", "predicted"]
    middle = [SPEC.channels.index(name) for name in ("t1", "t1ce", "t2", "flair")]
    chosen = sample_plots._choose(MOCK, SPEC)[0]
    outside = (MOCK.images[chosen][middle] == 0).all(axis=0)
    expected = sample_plots._picture(MOCK.images[chosen][10:11])
    assert outside.any() and not shown[0][1][outside].any()
    assert np.array_equal(shown[0][1][~outside], expected[~outside])


def test_a_site_without_flair_shows_what_it_has(shown) -> None:
    sample_plots.samples(outcome(), without("flair", "t1ce"))
    assert shown[0][0].get_title(loc="left") == "t2"


def test_a_mock_in_2_5_d_shows_the_slice_itself(monkeypatch) -> None:
    seen = []
    monkeypatch.setattr(
        "matplotlib.axes.Axes.imshow", lambda self, picture, **look: seen.append(picture)
    )
    notebook_views.mock(MOCK, SPEC.classes, channels=SPEC.channels)
    assert np.array_equal(seen[0], MOCK.images[0, 10].astype(np.float32))


def test_a_table_has_no_pictures_to_show() -> None:
    table = Cohort(
        images=np.zeros((2, 0, 0, 0), dtype=np.uint8),
        labels=np.zeros(2, dtype=np.uint8),
        patient=np.arange(2, dtype=np.int32),
        facts=np.ones((2, 3), dtype=np.float32),
    )
    with pytest.raises(InvalidInput, match="look at its facts"):
        notebook_views.mock(table, ("ill", "healthy"))
