"""DP-SGD: the clipped sum is the slow one, and one patient never counts for more than C."""

import itertools

import numpy as np
import pytest
import torch
from opacus import GradSampleModule

from syft_code.cohort import Cohort
from syft_code.errors import InvalidPlan, TrainingFailed
from syft_code.learning import augmentation as augmenting
from syft_code.learning import dp_sgd
from syft_code.learning.distillation import Teacher
from syft_code.learning.dp_sgd import TrainingRun
from syft_code.learning.proximal import ProximalTerm
from syft_code.models import networks
from syft_code.models.compute import HERE, Compute
from syft_code.plans.plan_parts import Augmentation, DpSgd, Engine, Sgd
from syft_code.privacy.noise import NoiseSource, grid_step, on_grid
from syft_code.recipes.recipe import DataSpec, Recipe, layer_parameters
from tests.gradients import (
    BRAIN,
    CASES,
    ROWS,
    SKIN,
    STACK,
    TABLE,
    U_NET,
    a_cohort,
    a_model,
    clip_and_add,
    median_norm,
    slow_gradients,
    without,
)

EVERY = pytest.mark.parametrize(("recipe", "data"), CASES.values(), ids=CASES)
KEY = b"k" * 32


def off_by(total: torch.Tensor, expected: torch.Tensor) -> float:
    return float((total - expected).norm() / expected.norm())


