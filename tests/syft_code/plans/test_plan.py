"""A plan has one byte string, and a bad one is refused in a sentence."""

import dataclasses
import json
import tracemalloc
from collections.abc import Iterator
from dataclasses import replace
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

import pytest
from nacl.public import PrivateKey
from nacl.signing import SigningKey

from syft_code import canonical
from syft_code.errors import InvalidPlan, RangeExceeded
from syft_code.plans.algorithms import Scaffold
from syft_code.plans.plan import EVALUATION, MAX_PLAN_BYTES, Plan
from syft_code.plans.plan_parts import Compression, DpSgd, Evaluation, Robust, Sgd, Sharing
from syft_code.plans.roster import MOST_PATIENTS, Hospital
from syft_code.recipes.architectures import LayerStack, UNet
from syft_code.recipes.layers import Conv, GroupNorm, Linear, Lstm, Pool
from syft_code.recipes.recipe import CrossEntropy, Recipe
from tests.plans import SKIN, TINY, Keys, plan


def test_a_plan_survives_the_journey_through_its_bytes() -> None:
    original = plan()
    assert Plan.decode(original.encode()) == original
    assert Plan.decode(original.encode()).hash == original.hash


def test_an_integer_where_a_float_belongs_gives_the_same_hash() -> None:
    keys = Keys()
    floats = DpSgd(noise_multiplier=1.0, max_grad_norm=2.0, sample_rate=1.0, steps=3)
    integers = DpSgd(noise_multiplier=1, max_grad_norm=2, sample_rate=1, steps=3)
    assert plan(keys, dp_sgd=floats).hash == plan(keys, dp_sgd=integers).hash


MOVES: dict[str, Any] = {
    "engine": {
        "dp_sgd": DpSgd(
            noise_multiplier=1.0, max_grad_norm=1.0, sample_rate=0.2, steps=3, engine="opacus"
        )
    },
    "rounds": {"rounds": 4},
    "study": {"study": "another"},
    "steps": {"dp_sgd": DpSgd(noise_multiplier=1.0, max_grad_norm=1.0, sample_rate=0.2, steps=4)},
    "ring_bits": {"sharing": Sharing(ring_bits=64)},
    "fraction_bits": {"sharing": Sharing(fraction_bits=17)},
    "bound": {"sharing": Sharing(bound=32.0)},
    "needed": {"sharing": Sharing(needed=2)},
    "needed, all": {"sharing": Sharing(needed=3)},
    "max_update_norm": {"max_update_norm": 1.0},
    "compression": {"compression": Compression()},
    "kept": {"compression": Compression(kept=0.5)},
    "error_feedback": {"compression": Compression(error_feedback=False)},
    "frozen_layers": {"frozen_layers": 1},
    "algorithm": {"algorithm": Scaffold()},
    "evaluation": {"evaluation": None},
    "widths": {"recipe": Recipe(model=LayerStack(layers=(Conv(channels=5),)), loss=TINY.loss)},
}


def test_every_field_moves_the_hash() -> None:
    first = plan()
    version = replace(first.hospitals[0], asset_version=2)
    moved = {name: replace(first, **change).hash for name, change in MOVES.items()}
    moved["asset"] = replace(first, hospitals=(version, *first.hospitals[1:])).hash
    moved["itself"] = first.hash
    assert len(set(moved.values())) == len(MOVES) + 2


def parties(count: int) -> Keys:
    """Keys of so many aggregators."""
    return Keys(
        aggregators=tuple(SigningKey.generate() for _ in range(count)),
        seals=tuple(PrivateKey.generate() for _ in range(count)),
    )


def hospitals(count: int, *, patients: int = 10) -> tuple[Hospital, ...]:
    return tuple(
        Hospital(
            name=f"hospital-{n}",
            verify_key=f"{n:064x}",
            asset="skin-lesions",
            asset_version=1,
            patients=patients,
        )
        for n in range(1, count + 1)
    )


@pytest.mark.parametrize("change", MOVES.values(), ids=MOVES.keys())
def test_every_option_survives_the_journey_through_its_bytes(change: dict[str, Any]) -> None:
    one = plan(**change)
    assert Plan.decode(one.encode()) == one


# --- who opens a sum ---


