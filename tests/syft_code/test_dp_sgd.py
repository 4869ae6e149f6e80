"""DP-SGD: the clipped sum is the slow one, and one patient never counts for more than C."""

import itertools

import numpy as np
import pytest
import torch
from opacus import GradSampleModule

from syft_code import dp_sgd, networks
from syft_code.cohort import Cohort
from syft_code.errors import InvalidPlan, TrainingFailed
from syft_code.noise import NoiseSource
from syft_code.plan import DpSgd, Sgd
from syft_code.recipes import (
    Activation,
    Conv,
    CrossEntropy,
    DataSpec,
    DiceCrossEntropy,
    GlobalAverage,
    GroupNorm,
    LayerStack,
    Linear,
    Pool,
    Recipe,
    UNet,
    layer_parameters,
)

SKIN = DataSpec(
    kind="ham10000",
    task="classification",
    channels=("red", "green", "blue"),
    height_px=16,
    width_px=16,
    classes=("bkl", "mel", "nv"),
    patient_unit="lesion",
    stand_in=True,
)
BRAIN = DataSpec(
    kind="brats",
    task="segmentation",
    channels=("t1", "t1ce", "t2", "flair"),
    height_px=16,
    width_px=16,
    classes=("background", "necrotic core", "edema", "enhancing tumour"),
    patient_unit="patient",
    stand_in=True,
)
STACK = Recipe(
    model=LayerStack(
        layers=(
            Conv(channels=6, kernel_px=5, stride=2),
            GroupNorm(groups=2),
            Activation(function="silu"),
            Pool(),
            Conv(channels=8),
            Activation(function="tanh"),
            Linear(features=10),
            GroupNorm(groups=2),
            Activation(),
            Conv(channels=6, kernel_px=1),
            GlobalAverage(),
        )
    ),
    loss=CrossEntropy(class_weights=(1.0, 4.0, 0.5)),
)
U_NET = Recipe(model=UNet(widths=(4, 8, 8)), loss=DiceCrossEntropy())
U_NET_PLAIN = Recipe(
    model=UNet(widths=(4, 8)), loss=CrossEntropy(class_weights=(0.1, 1.0, 1.0, 2.0))
)
CASES = [(STACK, SKIN), (U_NET, BRAIN), (U_NET_PLAIN, BRAIN)]


