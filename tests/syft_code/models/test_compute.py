"""The device and the precision change how fast a gradient comes, and nothing of what bounds it."""

import numpy as np
import pytest
import torch

from syft_code.errors import TrainingFailed
from syft_code.learning import dp_sgd
from syft_code.learning.dp_sgd import TrainingRun
from syft_code.models import networks
from syft_code.models.compute import HERE, Compute
from syft_code.plans.plan_parts import Augmentation, DpSgd, Sgd
from syft_code.privacy.noise import NoiseSource
from tests.gradients import CASES, ROWS, SKIN, STACK, TABLE, a_cohort, a_model, without

EVERY = pytest.mark.parametrize(("recipe", "data"), CASES.values(), ids=CASES)
BF16 = Compute(precision="bf16")
BF16_TOLERANCE = 0.06
"""Of the length of a sum: bf16 keeps 8 bits of a number, and here .05 is the most that deep networks add up."""
CUDA_TOLERANCE = 1e-4
needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")


def clipped(recipe, data, cohort, *, bound=0.5, compute=HERE, **more):
    model = a_model(recipe, data)
    return dp_sgd.clipped_sum(
        model, cohort, recipe=recipe, max_grad_norm=bound, compute=compute, **more
    )


@EVERY
def test_bf16_gives_the_sum_of_float32_within_its_tolerance(recipe, data) -> None:
    cohort = a_cohort(data, 7)
    here, short = (clipped(recipe, data, cohort, compute=c) for c in (HERE, BF16))
    assert float((here - short).norm() / here.norm()) <= BF16_TOLERANCE


@EVERY
@pytest.mark.parametrize("bound", [1e-3, 1.0, 1e6])
def test_one_more_patient_changes_a_sum_in_bf16_by_at_most_the_bound(
    recipe, data, bound, monkeypatch
) -> None:
    monkeypatch.setattr(dp_sgd, "MAX_CHUNK", 4)
    cohort = a_cohort(data, 13)
    everyone = clipped(recipe, data, cohort, bound=bound, compute=BF16)
    for patient in (0, 3, 6, 12):
        others = clipped(recipe, data, without(cohort, patient), bound=bound, compute=BF16)
        assert float((everyone - others).norm()) <= 1.0001 * bound


@EVERY
@pytest.mark.parametrize("scale", [0.0, 1e-30, 1e4, 1e18, 1e38])
def test_hostile_weights_in_bf16_never_exceed_the_bound(recipe, data, scale) -> None:
    cohort, model = a_cohort(data, 1), a_model(recipe, data)
    cohort.facts[:] = np.sign(cohort.facts) * np.float32(3e38)
    weights = np.clip(networks.to_vector(model).astype(np.float64) * scale, -3e38, 3e38)
    networks.from_vector(model, weights)
    total = dp_sgd.clipped_sum(model, cohort, recipe=recipe, max_grad_norm=0.5, compute=BF16)
    assert bool(torch.isfinite(total).all())
    assert float(total.norm()) <= 0.5 * 1.0001


@pytest.mark.parametrize("patients", [1, 3, 4, 5])
def test_chunks_in_bf16_have_one_size_and_what_fills_them_up_counts_for_nothing(
    patients, monkeypatch
) -> None:
    sizes, drawn = [], dp_sgd.Batches.__call__

    def noted(batches, chosen):
        sizes.append(len(chosen))
        return drawn(batches, chosen)

    monkeypatch.setattr(dp_sgd, "MAX_CHUNK", 4)
    cohort = a_cohort(TABLE, patients)
    here = clipped(ROWS, TABLE, cohort, bound=1e-3)
    monkeypatch.setattr(dp_sgd.Batches, "__call__", noted)
    filled = clipped(ROWS, TABLE, cohort, bound=1e-3, compute=BF16)
    assert set(sizes) == {4}
    assert float((here - filled).norm() / here.norm()) <= BF16_TOLERANCE


def test_views_of_a_patient_are_one_patient_in_bf16() -> None:
    cohort = a_cohort(SKIN, 3)
    sums = [
        clipped(
            STACK, SKIN, cohort, compute=BF16, augmentation=Augmentation(views=4, flips=True),
            randomness=NoiseSource.from_key(bytes(32)),
        )
        for _ in range(2)
    ]  # fmt: skip
    assert torch.equal(*sums)
    assert float(sums[0].norm()) <= 3 * 0.5 * 1.0001


class _Recorded(NoiseSource):
    """A source that keeps what noise it gave."""

    __slots__ = ("given",)

    def normal(self, size: int):
        numbers = super().normal(size)
        self.given = numbers.copy()
        return numbers


def noise_and_update(compute: Compute) -> tuple[bytes, np.ndarray]:
    run = TrainingRun(
        recipe=ROWS,
        dp=DpSgd(noise_multiplier=1.0, max_grad_norm=1.0, sample_rate=0.5, steps=2),
        optimizer=Sgd(learning_rate=0.1),
        declared_patients=9,
    )
    source = _Recorded(bytes(32))
    trained = dp_sgd.train(
        a_model(ROWS, TABLE), a_cohort(TABLE, 9), run, randomness=source, compute=compute
    )
    return source.given.tobytes(), trained.update


@pytest.mark.parametrize(
    "compute", [{"precision": "bf16"}, pytest.param({"device": "cuda"}, marks=needs_cuda)]
)
def test_the_noise_is_the_same_bytes_on_every_device_and_in_every_precision(compute) -> None:
    noise, update = noise_and_update(HERE)
    other_noise, other_update = noise_and_update(Compute(**compute))
    assert noise == other_noise
    assert np.linalg.norm(update - other_update) <= 0.02 * np.linalg.norm(update)


def test_opacus_refuses_what_it_would_not_do() -> None:
    with pytest.raises(TrainingFailed, match="on the processor in float32"):
        clipped(ROWS, TABLE, a_cohort(TABLE, 2), compute=BF16, engine="opacus")


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_a_device_that_is_not_there_is_one_sentence() -> None:
    with pytest.raises(TrainingFailed, match="needs a CUDA device that this process can open"):
        Compute(device="cuda")


@needs_cuda
@EVERY
@pytest.mark.parametrize("precision", ["float32", "bf16"])
def test_a_gpu_gives_the_sum_of_the_processor_and_the_same_bytes_again(
    recipe, data, precision
) -> None:
    cohort, there = a_cohort(data, 7), Compute(device="cuda", precision=precision)
    here, first, again = (clipped(recipe, data, cohort, compute=c) for c in (HERE, there, there))
    tolerance = CUDA_TOLERANCE if precision == "float32" else BF16_TOLERANCE
    assert float((here - first).norm() / here.norm()) <= tolerance
    assert torch.equal(first, again)


@needs_cuda
@EVERY
def test_one_more_patient_changes_a_sum_on_a_gpu_by_at_most_the_bound(recipe, data) -> None:
    cohort = a_cohort(data, 6)
    for compute in (Compute(device="cuda"), Compute(device="cuda", precision="bf16")):
        everyone = clipped(recipe, data, cohort, compute=compute)
        for patient in range(6):
            others = clipped(recipe, data, without(cohort, patient), compute=compute)
            assert float((everyone - others).norm()) <= 1.0001 * 0.5