@pytest.mark.parametrize("count", [2, 3, 4, 5])
def test_more_than_half_of_the_aggregators_must_be_needed(count: int) -> None:
    keys = parties(count)
    for needed in range(-1, count + 2):
        if needed >= 2 and 2 * needed > count >= needed:
            assert plan(keys, sharing=Sharing(needed=needed)).needed == needed
        else:
            with pytest.raises(InvalidPlan, match="More than half"):
                plan(keys, sharing=Sharing(needed=needed))
    assert plan(keys).needed == count


@pytest.mark.parametrize(("count", "said"), [(0, "2 to 5"), (1, "2 to 5"), (6, "at most 5 items")])
def test_a_plan_has_two_to_five_aggregators(count: int, said: str) -> None:
    with pytest.raises(InvalidPlan, match=said):
        plan(parties(count))


def test_two_aggregators_with_one_seal_key_are_refused() -> None:
    """One of them could open what was meant for two."""
    first, second, third = plan().aggregators
    with pytest.raises(InvalidPlan, match="seal key of its own"):
        plan(aggregators=(first, replace(second, seal_key=first.seal_key), third))


# --- the ring ---


@pytest.mark.parametrize(
    "changes",
    [
        {"sharing": Sharing(ring_bits=32, fraction_bits=-64, bound=1.0)},
        {"sharing": Sharing(fraction_bits=2, bound=4.0), "max_update_norm": 0.125},
        {"max_update_norm": 2.0**-65},
        {"max_update_norm": float("inf")},
    ],
)
def test_a_plan_in_which_only_zeros_would_travel_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(InvalidPlan, match=r"only zeros would travel|between 2\^-64"):
        plan(**changes)


@pytest.mark.parametrize(
    "key",
    [
        "00" * 32,
        "01" + "00" * 31,
        "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
    ],
)
def test_a_seal_key_of_low_order_is_refused(key: str) -> None:
    first, *others = plan().aggregators
    with pytest.raises(InvalidPlan, match="nothing can be sealed"):
        plan(aggregators=(replace(first, seal_key=key), *others))


@pytest.mark.parametrize(
    ("bits", "fraction_bits", "bound", "count", "fits"),
    [
        (8, 3, 1.0, 15, True),  # 15 x 8 = 120
        (8, 3, 1.0, 16, False),  # 16 x 8 = 128
        (8, 0, 1.0, 127, True),
        (8, 0, 1.0, 128, False),
        (8, -10, 1024.0, 127, True),  # each at most 1
        (8, -10, 1025.0, 127, False),  # rounds up to 2
        (16, 10, 10.5, 3, True),
        (16, 10, 10.75, 3, False),
        (32, 18, 64.0, 127, True),
        (32, 18, 64.0, 128, False),
        (64, 24, 2.0**20, 3, True),
        (64, 60, 2.0, 3, True),
        (64, 61, 2.0, 3, False),
        (64, 64, 2.0**-64, 1000, True),
    ],
)
def test_a_sum_at_the_bound_must_fit_the_ring(
    bits: Any, fraction_bits: int, bound: float, count: int, fits: bool
) -> None:
    rule = Sharing(ring_bits=bits, fraction_bits=fraction_bits, bound=bound)
    if fits:
        rule.check_span(count)
        assert plan(hospitals=hospitals(count), sharing=rule)
        return
    with pytest.raises(RangeExceeded, match="hospitals x bound"):
        rule.check_span(count)
    with pytest.raises(InvalidPlan, match="hospitals x bound"):
        plan(hospitals=hospitals(count), sharing=rule)


