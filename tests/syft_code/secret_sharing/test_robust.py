import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from syft_code.errors import InvalidMessage, InvalidPlan, TrainingFailed
from syft_code.plans.plan_parts import Robust, RobustRule
from syft_code.secret_sharing import robust
from syft_code.secret_sharing.robust import BLOCK, RULES, clip_update, combine

Rows = NDArray[np.float64]

EVERY_RULE = pytest.mark.parametrize("rule", list(RULES))
LEAST = {"median": 3, "trimmed_mean": 3, "krum": 5, "multi_krum": 5, "geometric_median": 3}


def settings(rule: RobustRule, groups: int, tolerated: int = 1) -> Robust:
    return Robust(rule=rule, groups=groups, tolerated=tolerated)


def column(*numbers: float) -> Rows:
    return np.array(numbers).reshape(-1, 1)


@st.composite
def some_rows(draw: st.DrawFn) -> tuple[Rows, int]:
    """Rows that no two rules' scores tie on, and how many bad ones all rules withstand."""
    tolerated = draw(st.integers(1, 3))
    groups = draw(st.integers(2 * tolerated + 3, 2 * tolerated + 6))
    random = np.random.default_rng(draw(st.integers(0, 2**32)))
    scale = 10.0 ** draw(st.integers(-6, 6))
    return scale * random.standard_normal((groups, draw(st.integers(1, 40)))), tolerated


def close(one: Rows, other: Rows, rows: Rows) -> bool:
    """Equal but for rounding and the smoothing of the geometric median."""
    return bool(np.abs(one - other).max() <= 1e-6 * np.abs(rows).max())


# Known answers


def test_the_median_takes_the_middle_number_of_each_coordinate() -> None:
    rows = np.array([[1.0, -5.0], [2.0, 0.0], [9.0, 7.0]])
    assert combine(rows, settings("median", 3)).tolist() == [2.0, 0.0]


def test_the_median_of_an_even_number_of_rows_is_the_mean_of_the_middle_two() -> None:
    assert combine(column(9.0, 1.0, 4.0, 2.0), settings("median", 4)).tolist() == [3.0]


def test_the_trimmed_mean_leaves_out_so_many_at_either_end() -> None:
    rows = column(100.0, 1.0, 2.0, 6.0, -70.0)
    assert combine(rows, settings("trimmed_mean", 5)).tolist() == [3.0]
    assert combine(rows, settings("trimmed_mean", 5, tolerated=2)).tolist() == [2.0]


def test_krum_takes_the_row_with_the_closest_neighbours() -> None:
    """Scores over the 5 - 1 - 2 = 2 nearest: 9 + 16, 1 + 4, 1 + 1, 1 + 4 and 90^2 + 91^2."""
    rows = np.array([[-1.0, 7.0], [2.0, 7.0], [3.0, 7.0], [4.0, 7.0], [94.0, 7.0]])
    assert robust._by_score(rows, 1).tolist() == [2, 1, 3, 0, 4]
    assert combine(rows, settings("krum", 5)).tolist() == [3.0, 7.0]


def test_multi_krum_is_the_mean_of_the_best_rows() -> None:
    """The best 6 - 1 - 2 = 3 of the scores 14, 6, 6, 9, 29 and of the last, which are 1, 2, 3."""
    rows = column(0.0, 1.0, 2.0, 3.0, 5.0, 99.0)
    assert combine(rows, settings("multi_krum", 6)).tolist() == [2.0]


def test_of_equal_scores_krum_takes_the_first() -> None:
    """Both 3 and 11 score 1 + 4 + 64."""
    rows = column(1.0, 2.0, 3.0, 11.0, 12.0, 13.0)
    assert combine(rows, settings("krum", 6)).tolist() == [3.0]
    assert combine(rows[::-1].copy(), settings("krum", 6)).tolist() == [11.0]


def test_the_geometric_median_of_a_triangle_is_its_fermat_point() -> None:
    """Of the corners (0, 0), (1, 0) and (0, 1): x = y = (3 - sqrt 3) / 6."""
    rows = np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    point = combine(rows, settings("geometric_median", 3))
    np.testing.assert_allclose(point, (3.0 - math.sqrt(3.0)) / 6.0, atol=1e-7)


def test_the_geometric_median_of_a_line_is_its_middle_row() -> None:
    point = combine(column(0.0, 1.0, 5.0, 6.0, 1e6), settings("geometric_median", 5))
    np.testing.assert_allclose(point, 5.0, atol=1e-4)


