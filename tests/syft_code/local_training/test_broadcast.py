"""What travels with a round has one order and one length, and what a plan names is checked."""

from typing import Any

import numpy as np
import pytest

from syft_code.errors import InvalidMessage
from syft_code.local_training import broadcast
from syft_code.local_training.broadcast import Broadcast
from syft_code.plans.algorithms import Distillation, Ewc, Scaffold
from syft_code.plans.plan import Plan
from syft_code.recipes.recipe import parameter_count
from syft_code.secret_sharing.vector_layout import VectorLayout
from tests.plans import Keys, plan

KEYS = Keys()
OLD, IMPORTANCE = np.full(147, 2.0, np.float32), np.full(147, 3.0, np.float32)
EWC = Ewc(
    strength=1.0,
    reference_sha256=broadcast.sha256(OLD),
    importance_sha256=broadcast.sha256(IMPORTANCE),
)
TEACHER = Distillation(weight=1.0, temperature=2.0, reference_sha256=broadcast.sha256(OLD))


@pytest.mark.parametrize(
    ("changes", "vectors"),
    [
        ({}, 1),
        ({"algorithm": Scaffold()}, 2),
        ({"continual": TEACHER}, 2),
        ({"continual": EWC}, 3),
        ({"continual": EWC, "algorithm": Scaffold()}, 4),
    ],
)
def test_the_parts_come_back_as_they_were_joined(changes: dict[str, Any], vectors: int) -> None:
    agreed = plan(KEYS, **changes)
    count = parameter_count(agreed.recipe, agreed.data)
    assert VectorLayout.of(agreed).broadcast_length("train") == vectors * count
    assert VectorLayout.of(agreed).broadcast_length("evaluate") == count
    sent = np.arange(vectors * count, dtype=np.float32)
    parts = broadcast.unpack(agreed, "train", sent)
    assert np.array_equal(parts.joined(), sent)
    assert parts.weights.tolist() == list(range(count))
    with pytest.raises(InvalidMessage, match="A broadcast must have"):
        broadcast.unpack(agreed, "train", sent[1:])


def test_a_frozen_layer_has_no_control_variate() -> None:
    agreed = plan(KEYS, algorithm=Scaffold(), frozen_layers=1)
    assert VectorLayout.of(agreed).broadcast("train") == {
        "weights": 147,
        "control": 35,
        "reference": 0,
        "importance": 0,
    }


def refused(agreed: Plan, number: int, parts: Broadcast) -> str:
    with pytest.raises(InvalidMessage) as said:
        broadcast.check(agreed, "train", number, parts)
    return str(said.value)


def test_a_vault_takes_the_vectors_of_the_plan_and_no_others() -> None:
    agreed = plan(KEYS, continual=EWC)
    good = Broadcast(weights=OLD, reference=OLD, importance=IMPORTANCE)
    broadcast.check(agreed, "train", 1, good)
    broadcast.check(agreed, "evaluate", 1, Broadcast(weights=OLD))
    other = Broadcast(weights=OLD, reference=IMPORTANCE, importance=IMPORTANCE)
    assert "reference must be the vector" in refused(agreed, 3, other)
    other = Broadcast(weights=OLD, reference=OLD, importance=OLD)
    assert "importance must be the vector" in refused(agreed, 3, other)
    taught = plan(KEYS, continual=TEACHER)
    broadcast.check(taught, "train", 2, Broadcast(weights=OLD, reference=OLD))
    assert "reference" in refused(taught, 2, Broadcast(weights=OLD, reference=IMPORTANCE))


def test_an_importance_below_zero_is_refused_though_the_plan_names_it() -> None:
    below = IMPORTANCE.copy()
    below[5] = -1e-3
    ewc = Ewc(
        strength=1.0,
        reference_sha256=broadcast.sha256(OLD),
        importance_sha256=broadcast.sha256(below),
    )
    parts = Broadcast(weights=OLD, reference=OLD, importance=below)
    assert "below 0" in refused(plan(KEYS, continual=ewc), 1, parts)


def test_named_start_weights_are_those_of_the_first_round_alone() -> None:
    agreed = plan(KEYS, start_sha256=broadcast.sha256(OLD))
    broadcast.check(agreed, "train", 1, Broadcast(weights=OLD))
    assert "weights must be the vector" in refused(agreed, 1, Broadcast(weights=IMPORTANCE))
    broadcast.check(agreed, "train", 2, Broadcast(weights=IMPORTANCE))