def some_slices(data: DataSpec, count: int, *, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    shape = (count, len(data.channels), data.height_px, data.width_px)
    if data.task == "classification":
        images = random.integers(0, 256, shape).astype(np.uint8)
        return images, random.integers(0, len(data.classes), count).astype(np.uint8)
    images = random.standard_normal(shape).astype(np.float16)
    labels = random.integers(0, len(data.classes), (count, *shape[2:]))
    return images, labels.astype(np.uint8)


def slow_gradients(model, images, labels, *, recipe) -> torch.Tensor:
    """Float64 gradients by one backward pass for each slice, `[slices, P]`."""
    model = model.double()
    rows = []
    for i in range(len(images)):
        logits = model(networks.inputs(images[i : i + 1]).double())
        truth = torch.from_numpy(labels[i : i + 1].astype(np.int64))
        loss = networks.loss_per_example(recipe, logits, truth)
        grads = torch.autograd.grad(loss.sum(), list(model.parameters()))
        rows.append(torch.cat([g.reshape(-1) for g in grads]))
    return torch.stack(rows)


def clip_and_add(rows: torch.Tensor, max_grad_norm: float) -> torch.Tensor:
    return sum(row * min(1.0, max_grad_norm / float(row.norm())) for row in rows)


def one_cohort(data: DataSpec, patients: int, slices_each: int = 1, *, seed: int = 0) -> Cohort:
    images, labels = some_slices(data, patients * slices_each, seed=seed)
    patient = np.tile(np.arange(patients, dtype=np.int32), slices_each)
    return Cohort(images=images, labels=labels, patient=patient)


@pytest.mark.parametrize(("recipe", "data"), CASES)
@pytest.mark.parametrize("clip", ["all", "half", "none"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_clipped_sum_is_that_of_a_float64_loop(recipe, data, clip, dtype) -> None:
    images, labels = some_slices(data, 7)
    rows = slow_gradients(networks.build(recipe, data), images, labels, recipe=recipe)
    norms = rows.norm(dim=1)
    bound = {"all": norms.min() / 3, "half": norms.median(), "none": 2 * norms.max()}[clip].item()
    expected = clip_and_add(rows, bound)
    total = dp_sgd.clipped_sum(
        networks.build(recipe, data).to(dtype), images, labels, recipe=recipe, max_grad_norm=bound
    )
    tolerance = 1e-3 if dtype == torch.float32 else 1e-6
    assert float((total - expected).norm()) <= tolerance * float(expected.norm())


@pytest.mark.parametrize(("recipe", "data"), CASES)
def test_the_gradients_are_those_of_opacus(recipe, data) -> None:
    images, labels = some_slices(data, 5)
    model = GradSampleModule(networks.build(recipe, data), loss_reduction="sum")
    logits = model(networks.inputs(images).requires_grad_())  # its hooks warn otherwise
    truth = torch.from_numpy(labels.astype(np.int64))
    networks.loss_per_example(recipe, logits, truth).sum().backward()
    rows = torch.cat([p.grad_sample.flatten(1) for p in model.parameters()], dim=1).double()
    bound = float(rows.norm(dim=1).median())
    total = dp_sgd.clipped_sum(
        networks.build(recipe, data), images, labels, recipe=recipe, max_grad_norm=bound
    )
    expected = clip_and_add(rows, bound)
    assert float((total - expected).norm()) <= 1e-4 * float(expected.norm())


@pytest.mark.parametrize(("recipe", "data"), CASES)
@pytest.mark.parametrize("max_grad_norm", [1e-3, 1.0, 1e6])
def test_one_more_patient_changes_the_sum_by_at_most_the_bound(recipe, data, max_grad_norm) -> None:
    images, labels = some_slices(data, 6)
    model = networks.build(recipe, data)
    arguments = {"recipe": recipe, "max_grad_norm": max_grad_norm}
    everyone = dp_sgd.clipped_sum(model, images, labels, **arguments)
    for left_out in range(len(images)):
        rest = np.arange(len(images)) != left_out
        others = dp_sgd.clipped_sum(model, images[rest], labels[rest], **arguments)
        assert float((everyone - others).norm()) <= 1.0001 * max_grad_norm


@pytest.mark.parametrize("scale", [0.0, 1e-30, 1e-8, 1e4, 1e18, 1e38])
@pytest.mark.parametrize(("recipe", "data"), CASES)
def test_hostile_weights_and_images_never_exceed_the_bound(recipe, data, scale) -> None:
    images, labels = some_slices(data, 1)
    if images.dtype == np.float16:
        images = np.sign(images) * np.float16(65504)
    model = networks.build(recipe, data)
    weights = np.clip(networks.to_vector(model).astype(np.float64) * scale, -3e38, 3e38)
    networks.from_vector(model, weights)
    total = dp_sgd.clipped_sum(model, images, labels, recipe=recipe, max_grad_norm=0.5)
    assert bool(torch.isfinite(total).all())
    assert float(total.norm()) <= 0.5 * 1.0001


def test_a_gradient_of_enormous_numbers_is_scaled_down_to_the_bound() -> None:
    rows = torch.full((1, 1000), 3e38)
    total = dp_sgd._clip_and_add(rows, 1.0)
    assert float(total.norm()) == pytest.approx(1.0, rel=1e-6)


@pytest.mark.parametrize("poison", [np.nan, np.inf])
def test_a_slice_that_is_not_finite_counts_as_zero_and_leaves_the_others(poison) -> None:
    images, labels = some_slices(BRAIN, 4)
    model = networks.build(U_NET, BRAIN)
    clean = dp_sgd.clipped_sum(model, images[1:], labels[1:], recipe=U_NET, max_grad_norm=1.0)
    images[0, 0, 3, 3] = poison
    total = dp_sgd.clipped_sum(model, images, labels, recipe=U_NET, max_grad_norm=1.0)
    torch.testing.assert_close(total, clean, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize(("recipe", "data"), CASES)
def test_nobody_at_all_sums_to_zero(recipe, data) -> None:
    images, labels = some_slices(data, 0)
    model = networks.build(recipe, data)
    total = dp_sgd.clipped_sum(model, images, labels, recipe=recipe, max_grad_norm=1.0)
    assert total.shape == (len(networks.to_vector(model)),)
    assert not bool(total.any())


def test_the_sum_does_not_depend_on_how_patients_are_cut_into_chunks(monkeypatch) -> None:
    images, labels = some_slices(SKIN, 9)
    model = networks.build(STACK, SKIN)
    sums = []
    for chunk in (1, 4, 64):
        monkeypatch.setattr(dp_sgd, "MAX_CHUNK", chunk)
        total = dp_sgd.clipped_sum(model, images, labels, recipe=STACK, max_grad_norm=0.3)
        sums.append(total)
    for one, other in itertools.pairwise(sums):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)


def run(
    cohort: Cohort,
    dp: DpSgd,
    *,
    optimizer: Sgd | None = None,
    declared: int = 10,
    key: bytes = b"k" * 32,
) -> np.ndarray:
    return dp_sgd.train(
        networks.build(STACK, SKIN),
        cohort,
        recipe=STACK,
        dp=dp,
        optimizer=optimizer or Sgd(learning_rate=0.5),
        declared_patients=declared,
        randomness=NoiseSource.from_key(key),
    )


def test_without_patients_there_is_still_noise_of_the_promised_size_in_every_step() -> None:
    dp = DpSgd(noise_multiplier=3.0, max_grad_norm=0.2, sample_rate=0.25, steps=4)
    nobody = one_cohort(SKIN, 0)
    update = run(nobody, dp, optimizer=Sgd(learning_rate=0.5), declared=100)
    expected = 0.5 * 3.0 * 0.2 / (0.25 * 100) * 2.0  # sqrt(4 steps)
    assert float(update.std()) == pytest.approx(expected, rel=0.1)
    assert abs(float(update.mean())) < 4 * expected / np.sqrt(len(update))


def test_one_step_is_the_clipped_sum_plus_noise_over_the_expected_batch() -> None:
    dp = DpSgd(noise_multiplier=1.5, max_grad_norm=0.3, sample_rate=1.0, steps=1)
    cohort = one_cohort(SKIN, 6)
    update = run(cohort, dp, declared=10)
    total = dp_sgd.clipped_sum(
        networks.build(STACK, SKIN),
        cohort.images,
        cohort.labels,
        recipe=STACK,
        max_grad_norm=0.3,
    ).numpy()
    twin = NoiseSource.from_key(b"k" * 32)
    twin.uniform(6), twin.choice(np.ones(6, dtype=np.int64))
    noised = total + 1.5 * 0.3 * twin.normal(len(total))
    np.testing.assert_allclose(update, -0.5 * noised / 10, rtol=1e-6, atol=1e-9)


FROZEN = [(STACK, SKIN, 1), (STACK, SKIN, 4), (U_NET, BRAIN, 3), (U_NET, BRAIN, 14)]


@pytest.mark.parametrize(("recipe", "data", "layers"), FROZEN)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_frozen_layer_has_no_part_in_the_clip_norm(recipe, data, layers, dtype) -> None:
    images, labels = some_slices(data, 7)
    frozen = sum(layer_parameters(recipe, data)[:layers])
    rows = slow_gradients(networks.build(recipe, data), images, labels, recipe=recipe)
    bound = float(rows[:, frozen:].norm(dim=1).median())
    expected = clip_and_add(rows[:, frozen:], bound)
    total = dp_sgd.clipped_sum(
        networks.build(recipe, data).to(dtype),
        images,
        labels,
        recipe=recipe,
        max_grad_norm=bound,
        frozen=frozen,
    )
    tolerance = 1e-3 if dtype == torch.float32 else 1e-6
    assert total.shape == expected.shape
    assert float((total - expected).norm()) <= tolerance * float(expected.norm())
    whole = clip_and_add(rows, bound)[frozen:]
    assert float((whole - expected).norm()) > 0.01 * float(expected.norm()), "the bounds differ"


def test_frozen_layers_stay_and_have_neither_gradient_nor_noise() -> None:
    dp = DpSgd(noise_multiplier=1.5, max_grad_norm=0.3, sample_rate=1.0, steps=2)
    cohort, model = one_cohort(SKIN, 6), networks.build(STACK, SKIN)
    frozen = sum(layer_parameters(STACK, SKIN)[:3])
    before = networks.to_vector(model)
    update = dp_sgd.train(
        model,
        cohort,
        recipe=STACK,
        dp=dp,
        optimizer=Sgd(learning_rate=0.5),
        declared_patients=10,
        randomness=NoiseSource.from_key(b"k" * 32),
        frozen=frozen,
    )
    after = networks.to_vector(model)
    assert np.array_equal(after[:frozen], before[:frozen])
    assert len(update) == len(before) - frozen
    np.testing.assert_allclose(after[frozen:], before[frozen:] + update, atol=1e-5)
    first = networks.build(STACK, SKIN)
    twin = NoiseSource.from_key(b"k" * 32)
    expected = np.zeros(len(update))
    for _ in range(2):
        rows = slow_gradients(first, cohort.images, cohort.labels, recipe=STACK)[:, frozen:]
        total = clip_and_add(rows, 0.3).numpy()
        twin.uniform(6), twin.choice(np.ones(6, dtype=np.int64))
        expected -= 0.5 * (total + 1.5 * 0.3 * twin.normal(len(total))) / 10
        networks.from_vector(first, before + np.pad(expected, (frozen, 0)))
    np.testing.assert_allclose(update, expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("frozen", [1, 449, 10**9])
def test_no_part_of_a_tensor_and_not_all_of_a_network_can_be_frozen(frozen: int) -> None:
    images, labels = some_slices(SKIN, 2)
    model = networks.build(STACK, SKIN)
    with pytest.raises(TrainingFailed, match="whole tensors and not all"):
        dp_sgd.clipped_sum(model, images, labels, recipe=STACK, max_grad_norm=1.0, frozen=frozen)
    everything = len(networks.to_vector(model))
    with pytest.raises(TrainingFailed, match="whole tensors and not all"):
        dp_sgd.clipped_sum(
            model, images, labels, recipe=STACK, max_grad_norm=1.0, frozen=everything
        )


def test_momentum_adds_up_noised_gradients() -> None:
    dp = DpSgd(noise_multiplier=1.0, max_grad_norm=1.0, sample_rate=1.0, steps=2)
    nobody = one_cohort(SKIN, 0)
    update = run(nobody, dp, optimizer=Sgd(learning_rate=1.0, momentum=0.5), declared=1)
    twin = NoiseSource.from_key(b"k" * 32)
    first, second = twin.normal(len(update)), twin.normal(len(update))
    np.testing.assert_allclose(update, -(first + (0.5 * first + second)), rtol=1e-9, atol=1e-9)


def test_training_with_little_noise_lowers_the_loss() -> None:
    cohort = one_cohort(SKIN, 40)
    cohort.images[cohort.labels == 1, 0] = 255
    model = networks.build(STACK, SKIN)

    def loss() -> float:
        with torch.no_grad():
            logits = model(networks.inputs(cohort.images))
            truth = torch.from_numpy(cohort.labels.astype(np.int64))
            return float(networks.loss_per_example(STACK, logits, truth).mean())

    before = loss()
    steps: list[int] = []
    weights = networks.to_vector(model)
    update = dp_sgd.train(
        model,
        cohort,
        recipe=STACK,
        dp=DpSgd(noise_multiplier=0.01, max_grad_norm=1.0, sample_rate=0.5, steps=30),
        optimizer=Sgd(learning_rate=0.5),
        declared_patients=40,
        randomness=NoiseSource.from_os(),
        on_step=steps.append,
    )
    assert steps == list(range(1, 31))
    assert loss() < 0.8 * before
    np.testing.assert_allclose(networks.to_vector(model), weights + update, atol=1e-5)


def test_a_patient_counts_once_however_many_slices_it_has() -> None:
    dp = DpSgd(noise_multiplier=1e-9, max_grad_norm=0.01, sample_rate=1.0, steps=1)
    update = run(one_cohort(SKIN, 1, slices_each=12), dp, declared=1)
    assert float(np.linalg.norm(update)) == pytest.approx(0.5 * 0.01, rel=1e-4)


def test_patients_and_their_slices_are_drawn_evenly() -> None:
    cohort = Cohort(
        images=np.zeros((6, 3, 16, 16), dtype=np.uint8),
        labels=np.zeros(6, dtype=np.uint8),
        patient=np.array([2, 0, 2, 1, 2, 0], dtype=np.int32),
    )
    slices = dp_sgd._SlicesOfPatients(cohort)
    source = NoiseSource.from_key(b"s" * 32)
    drawn = [slices.sample(0.3, source) for _ in range(20_000)]
    for one in drawn:
        assert len(np.unique(cohort.patient[one])) == len(one)
    often = np.bincount(np.concatenate(drawn), minlength=6) / len(drawn)
    np.testing.assert_allclose(often, [0.1, 0.15, 0.1, 0.3, 0.1, 0.15], atol=0.012)
    together = np.mean([len(one) == 3 for one in drawn])
    assert together == pytest.approx(0.027, abs=0.005)


def test_the_declared_number_of_patients_divides_not_the_drawn_one() -> None:
    dp = DpSgd(noise_multiplier=1e-9, max_grad_norm=1.0, sample_rate=1.0, steps=1)
    cohort = one_cohort(SKIN, 5)
    np.testing.assert_allclose(
        run(cohort, dp, declared=5), 2 * run(cohort, dp, declared=10), rtol=1e-4, atol=1e-9
    )


def test_a_declared_number_below_one_is_refused() -> None:
    dp = DpSgd(noise_multiplier=1.0, max_grad_norm=1.0, sample_rate=1.0, steps=1)
    with pytest.raises(InvalidPlan, match="at least 1, got 0"):
        run(one_cohort(SKIN, 2), dp, declared=0)


def test_weights_that_run_away_end_the_training_with_a_sentence() -> None:
    dp = DpSgd(noise_multiplier=1.0, max_grad_norm=1e30, sample_rate=1.0, steps=3)
    with pytest.raises(TrainingFailed, match="Lower the learning rate"):
        run(one_cohort(SKIN, 2), dp, optimizer=Sgd(learning_rate=1e30))


def test_training_without_privacy_learns_what_can_be_learned() -> None:
    cohort = one_cohort(SKIN, 60)
    for label in range(3):
        cohort.images[cohort.labels == label, label] = 255
    model = networks.build(STACK, SKIN)
    dp_sgd.train_without_privacy(
        model, cohort, recipe=STACK, learning_rate=0.01, epochs=20, batch_size=16, seed=0
    )
    with torch.no_grad():
        found = model(networks.inputs(cohort.images)).argmax(1).numpy()
    assert (found == cohort.labels).mean() > 0.95
