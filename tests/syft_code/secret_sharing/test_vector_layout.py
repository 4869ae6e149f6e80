"""One layout of a plan's vectors: its parts add up, whatever the plan chooses."""

import numpy as np
import pytest

from syft_code.local_training.broadcast import Broadcast
from syft_code.plans.algorithms import Distillation, Ewc, Scaffold
from syft_code.plans.plan_parts import AdaptiveClip, Compression, DpSgd
from syft_code.recipes.architectures import LayerStack
from syft_code.recipes.layers import Conv, GroupNorm
from syft_code.recipes.recipe import CrossEntropy, Recipe, parameter_count
from syft_code.secret_sharing import compression
from syft_code.secret_sharing.vector_layout import VectorLayout
from tests.plans import plan

HASH = "ab" * 32
NORMED = Recipe(
    model=LayerStack(layers=(Conv(channels=4, stride=2), GroupNorm(groups=2))), loss=CrossEntropy()
)
FOLLOWING = DpSgd(
    noise_multiplier=1.0,
    max_grad_norm=1.0,
    sample_rate=0.2,
    steps=3,
    adaptive=AdaptiveClip(quantile=0.5, learning_rate=0.2, count_noise_multiplier=5.0),
)
CHOICES = {
    "plain": {},
    "frozen": {"frozen_layers": 1},
    "compressed": {"compression": Compression(kept=0.3)},
    "compressed, nothing kept back": {"compression": Compression(kept=0.3, error_feedback=False)},
    "own norms": {"local_norms": True},
    "own norms, compressed": {"local_norms": True, "compression": Compression(kept=0.3)},
    "SCAFFOLD, own norms": {"local_norms": True, "algorithm": Scaffold()},
    "a clip norm that follows": {"dp_sgd": FOLLOWING},
    "EWC": {"continual": Ewc(strength=1.0, reference_sha256=HASH, importance_sha256=HASH)},
    "distillation": {"continual": Distillation(weight=1.0, temperature=2.0, reference_sha256=HASH)},
}


@pytest.mark.parametrize("choice", CHOICES.values(), ids=CHOICES)
def test_the_parts_of_each_vector_add_up(choice) -> None:
    agreed = plan(recipe=NORMED, **choice)
    layout, total = VectorLayout.of(agreed), parameter_count(agreed.recipe, agreed.data)
    assert layout.trained.stop == total
    assert layout.shared_count + layout.kept.norms == layout.trained_count
    assert 1 <= layout.sent_count <= layout.shared_count
    assert layout.kept.memory in (0, layout.shared_count)
    assert layout.kept_length("train") == sum(layout.kept)
    assert layout.kept_length("evaluate") in (0, sum(layout.kept))
    assert layout.result_length("train") == layout.trained_count + layout.kept.clip
    assert layout.result_length("evaluate") == layout.values_length("evaluate")
    assert layout.values_length("train") % layout.sent_count == 0
    for purpose in ("train", "evaluate"):
        assert layout.vector_length(purpose) == (
            layout.values_length(purpose) + layout.weight_digits(purpose)
        )
        assert layout.broadcast_length(purpose) % total in (0, layout.shared_count % total)
    travelled = compression.pick(agreed, 1, np.arange(float(layout.shared_count)))
    assert len(travelled) == layout.sent_count


def test_a_broadcast_has_the_parts_of_the_message_that_travels() -> None:
    assert list(VectorLayout.of(plan()).broadcast("train")) == list(Broadcast.__dataclass_fields__)


def test_a_layout_is_worked_out_once_and_nobody_can_change_it() -> None:
    agreed = plan(recipe=NORMED, local_norms=True)
    layout = VectorLayout.of(agreed)
    assert VectorLayout.of(type(agreed).decode(agreed.encode())) is layout
    with pytest.raises(ValueError, match="read-only"):
        layout.shared[0] = False