def test_the_span_is_checked_in_exact_arithmetic() -> None:
    """As floats this one's triple is 2^63 already; as whole numbers it is just below."""
    largest = float((2**63 - 1) // 3 // 512 * 512)
    assert 3 * largest == 2.0**63 > 3 * int(largest)
    Sharing(ring_bits=64, fraction_bits=0, bound=largest).check_span(3)
    with pytest.raises(RangeExceeded):
        Sharing(ring_bits=64, fraction_bits=0, bound=largest + 512).check_span(3)


@pytest.mark.parametrize("bound", [0.0, -1.0, float("nan"), float("inf"), 2.0**65, 2.0**-65])
def test_a_bound_must_be_a_number_that_float32_holds(bound: float) -> None:
    with pytest.raises(InvalidPlan, match="sharing bound"):
        Sharing(bound=bound)


@pytest.mark.parametrize("fraction_bits", [-65, 65, 1000])
def test_the_fixed_point_has_an_end(fraction_bits: int) -> None:
    with pytest.raises(InvalidPlan, match="fraction_bits"):
        Sharing(fraction_bits=fraction_bits)


def test_evaluations_travel_in_the_widest_ring_whatever_the_plans() -> None:
    one = plan(sharing=Sharing(ring_bits=8, fraction_bits=3, bound=1.0, needed=2))
    assert one.sharing_of("train") == one.sharing
    assert one.sharing_of("evaluate") == EVALUATION
    assert one.needed == 2
    EVALUATION.check_span(2**19 - 1)
    with pytest.raises(RangeExceeded):
        EVALUATION.check_span(2**19)


@pytest.mark.parametrize("patients", [0, -1, MOST_PATIENTS + 1])
def test_a_weight_must_fit_its_digits(patients: int) -> None:
    with pytest.raises(InvalidPlan, match="patients"):
        hospitals(1, patients=patients)
    assert hospitals(1, patients=MOST_PATIENTS)


# --- robust rules, compression, frozen layers, SCAFFOLD ---


@pytest.mark.parametrize(
    ("rule", "tolerated", "least"),
    [
        ("median", 1, 3), ("median", 2, 5), ("trimmed_mean", 1, 3), ("geometric_median", 1, 3),
        ("krum", 1, 5), ("krum", 2, 7), ("multi_krum", 1, 5),
    ],
)  # fmt: skip
def test_a_rule_needs_enough_groups_for_what_it_tolerates(
    rule: Any, tolerated: int, least: int
) -> None:
    robust = Robust(rule=rule, groups=least, tolerated=tolerated)
    assert plan(hospitals=hospitals(3 * least), robust=robust).robust == robust
    with pytest.raises(InvalidPlan, match=f"at least {least} groups"):
        Robust(rule=rule, groups=least - 1, tolerated=tolerated)
    with pytest.raises(InvalidPlan, match="Groups of at least 3"):
        plan(hospitals=hospitals(3 * least - 1), robust=robust)


def test_a_rule_that_tolerates_nothing_is_refused() -> None:
    for tolerated in (0, -1):
        with pytest.raises(InvalidPlan, match="tolerated"):
            Robust(rule="median", groups=3, tolerated=tolerated)


@pytest.mark.parametrize("kept", [0.0, -0.1, 1.0001, float("nan"), float("inf")])
def test_compression_keeps_a_share_of_one(kept: float) -> None:
    with pytest.raises(InvalidPlan, match="compression"):
        Compression(kept=kept)


@pytest.mark.parametrize("norm", [0.0, -1.0, float("nan"), float("inf")])
def test_a_norm_must_be_a_real_number_above_zero(norm: float) -> None:
    with pytest.raises(InvalidPlan, match="max_update_norm"):
        plan(max_update_norm=norm)


@pytest.mark.parametrize("frozen", [-1, 2, 3])
def test_one_layer_at_least_is_trained(frozen: int) -> None:
    with pytest.raises(InvalidPlan, match="frozen_layers"):
        plan(frozen_layers=frozen)


@pytest.mark.parametrize(
    "change",
    [
        {"optimizer": Sgd(learning_rate=0.5, momentum=0.9)},
        {"compression": Compression(kept=0.5)},
        {"robust": Robust(rule="median", groups=3), "hospitals": hospitals(9)},
    ],
)
def test_scaffold_goes_alone(change: dict[str, Any]) -> None:
    assert plan(algorithm=Scaffold())
    assert plan(**change)
    with pytest.raises(InvalidPlan, match="SCAFFOLD"):
        plan(algorithm=Scaffold(), **change)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("sharing", "ring_bits"), 24),
        (("sharing", "needed"), 2.5),
        (("sharing", "needed"), True),
        (("sharing", "fraction_bits"), "18"),
        (("algorithm",), "fedprox"),
        (("algorithm",), {"kind": "fedprox"}),
        (("algorithm",), {"kind": "fedprox", "mu": "1"}),
        (("algorithm",), {"kind": "fedsgd"}),
        (("local_norms",), 1),
        (("averaging",), "0.9"),
        (("start_sha256",), None),
        (("continual",), {"kind": "ewc"}),
        (("augmentation",), {"views": 2.5}),
        (("format",), 1),
        (("format",), 3),
        (("format",), 9),
        (("format",), 11),
        (("shared_noise",), {"colluding": 0}),
        (("shared_noise",), 1),
        (("dp_sgd", "engine"), "tensorflow"),
        (("robust",), {"rule": "mean", "groups": 3, "tolerated": 1}),
        (("compression",), {"kept": 2, "error_feedback": True}),
        (("frozen_layers",), None),
    ],
)
def test_text_that_is_not_of_the_right_kind_is_refused(path: tuple[str, ...], value: Any) -> None:
    table = json.loads(plan(hospitals=hospitals(9)).encode())
    place = table
    for step in path[:-1]:
        place = place[step]
    assert path[-1] in place
    place[path[-1]] = value
    with pytest.raises(InvalidPlan):
        Plan.decode(canonical.encode(table))