def test_the_geometric_median_of_mostly_equal_rows_is_that_row() -> None:
    rows = np.array([[1.0, 2.0], [1.0, 2.0], [1.0, 2.0], [8.0, -9.0], [1e9, 0.0]])
    assert combine(rows, settings("geometric_median", 5)).tolist() == [1.0, 2.0]


# Properties


@EVERY_RULE
@given(some=some_rows(), order=st.randoms(use_true_random=False))
def test_the_order_of_the_groups_does_not_matter(rule: RobustRule, some, order) -> None:  # type: ignore[no-untyped-def]
    rows, tolerated = some
    rule_settings = settings(rule, len(rows), tolerated)
    shuffled = rows[order.sample(range(len(rows)), len(rows))]
    assert close(combine(rows, rule_settings), combine(shuffled, rule_settings), rows)


@EVERY_RULE
@given(some=some_rows(), shift=st.floats(-10, 10), factor=st.floats(0.01, 100))
def test_who_moves_and_scales_all_rows_moves_and_scales_the_result(  # type: ignore[no-untyped-def]
    rule: RobustRule, some, shift: float, factor: float
) -> None:
    rows, tolerated = some
    rule_settings = settings(rule, len(rows), tolerated)
    moved = factor * (rows + shift * np.abs(rows).max())
    expected = factor * (combine(rows, rule_settings) + shift * np.abs(rows).max())
    assert close(combine(moved, rule_settings), expected, np.append(moved, factor * rows))


@EVERY_RULE
@given(some=some_rows())
def test_rows_that_agree_are_the_result(rule: RobustRule, some) -> None:  # type: ignore[no-untyped-def]
    rows, tolerated = some
    same = np.repeat(rows[:1], len(rows), axis=0)
    assert close(combine(same, settings(rule, len(rows), tolerated)), rows[0], rows)


@given(some=some_rows(), bad=st.sampled_from([1e30, -1e30, 0.0, 1.0]))
@pytest.mark.parametrize("rule", ["median", "trimmed_mean"])
def test_the_median_and_the_trimmed_mean_stay_between_the_good_rows(  # type: ignore[no-untyped-def]
    rule: RobustRule, some, bad: float
) -> None:
    rows, tolerated = some
    good = rows[tolerated:].copy()
    rows[:tolerated] = bad
    result = combine(rows, settings(rule, len(rows), tolerated))
    slack = 1e-12 * np.abs(good).max()
    assert np.all(result <= good.max(axis=0) + slack) and np.all(result >= good.min(axis=0) - slack)


@EVERY_RULE
@given(some=some_rows(), size=st.sampled_from([1e3, 1e9, 1e30, 2.0**255]), split=st.booleans())
def test_tolerated_bad_rows_of_any_size_leave_the_result_near_the_good_rows(  # type: ignore[no-untyped-def]
    rule: RobustRule, some, size: float, split: bool
) -> None:
    """Within a constant times the good rows' spread around their mean.

    The median's constant is 2 (1 - a) / (1 - 2 a) for a share a of bad rows (Minsker 2015, lemma
    2.1); Krum's is 1 + 2 sqrt(rows - tolerated - 2): one neighbour at least is good, and no
    further than the score of a good row allows.
    """
    rows, tolerated = some
    good = rows[tolerated:].copy()
    signs = np.where(np.arange(tolerated) % 2, -1.0, 1.0) if split else np.ones(tolerated)
    rows[:tolerated] = size * signs[:, None]
    mean = good.mean(axis=0)
    spread = np.linalg.norm(good - mean, axis=1).max()
    share = tolerated / len(rows)
    constant = max(2 * (1 - share) / (1 - 2 * share), 1 + 2 * math.sqrt(len(good) - 2))
    result = combine(rows, settings(rule, len(rows), tolerated))
    assert np.linalg.norm(result - mean) <= constant * spread * (1 + 1e-6)


def test_one_bad_row_more_than_the_half_moves_the_median_anywhere() -> None:
    """So that the bound above is a fact about the rules, not about the rows."""
    bad = column(1e9, 1e9, 0.0)
    assert combine(bad, settings("median", 3))[0] > 1e8
    assert combine(bad, settings("geometric_median", 3))[0] > 1e8
    assert combine(column(1e9, 1e9, 0.0, 0.1, 0.2), settings("trimmed_mean", 5))[0] > 1e8
    assert combine(column(1e9, 1e9, 1e9, 1e9, 0.0, 1.0), settings("krum", 6))[0] > 1e8