@EVERY
@pytest.mark.parametrize("clip", ["all", "half", "none"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_clipped_sum_is_that_of_a_float64_loop(recipe, data, clip, dtype) -> None:
    cohort = a_cohort(data, 7)
    rows = slow_gradients(a_model(recipe, data), cohort, recipe=recipe)
    norms = rows.norm(dim=1)
    bound = {"all": norms.min() / 3, "half": norms.median(), "none": 2 * norms.max()}[clip].item()
    total = dp_sgd.clipped_sum(
        a_model(recipe, data, dtype=dtype), cohort, recipe=recipe, max_grad_norm=bound
    )
    tolerance = 1e-4 if dtype == torch.float32 else 1e-11
    assert off_by(total, clip_and_add(rows, bound)) <= tolerance


@EVERY
@pytest.mark.parametrize("patients", [1, 3, 8])
def test_however_many_patients_come_in_chunks_of_three(recipe, data, patients, monkeypatch) -> None:
    monkeypatch.setattr(dp_sgd, "MAX_CHUNK", 3)
    cohort = a_cohort(data, patients)
    rows = slow_gradients(a_model(recipe, data), cohort, recipe=recipe)
    model = a_model(recipe, data, dtype=torch.float64)
    total = dp_sgd.clipped_sum(model, cohort, recipe=recipe, max_grad_norm=median_norm(rows))
    assert off_by(total, clip_and_add(rows, median_norm(rows))) <= 1e-11


@pytest.mark.parametrize("case", ["every layer of a stack", "U-Net, a loss a pixel"])
def test_the_gradients_are_those_of_opacus(case) -> None:
    recipe, data = CASES[case]
    cohort = a_cohort(data, 5)
    model = GradSampleModule(a_model(recipe, data), loss_reduction="sum")
    pixels, facts = networks.inputs(cohort.images, cohort.facts)
    logits = model(pixels.requires_grad_(), facts)  # its hooks warn otherwise
    truth = torch.from_numpy(cohort.labels.astype(np.int64))
    networks.loss_per_example(recipe, logits, truth).sum().backward()
    rows = torch.cat([p.grad_sample.flatten(1) for p in model.parameters()], dim=1).double()
    total = dp_sgd.clipped_sum(
        a_model(recipe, data), cohort, recipe=recipe, max_grad_norm=median_norm(rows)
    )
    assert off_by(total, clip_and_add(rows, median_norm(rows))) <= 1e-4


@EVERY
@pytest.mark.parametrize("max_grad_norm", [1e-3, 1.0, 1e6])
def test_one_more_patient_changes_the_sum_by_at_most_the_bound(recipe, data, max_grad_norm) -> None:
    cohort, model = a_cohort(data, 6), a_model(recipe, data)
    arguments = {"recipe": recipe, "max_grad_norm": max_grad_norm}
    everyone = dp_sgd.clipped_sum(model, cohort, **arguments)
    for patient in range(6):
        others = dp_sgd.clipped_sum(model, without(cohort, patient), **arguments)
        assert float((everyone - others).norm()) <= 1.0001 * max_grad_norm


@EVERY
@pytest.mark.parametrize("scale", [0.0, 1e-30, 1e-8, 1e4, 1e18, 1e38])
def test_hostile_weights_and_images_never_exceed_the_bound(recipe, data, scale) -> None:
    cohort = a_cohort(data, 1)
    if cohort.images.dtype == np.float16:
        cohort.images[:] = np.sign(cohort.images) * np.float16(65504)
    cohort.facts[:] = np.sign(cohort.facts) * np.float32(3e38)
    model = a_model(recipe, data)
    weights = np.clip(networks.to_vector(model).astype(np.float64) * scale, -3e38, 3e38)
    networks.from_vector(model, weights)
    total = dp_sgd.clipped_sum(model, cohort, recipe=recipe, max_grad_norm=0.5)
    assert bool(torch.isfinite(total).all())
    assert float(total.norm()) <= 0.5 * 1.0001


@pytest.mark.parametrize("max_grad_norm", [1e-12, 1e-6, 1e9])
def test_a_bound_far_from_one_is_as_exact(max_grad_norm) -> None:
    cohort = a_cohort(TABLE, 5)
    rows = slow_gradients(a_model(ROWS, TABLE), cohort, recipe=ROWS)
    total = dp_sgd.clipped_sum(
        a_model(ROWS, TABLE), cohort, recipe=ROWS, max_grad_norm=max_grad_norm
    )
    assert off_by(total, clip_and_add(rows, max_grad_norm)) <= 1e-4


@pytest.mark.parametrize("poison", [np.nan, np.inf])
@pytest.mark.parametrize("case", ["U-Net with facts, Dice", "series"])
def test_a_slice_that_is_not_finite_counts_as_zero_and_leaves_the_others(case, poison) -> None:
    recipe, data = CASES[case]
    cohort, model = a_cohort(data, 4), a_model(recipe, data)
    clean = dp_sgd.clipped_sum(model, without(cohort, 0), recipe=recipe, max_grad_norm=1.0)
    cohort.images[0, 0, 3, 3] = poison
    total = dp_sgd.clipped_sum(model, cohort, recipe=recipe, max_grad_norm=1.0)
    torch.testing.assert_close(total, clean, rtol=1e-5, atol=1e-7)


def test_a_row_of_facts_too_large_to_learn_from_leaves_the_others() -> None:
    cohort, model = a_cohort(TABLE, 4), a_model(ROWS, TABLE)
    clean = dp_sgd.clipped_sum(model, without(cohort, 0), recipe=ROWS, max_grad_norm=1.0)
    cohort.facts[0] = 3e38
    total = dp_sgd.clipped_sum(model, cohort, recipe=ROWS, max_grad_norm=1.0)
    torch.testing.assert_close(total, clean, rtol=1e-5, atol=1e-7)


@EVERY
def test_nobody_at_all_sums_to_zero(recipe, data) -> None:
    model = a_model(recipe, data)
    total = dp_sgd.clipped_sum(model, a_cohort(data, 0), recipe=recipe, max_grad_norm=1.0)
    assert total.shape == (len(networks.to_vector(model)),)
    assert not bool(total.any())


def test_the_sum_does_not_depend_on_how_patients_are_cut_into_chunks(monkeypatch) -> None:
    cohort, model = a_cohort(SKIN, 9), a_model(STACK, SKIN)
    sums = []
    for chunk in (1, 4, 64):
        monkeypatch.setattr(dp_sgd, "MAX_CHUNK", chunk)
        sums.append(dp_sgd.clipped_sum(model, cohort, recipe=STACK, max_grad_norm=0.3))
    for one, other in itertools.pairwise(sums):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)


VIEWS = {
    "U-Net with facts, Dice": Augmentation(
        views=3, flips=True, rotations=True, shift_px=2, intensity=0.1
    ),
    "every layer of a stack": Augmentation(views=4, flips=True, shift_px=3),
    "images and facts": Augmentation(views=2, intensity=0.3),
    "scattering": Augmentation(views=2, flips=True),
}


@pytest.mark.parametrize("case", VIEWS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_with_views_the_mean_gradient_of_a_patient_is_clipped(case, dtype, monkeypatch) -> None:
    monkeypatch.setattr(dp_sgd, "MAX_CHUNK", 2)
    (recipe, data), augmentation = CASES[case], VIEWS[case]
    cohort, twin = a_cohort(data, 5), NoiseSource.from_key(KEY)
    uniforms = twin.uniform(5 * augmentation.views * augmenting.numbers(cohort.images))
    images, labels = augmenting.views(
        cohort.images,
        cohort.labels,
        augmentation=augmentation,
        uniforms=uniforms.reshape(5 * augmentation.views, -1),
    )
    seen = Cohort(
        images=images,
        labels=labels,
        patient=np.arange(len(images), dtype=np.int32),
        facts=cohort.facts.repeat(augmentation.views, axis=0),
    )
    rows = slow_gradients(a_model(recipe, data), seen, recipe=recipe, views=augmentation.views)
    total = dp_sgd.clipped_sum(
        a_model(recipe, data, dtype=dtype),
        cohort,
        recipe=recipe,
        max_grad_norm=median_norm(rows),
        augmentation=augmentation,
        randomness=NoiseSource.from_key(KEY),
    )
    tolerance = 1e-4 if dtype == torch.float32 else 1e-11
    assert len(rows) == 5
    assert off_by(total, clip_and_add(rows, median_norm(rows))) <= tolerance


def test_views_without_a_source_of_random_numbers_are_refused() -> None:
    with pytest.raises(TrainingFailed, match="source of random numbers"):
        dp_sgd.clipped_sum(
            a_model(STACK, SKIN),
            a_cohort(SKIN, 2),
            recipe=STACK,
            max_grad_norm=1.0,
            augmentation=Augmentation(views=2, flips=True),
        )


@pytest.mark.parametrize("case", ["every layer of a stack", "U-Net, a loss a pixel", "table"])
def test_what_a_teacher_says_is_in_the_gradient_that_is_clipped(case) -> None:
    recipe, data = CASES[case]
    cohort = a_cohort(data, 5)
    teacher = Teacher(a_model(recipe, data, seed=9, dtype=torch.float64), 0.7, 2.0)
    rows = slow_gradients(a_model(recipe, data), cohort, recipe=recipe, teacher=teacher)
    alone = slow_gradients(a_model(recipe, data), cohort, recipe=recipe)
    total = dp_sgd.clipped_sum(
        a_model(recipe, data, dtype=torch.float64),
        cohort,
        recipe=recipe,
        max_grad_norm=median_norm(rows),
        teacher=teacher,
    )
    assert off_by(total, clip_and_add(rows, median_norm(rows))) <= 1e-11
    assert off_by(clip_and_add(alone, median_norm(rows)), total) > 0.01, "it says something"


def run(cohort: Cohort, dp: DpSgd, *, optimizer=None, declared=10, key=KEY, **more) -> np.ndarray:
    training = TrainingRun(
        recipe=STACK,
        dp=dp,
        optimizer=optimizer or Sgd(learning_rate=0.5),
        declared_patients=declared,
        **more,
    )
    model, source = networks.build(STACK, SKIN), NoiseSource.from_key(key)
    return dp_sgd.train(model, cohort, training, randomness=source).update


def test_without_patients_there_is_still_noise_of_the_promised_size_in_every_step() -> None:
    dp = DpSgd(noise_multiplier=3.0, max_grad_norm=0.2, sample_rate=0.25, steps=4)
    nobody = a_cohort(SKIN, 0)
    update = run(nobody, dp, optimizer=Sgd(learning_rate=0.5), declared=100)
    expected = 0.5 * 3.0 * 0.2 / (0.25 * 100) * 2.0  # sqrt(4 steps)
    assert float(update.std()) == pytest.approx(expected, rel=0.1)
    assert abs(float(update.mean())) < 4 * expected / np.sqrt(len(update))


def test_one_step_is_the_clipped_sum_plus_noise_over_the_expected_batch() -> None:
    dp = DpSgd(noise_multiplier=1.5, max_grad_norm=0.3, sample_rate=1.0, steps=1)
    cohort = a_cohort(SKIN, 6)
    update = run(cohort, dp, declared=10)
    total = dp_sgd.clipped_sum(
        networks.build(STACK, SKIN), cohort, recipe=STACK, max_grad_norm=0.3
    ).numpy()
    twin = NoiseSource.from_key(KEY)
    twin.uniform(6), twin.choice(np.ones(6, dtype=np.int64))
    noised = on_grid(total + 1.5 * 0.3 * twin.normal(len(total)), std=1.5 * 0.3)
    np.testing.assert_allclose(update, -0.5 * noised / 10, rtol=1e-6, atol=1e-9)


def test_what_is_descended_on_is_a_whole_number_of_steps_of_the_grid() -> None:
    dp = DpSgd(noise_multiplier=1.5, max_grad_norm=0.3, sample_rate=1.0, steps=1)
    update = run(a_cohort(SKIN, 6), dp, optimizer=Sgd(learning_rate=1.0), declared=8)
    before = networks.to_vector(networks.build(STACK, SKIN)).astype(np.float64)
    noised = 8 * update / grid_step(1.5 * 0.3)
    rounded = 2.0**-53 * np.abs(before) * 8 / grid_step(1.5 * 0.3)  # of weights after less before
    assert (np.abs(noised - np.rint(noised)) <= rounded).all()
    assert np.abs(noised).max() > 2**15, "the grid is fine against the noise"


FROZEN = [(STACK, SKIN, 1), (STACK, SKIN, 4), (U_NET, BRAIN, 3), (U_NET, BRAIN, 14)]
FROZEN += [(*CASES["images and facts"], layers) for layers in (1, 2, 3)]
FROZEN += [(*CASES["series"], 1), (*CASES["table"], 2), (*CASES["scattering"], 1)]


@pytest.mark.parametrize(("recipe", "data", "layers"), FROZEN)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_frozen_layer_has_no_part_in_the_clip_norm(recipe, data, layers, dtype) -> None:
    cohort = a_cohort(data, 7)
    frozen = sum(layer_parameters(recipe, data)[:layers])
    whole = slow_gradients(a_model(recipe, data), cohort, recipe=recipe)
    rows = whole[:, frozen:]
    bound = median_norm(rows)
    total = dp_sgd.clipped_sum(
        a_model(recipe, data, dtype=dtype),
        cohort,
        recipe=recipe,
        max_grad_norm=bound,
        frozen=frozen,
    )
    expected = clip_and_add(rows, bound)
    assert total.shape == expected.shape
    assert off_by(total, expected) <= (1e-4 if dtype == torch.float32 else 1e-11)
    assert off_by(clip_and_add(whole, bound)[frozen:], expected) > 1e-4, "the bounds differ"


@pytest.mark.parametrize("case", ["every layer of a stack", "scattering", "images and facts"])
def test_frozen_layers_stay_and_have_neither_gradient_nor_noise(case) -> None:
    recipe, data = CASES[case]
    dp = DpSgd(noise_multiplier=1.5, max_grad_norm=0.3, sample_rate=1.0, steps=3)
    cohort, model = a_cohort(data, 6), networks.build(recipe, data)
    frozen = sum(layer_parameters(recipe, data)[:2])
    before = networks.to_vector(model)
    update = dp_sgd.train(
        model,
        cohort,
        TrainingRun(
            recipe=recipe,
            dp=dp,
            optimizer=Sgd(learning_rate=0.5),
            declared_patients=10,
            frozen=frozen,
        ),
        randomness=NoiseSource.from_key(KEY),
    ).update
    after = networks.to_vector(model)
    assert np.array_equal(after[:frozen], before[:frozen])
    assert len(update) == len(before) - frozen
    np.testing.assert_allclose(after[frozen:], before[frozen:] + update, atol=1e-5)
    first = networks.build(recipe, data)
    twin = NoiseSource.from_key(KEY)
    expected = np.zeros(len(update))
    for _ in range(3):
        rows = slow_gradients(first, cohort, recipe=recipe)[:, frozen:]
        total = clip_and_add(rows, 0.3).numpy()
        twin.uniform(6), twin.choice(np.ones(6, dtype=np.int64))
        noised = on_grid(total + 1.5 * 0.3 * twin.normal(len(total)), std=1.5 * 0.3)
        expected -= 0.5 * noised / 10
        networks.from_vector(first, before + np.pad(expected, (frozen, 0)))
    np.testing.assert_allclose(update, expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("frozen", [1, 449, 450, 10**9])
def test_no_part_of_a_layer_and_not_all_of_a_network_can_be_frozen(frozen: int) -> None:
    cohort, model = a_cohort(SKIN, 2), a_model(STACK, SKIN)
    everything = len(networks.to_vector(model))
    for count in (frozen, everything):
        with pytest.raises(TrainingFailed, match="whole layers and not all"):
            dp_sgd.clipped_sum(model, cohort, recipe=STACK, max_grad_norm=1.0, frozen=count)


def test_momentum_adds_up_noised_gradients() -> None:
    dp = DpSgd(noise_multiplier=1.0, max_grad_norm=1.0, sample_rate=1.0, steps=2)
    nobody = a_cohort(SKIN, 0)
    update = run(nobody, dp, optimizer=Sgd(learning_rate=1.0, momentum=0.5), declared=1)
    twin = NoiseSource.from_key(KEY)
    first, second = (on_grid(twin.normal(len(update)), std=1.0) for _ in range(2))
    np.testing.assert_allclose(update, -(first + (0.5 * first + second)), rtol=1e-9, atol=1e-9)


def test_a_pull_is_added_after_the_noise_and_has_a_part_in_momentum() -> None:
    dp = DpSgd(noise_multiplier=1.0, max_grad_norm=1.0, sample_rate=1.0, steps=2)
    start = networks.to_vector(networks.build(STACK, SKIN)).astype(np.float64)
    pull = ProximalTerm(strength=0.3, target=start - 1.0)
    update = run(
        a_cohort(SKIN, 0),
        dp,
        optimizer=Sgd(learning_rate=0.5, momentum=0.5),
        declared=1,
        proximal=pull,
    )
    twin = NoiseSource.from_key(KEY)
    first = on_grid(twin.normal(len(update)), std=1.0) + 0.3  # start less target is 1
    once = -0.5 * first
    second = 0.5 * first + on_grid(twin.normal(len(update)), std=1.0) + 0.3 * (1.0 + once)
    np.testing.assert_allclose(update, once - 0.5 * second, rtol=1e-9, atol=1e-9)


def test_a_pull_of_the_wrong_length_is_refused() -> None:
    dp = DpSgd(noise_multiplier=1.0, max_grad_norm=1.0, sample_rate=1.0, steps=1)
    with pytest.raises(TrainingFailed, match=r"proximal term's target must have one number"):
        run(a_cohort(SKIN, 1), dp, proximal=ProximalTerm(strength=1.0, target=np.zeros(3)))


def test_training_with_little_noise_lowers_the_loss() -> None:
    cohort = a_cohort(SKIN, 40)
    cohort.images[cohort.labels == 1, 0] = 255
    model = networks.build(STACK, SKIN)

    def loss() -> float:
        with torch.no_grad():
            logits = model(*networks.inputs(cohort.images, cohort.facts))
            truth = torch.from_numpy(cohort.labels.astype(np.int64))
            return float(networks.loss_per_example(STACK, logits, truth).mean())

    before = loss()
    steps: list[int] = []
    weights = networks.to_vector(model)
    update = dp_sgd.train(
        model,
        cohort,
        TrainingRun(
            recipe=STACK,
            dp=DpSgd(noise_multiplier=0.01, max_grad_norm=1.0, sample_rate=0.5, steps=30),
            optimizer=Sgd(learning_rate=0.5),
            declared_patients=40,
        ),
        randomness=NoiseSource.from_os(),
        on_step=steps.append,
    ).update
    assert steps == list(range(1, 31))
    assert loss() < 0.8 * before
    np.testing.assert_allclose(networks.to_vector(model), weights + update, atol=1e-5)


@pytest.mark.parametrize("slices", [1, 5])
def test_a_patient_counts_once_however_many_slices_it_has(slices: int) -> None:
    dp = DpSgd(noise_multiplier=1e-9, max_grad_norm=0.01, sample_rate=1.0, steps=1, slices=slices)
    update = run(a_cohort(SKIN, 1, slices_each=12), dp, declared=1)
    assert float(np.linalg.norm(update)) == pytest.approx(0.5 * 0.01, rel=1e-4)


def test_a_patients_gradient_is_the_mean_over_slices_that_are_drawn_from_its_own() -> None:
    cohort = Cohort(
        images=np.zeros((5, 3, 16, 16), dtype=np.uint8),
        labels=np.zeros(5, dtype=np.uint8),
        patient=np.array([0, 1, 1, 1, 1], dtype=np.int32),
    )
    source = NoiseSource.from_key(b"s" * 32)
    chosen = dp_sgd._SlicesOfPatients(cohort).sample(1.0, source, slices=4)
    assert chosen.shape == (2, 4)
    assert set(chosen[0]) == {0} and set(chosen[1]) <= {1, 2, 3, 4} and len(set(chosen[1])) > 1


@pytest.mark.parametrize("engine", ["consilium", "opacus"])
@pytest.mark.parametrize("case", ["every layer of a stack", "U-Net with facts, Dice", "table"])
def test_slices_of_a_patient_are_clipped_and_counted_as_one(case: str, engine: Engine) -> None:
    recipe, data = CASES[case]
    cohort = a_cohort(data, 9)
    rows = slow_gradients(a_model(recipe, data), cohort, recipe=recipe, views=3)
    bound = 1.01 * median_norm(rows)
    gradients = _of_slices(recipe, data, cohort, engine=engine)
    found = gradients.clipped_sum(np.arange(9).reshape(3, 3), bound)
    torch.testing.assert_close(
        found.total, clip_and_add(rows, bound), rtol=1e-4, atol=1e-5 * bound, check_dtype=False
    )
    assert found.unclipped == int((rows.norm(dim=1) <= bound).sum()) < 3


@pytest.mark.parametrize("views", [1, 2])
@pytest.mark.parametrize("compute", [HERE, Compute(precision="bf16")], ids=["float32", "bf16"])
def test_one_patient_moves_a_sum_of_many_slices_by_the_clip_norm_at_most(
    compute: Compute, views: int
) -> None:
    recipe, data = CASES["every layer of a stack"]
    cohort = a_cohort(data, 40)
    chosen = np.arange(40).reshape(10, 4)
    task = dp_sgd.Task(recipe=recipe, augmentation=Augmentation(views=views, flips=True))
    sums = [
        _of_slices(recipe, data, cohort, compute=compute, task=task, slices=4)
        .clipped_sum(those, 0.01)
        .total.double()
        for those in (chosen, chosen[:-1])
    ]
    assert 0.005 < float((sums[0] - sums[1]).norm()) <= 1.0001 * 0.01


def _of_slices(
    recipe: Recipe,
    data: DataSpec,
    cohort: Cohort,
    *,
    engine: Engine = "consilium",
    compute: Compute = HERE,
    task: dp_sgd.Task | None = None,
    slices: int = 3,
) -> dp_sgd._Gradients:
    return dp_sgd._Gradients(
        a_model(recipe, data),
        cohort,
        task or dp_sgd.Task(recipe=recipe),
        frozen=0,
        randomness=NoiseSource.from_key(b"v" * 32),
        engine=engine,
        compute=compute,
        slices=slices,
    )


@pytest.mark.parametrize("slices", [0, 65])
def test_a_gradient_is_the_mean_over_some_slices(slices: int) -> None:
    with pytest.raises(InvalidPlan, match=f"the mean over 1 to 64 slices, got {slices}"):
        DpSgd(noise_multiplier=1.0, max_grad_norm=1.0, sample_rate=0.3, steps=1, slices=slices)


@pytest.mark.parametrize(("slices_each", "place"), [(1, 0), (3, 2)])
def test_patients_and_their_slices_are_drawn_evenly(slices_each: int, place: int) -> None:
    cohort = Cohort(
        images=np.zeros((6, 3, 16, 16), dtype=np.uint8),
        labels=np.zeros(6, dtype=np.uint8),
        patient=np.array([2, 0, 2, 1, 2, 0], dtype=np.int32),
    )
    slices = dp_sgd._SlicesOfPatients(cohort)
    source = NoiseSource.from_key(b"s" * 32)
    drawn = [slices.sample(0.3, source, slices=slices_each)[:, place] for _ in range(20_000)]
    for one in drawn:
        assert len(np.unique(cohort.patient[one])) == len(one)
    often = np.bincount(np.concatenate(drawn), minlength=6) / len(drawn)
    np.testing.assert_allclose(often, [0.1, 0.15, 0.1, 0.3, 0.1, 0.15], atol=0.012)
    together = np.mean([len(one) == 3 for one in drawn])
    assert together == pytest.approx(0.027, abs=0.005)


def test_the_declared_number_of_patients_divides_not_the_drawn_one() -> None:
    dp = DpSgd(noise_multiplier=1e-9, max_grad_norm=1.0, sample_rate=1.0, steps=1)
    cohort = a_cohort(SKIN, 5)
    np.testing.assert_allclose(
        run(cohort, dp, declared=5), 2 * run(cohort, dp, declared=10), rtol=1e-4, atol=1e-9
    )


def test_a_declared_number_below_one_is_refused() -> None:
    dp = DpSgd(noise_multiplier=1.0, max_grad_norm=1.0, sample_rate=1.0, steps=1)
    with pytest.raises(InvalidPlan, match="at least 1, got 0"):
        run(a_cohort(SKIN, 2), dp, declared=0)


def test_weights_that_run_away_end_the_training_with_a_sentence() -> None:
    dp = DpSgd(noise_multiplier=1.0, max_grad_norm=1e30, sample_rate=1.0, steps=3)
    with pytest.raises(TrainingFailed, match="Lower the learning rate"):
        run(a_cohort(SKIN, 2), dp, optimizer=Sgd(learning_rate=1e30))