def test_the_largest_network_and_roster_still_make_a_plan() -> None:
    wide = Recipe(model=LayerStack(layers=(Linear(features=1024),)), loss=TINY.loss)
    one = plan(hospitals=hospitals(127), recipe=wide)
    assert Plan.decode(one.encode()).hash == one.hash


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"rounds": 0}, "rounds"),
        ({"rounds": 1001}, "rounds"),
        ({"min_hospitals": 2}, "min_hospitals"),
        ({"min_hospitals": 4}, "min_hospitals"),
        ({"study": "Über"}, "study"),
        ({"study": "../x"}, "study"),
        ({"researcher_key": "00"}, "researcher"),
        ({"aggregators": ()}, "aggregators"),
        ({"evaluation": Evaluation(noise_multiplier=1.0, after_rounds=(4,))}, "evaluation"),
        ({"sharing": Sharing(ring_bits=32, fraction_bits=26)}, "ring"),
    ],
)
def test_a_plan_that_cannot_be_is_refused(change: dict[str, object], word: str) -> None:
    with pytest.raises(InvalidPlan, match=word):
        plan(**change)


def test_two_parties_with_one_key_are_refused() -> None:
    first = plan()
    twice = (
        first.hospitals[0],
        replace(first.hospitals[1], verify_key=first.hospitals[0].verify_key),
    )
    with pytest.raises(InvalidPlan, match="key of its own"):
        replace(first, hospitals=(*twice, first.hospitals[2]))


@pytest.mark.parametrize("value", [0.0, -1.0, float("nan"), float("inf")])
def test_privacy_parameters_must_be_real_numbers_above_zero(value: float) -> None:
    good = {"noise_multiplier": 1.0, "max_grad_norm": 1.0, "sample_rate": 0.5, "steps": 1}
    for name in ("noise_multiplier", "max_grad_norm", "sample_rate"):
        with pytest.raises(InvalidPlan, match=name):
            DpSgd(**(good | {name: value}))  # type: ignore[arg-type]
    with pytest.raises(InvalidPlan):
        Sgd(learning_rate=value)
    with pytest.raises(InvalidPlan):
        Evaluation(noise_multiplier=value, after_rounds=())


def test_a_clip_norm_so_small_that_noise_rounds_to_nothing_is_refused() -> None:
    assert 0.5 * 5e-324 == 0.0
    with pytest.raises(InvalidPlan, match="round to nothing"):
        DpSgd(noise_multiplier=0.5, max_grad_norm=5e-324, sample_rate=0.01, steps=1)


def test_bytes_that_are_not_canonical_are_refused() -> None:
    data = plan().encode()
    spaced = json.dumps(json.loads(data)).encode()
    other_rounds = (b'"rounds":"3"', b'"rounds":3.0', b'"rounds":3e0')
    changed = [data.replace(b'"rounds":3', other) for other in other_rounds]
    for bad in (spaced, data + b" ", *changed, b"{}", b"\xff"):
        with pytest.raises(InvalidPlan):
            Plan.decode(bad)


def test_an_unknown_field_or_layer_is_refused() -> None:
    table = json.loads(plan().encode())
    for path in (("code",), ("recipe", "hook")):
        changed = json.loads(json.dumps(table))
        place = changed
        for step in path[:-1]:
            place = place[step]
        place[path[-1]] = "import os"
        with pytest.raises(InvalidPlan):
            Plan.decode(canonical.encode(changed))
    table["recipe"]["model"]["layers"][0]["kind"] = "lambda"
    with pytest.raises(InvalidPlan):
        Plan.decode(canonical.encode(table))