def test_the_plain_mean_withstands_nothing_where_each_rule_does() -> None:
    rows = np.vstack([np.random.default_rng(0).standard_normal((5, 30)), np.full((1, 30), 1e6)])
    assert np.abs(rows.mean(axis=0)).max() > 1e5
    for rule in RULES:
        assert np.abs(combine(rows, settings(rule, 6))).max() < 4.0


# Size


@EVERY_RULE
def test_blocks_give_what_the_whole_gives(rule: RobustRule, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    rows = np.random.default_rng(1).standard_normal((7, 101))
    whole = combine(rows, settings(rule, 7, tolerated=2))
    monkeypatch.setattr(robust, "BLOCK", 10)
    assert close(combine(rows, settings(rule, 7, tolerated=2)), whole, rows)


@EVERY_RULE
def test_the_rows_are_left_as_they_were(rule: RobustRule) -> None:
    rows = np.random.default_rng(3).standard_normal((5, 4))
    before = rows.copy()
    combine(rows, settings(rule, 5))[:] = 0.0
    assert np.array_equal(rows, before)


# Refusals


@EVERY_RULE
def test_too_few_rows_for_the_rule_are_refused(rule: RobustRule) -> None:
    """Hospitals dropped out: the plan's 7 groups became fewer."""
    planned = settings(rule, 7)
    combine(np.ones((LEAST[rule], 2)), planned)
    with pytest.raises(InvalidPlan, match=f"{rule} needs at least {LEAST[rule]} groups"):
        combine(np.ones((LEAST[rule] - 1, 2)), planned)


@EVERY_RULE
@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf, 1e300])
def test_numbers_that_are_not_finite_are_refused_in_any_block(rule: RobustRule, bad: float) -> None:
    for place in (0, BLOCK + 1):
        rows = np.zeros((5, BLOCK + 2))
        rows[2, place] = bad
        with pytest.raises(InvalidMessage, match="must be finite"):
            combine(rows, settings(rule, 5))


@pytest.mark.parametrize(
    "rows", [np.zeros(5), np.zeros((5, 2), np.float32), np.zeros((5, 2, 1))], ids=str
)
def test_rows_of_another_shape_or_type_are_refused(rows: Rows) -> None:
    with pytest.raises(InvalidMessage, match="one array of float64"):
        combine(rows, settings("median", 5))


# The bound at the site


def test_a_short_update_keeps_every_number() -> None:
    update = np.array([0.3, -0.4])
    assert clip_update(update, 0.5).tolist() == [0.3, -0.4]
    assert clip_update(np.zeros(3), 1e-9).tolist() == [0.0, 0.0, 0.0]


@given(
    st.integers(1, 300), st.floats(1e-6, 1e6), st.floats(1e-6, 1e6), st.sampled_from(["f4", "f8"])
)
def test_a_long_update_keeps_its_direction_and_gets_the_bounds_length(
    size: int, scale: float, bound: float, dtype: str
) -> None:
    update = (scale * np.random.default_rng(size).standard_normal(size)).astype(dtype)
    clipped = clip_update(update, bound)
    length = np.linalg.norm(update.astype(np.float64))
    assert clipped.dtype == np.float64
    assert np.linalg.norm(clipped) <= bound * (1 + 1e-9)
    np.testing.assert_allclose(clipped, update * min(1.0, bound / length), rtol=1e-6)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_an_update_that_is_not_finite_is_refused(bad: float) -> None:
    with pytest.raises(TrainingFailed, match="must be finite"):
        clip_update(np.array([1.0, bad]), 1.0)


@pytest.mark.parametrize("bound", [0.0, -1.0, math.nan, math.inf])
def test_a_bound_that_bounds_nothing_is_refused(bound: float) -> None:
    with pytest.raises(InvalidPlan, match="max_update_norm"):
        clip_update(np.ones(2), bound)


def test_the_table_names_every_rule_of_a_plan() -> None:
    table: dict[RobustRule, Callable[..., Rows]] = robust.RULES
    assert {rule: Robust(rule=rule, groups=9, tolerated=1).least_groups for rule in table} == LEAST