@pytest.mark.parametrize(
    "model",
    [
        LayerStack(layers=(Conv(channels=5), GroupNorm(groups=2))),
        LayerStack(layers=tuple(Pool() for _ in range(5))),
        UNet(widths=(4, 8)),
        LayerStack(layers=tuple(Conv(channels=1024, kernel_px=7) for _ in range(3))),
    ],
)
def test_a_model_that_does_not_fit_the_data_is_refused(model: LayerStack | UNet) -> None:
    with pytest.raises(InvalidPlan):
        Recipe(model=model, loss=TINY.loss).check(SKIN)


def test_opacus_trains_no_lstm_and_a_plan_says_so() -> None:
    series = replace(plan().data, kind="series", channels=("vital signs",), positive="")
    recipe = Recipe(model=LayerStack(layers=(Lstm(units=4),)), loss=CrossEntropy())
    opacus = replace(plan().dp_sgd, engine="opacus")
    with pytest.raises(InvalidPlan, match="Opacus has no rule"):
        plan(data=series, recipe=recipe, dp_sgd=opacus)
    frozen = plan(data=series, recipe=recipe, dp_sgd=opacus, frozen_layers=1)
    ours = replace(frozen, dp_sgd=replace(opacus, engine="consilium"))
    assert frozen.hash != ours.hash


def test_what_is_too_long_to_be_a_plan_is_not_looked_at() -> None:
    wide = Sharing(ring_bits=64, fraction_bits=24)
    many, too_many = (plan(hospitals=hospitals(n), sharing=wide).encode() for n in (1000, 2000))
    assert Plan.decode(many).encode() == many
    for text in (b"[" * (MAX_PLAN_BYTES + 1), too_many):
        with pytest.raises(InvalidPlan, match="at most 262,144 bytes, this one has"):
            Plan.decode(text)


def _filled(*path: str, item: object) -> bytes:
    """A plan of nearly as many bytes as one may have, most of them one thing again and again."""
    table = json.loads(plan().encode())
    part = table
    for name in path[:-1]:
        part = part[name]
    each = len(canonical.encode(item)) + 1
    part[path[-1]] = [item] * ((MAX_PLAN_BYTES - 4000) // each)
    return canonical.encode(table)


WRONG: list[tuple[tuple[str, ...], object]] = [
    (("hospitals",), {}),
    (("hospitals",), 1),
    (("aggregators",), {}),
    (("recipe", "model", "layers"), {}),
    (("recipe", "model", "layers"), {"function": "relu", "kind": "activation"}),
    (("evaluation", "after_rounds"), 1),
    (("evaluation", "after_rounds"), {}),
    (("data", "classes"), "a"),
    (("data", "facts"), ""),
    (("recipe", "loss", "class_weights"), 0),
]


@pytest.mark.parametrize(("path", "item"), WRONG)
def test_a_plan_of_a_hundred_thousand_mistakes_is_refused_at_the_first(
    path: tuple[str, ...], item: object
) -> None:
    """Once each was a problem of its own: 1.3 seconds and 740 MiB for one plan."""
    text = _filled(*path, item=item)
    with pytest.raises(InvalidPlan) as caught:
        Plan.decode(text)
    assert len(str(caught.value)) < 600
    tracemalloc.start()
    with pytest.raises(InvalidPlan):
        Plan.decode(text)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 32 * MAX_PLAN_BYTES


def _open_ended(kind: object, where: str = "plan") -> Iterator[str]:
    """Tuples and texts below a type of a plan that no largest length is declared for."""
    base, *facts = get_args(kind) if get_origin(kind) is Annotated else (kind,)
    declared = any(getattr(one, "metadata", None) for one in facts)
    if base is str and not declared:
        yield where
    if dataclasses.is_dataclass(base):
        for name, hint in get_type_hints(base, include_extras=True).items():
            yield from _open_ended(hint, f"{base.__name__}.{name}")
    if get_origin(base) is Literal:
        return
    if get_origin(base) is tuple and not declared:
        yield where
    for part in get_args(base):
        yield from _open_ended(part, where)


def test_each_tuple_and_text_of_a_plan_has_a_largest_length() -> None:
    assert list(_open_ended(tuple[str, ...])) == ["plan", "plan"]
    assert list(_open_ended(Plan)) == []


def test_many_rounds_in_a_wrong_order_are_not_all_repeated() -> None:
    with pytest.raises(InvalidPlan, match="must be increasing") as caught:
        Evaluation(noise_multiplier=1.0, after_rounds=(1,) * 1000)
    assert len(str(caught.value)) < 200
