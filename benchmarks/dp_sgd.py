"""How long a DP-SGD step takes against the same step without privacy, and what memory it needs.

    python -m benchmarks.dp_sgd [--repeats 7] [--only U-Net] [--out rows.csv]

Each row is one step: losses, gradients, and new weights for a batch of B patients.

    plain     PyTorch without privacy, the whole batch at once
    tuned     the same in physical batches of 8 (convolutions), channels_last
    ours      `dp_sgd.train`: sample everybody, clip each patient, add noise, descend
    opacus    Opacus' hooks: GradSampleModule, clip, add noise, descend; in batches of 8, and whole

All take turns in one run. Times are CPU time of one thread, since others use the machine too, and
each ratio is the median over turns of one way's time over plain's in the same turn. `ours` is
checked first against a float64 loop over patients. Memory is the most that a fresh process ever
held above what it held before its first step.
"""

import argparse
import csv
import multiprocessing
import statistics
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from opacus import GradSampleModule
from opacus.layers import DPLSTM
from torch import Tensor, nn

from benchmarks.figures import Figure
from syft_code.cohort import Cohort
from syft_code.learning import dp_sgd
from syft_code.learning.dp_sgd import TrainingRun
from syft_code.models import networks
from syft_code.plans.plan_parts import DpSgd, Sgd
from syft_code.privacy.noise import NoiseSource
from syft_code.recipes.architectures import LayerStack, UNet
from syft_code.recipes.layers import Activation, Conv, GlobalAverage, GroupNorm, Linear, Lstm, Pool
from syft_code.recipes.recipe import CrossEntropy, DataSpec, DiceCrossEntropy, Recipe

PHYSICAL_BATCH = 8
STEPS = 4
"""What a training does once (a copy of the network, the draw of an order) is shared by so many."""
DP = DpSgd(noise_multiplier=1.0, max_grad_norm=1.0, sample_rate=1.0, steps=STEPS)
RATE = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A network, its data, and how many patients a step has."""

    recipe: Recipe
    data: DataSpec
    patients: int

    @property
    def convolutions(self) -> bool:
        """Whether small physical batches help."""
        return self.data.kind in ("brats", "ham10000")


def _images(kind: str, size_px: int, channels: int, classes: int) -> DataSpec:
    return DataSpec(
        kind="brats" if kind == "brats" else "ham10000",
        task="segmentation" if kind == "brats" else "classification",
        channels=tuple(f"c{i}" for i in range(channels)),
        height_px=size_px,
        width_px=size_px,
        classes=tuple(f"k{i}" for i in range(classes)),
        patient_unit="patient",
        stand_in=True,
    )


def _numbers(kind: str, hours: int, facts: int) -> DataSpec:
    return DataSpec(
        kind="series" if kind == "series" else "table",
        task="classification",
        channels=("vitals",) if hours else (),
        height_px=hours,
        width_px=facts if hours else 0,
        classes=("well", "ill"),
        patient_unit="patient",
        stand_in=True,
        facts=() if hours else tuple(f"f{i}" for i in range(facts)),
    )


def _cnn() -> LayerStack:
    block = [(Conv(channels=c), GroupNorm(groups=4), Activation(), Pool()) for c in (32, 64, 64)]
    return LayerStack(layers=(*sum(block, ()), GlobalAverage()))


CASES = {
    "U-Net .47M, 64², B32": Case(
        recipe=Recipe(model=UNet(widths=(16, 32, 64, 128)), loss=DiceCrossEntropy()),
        data=_images("brats", 64, 4, 4),
        patients=32,
    ),
    "U-Net 1.9M, 64², B32": Case(
        recipe=Recipe(model=UNet(widths=(32, 64, 128, 256)), loss=DiceCrossEntropy()),
        data=_images("brats", 64, 4, 4),
        patients=32,
    ),
    "CNN, 28², B64": Case(
        recipe=Recipe(model=_cnn(), loss=CrossEntropy()),
        data=_images("ham10000", 28, 3, 7),
        patients=64,
    ),
    "MLP, B256": Case(
        recipe=Recipe(
            model=LayerStack(
                layers=(
                    *(Linear(features=256), Activation()),
                    *(Linear(features=256), Activation()),
                )
            ),
            loss=CrossEntropy(),
        ),
        data=_numbers("table", 0, 64),
        patients=256,
    ),
    "LSTM, T48, B128": Case(
        recipe=Recipe(model=LayerStack(layers=(Lstm(units=64),)), loss=CrossEntropy()),
        data=_numbers("series", 48, 16),
        patients=128,
    ),
}


class TorchLstm(nn.Module):
    """`nn.LSTM`, or Opacus' own, and a linear layer: what the recipe's network is compared with."""

    def __init__(self, kind: type[nn.Module], vitals: int, units: int, classes: int) -> None:
        super().__init__()
        self.lstm, self.last = kind(vitals, units, batch_first=True), nn.Linear(units, classes)

    def forward(self, pixels: Tensor, facts: Tensor) -> Tensor:
        """The logits after the last hour."""
        logits: Tensor = self.last(self.lstm(pixels.squeeze(1))[0][:, -1])
        return logits


def a_cohort(case: Case) -> Cohort:
    """Patients of random numbers."""
    random, data, n = np.random.default_rng(0), case.data, case.patients
    shape = (n, len(data.channels), data.height_px, data.width_px)
    pixels = random.standard_normal(shape)
    mapped = data.task == "segmentation"
    labels = random.integers(0, len(data.classes), (n, *(shape[2:] if mapped else ())))
    return Cohort(
        images=(128 + 40 * pixels).clip(0, 255).astype(np.uint8)
        if data.kind == "ham10000"
        else pixels.astype(np.float16),
        labels=labels.astype(np.uint8),
        patient=np.arange(n, dtype=np.int32),
        facts=random.standard_normal((n, len(data.facts))).astype(np.float32),
    )


def plain_step(case: Case, *, physical: int, channels_last: bool) -> Callable[[], None]:
    """One step of SGD in plain PyTorch."""
    model, cohort = _peer(case, nn.LSTM), a_cohort(case)
    layout = torch.channels_last if channels_last else torch.contiguous_format
    if channels_last:
        model = model.to(memory_format=layout)
    optimizer = torch.optim.SGD(model.parameters(), lr=RATE)

    def step() -> None:
        optimizer.zero_grad()
        for start in range(0, case.patients, physical):
            pixels, facts, truth = _part(cohort, start, physical)
            if channels_last:
                pixels = pixels.contiguous(memory_format=layout)
            losses = networks.loss_per_example(case.recipe, model(pixels, facts), truth)
            (losses.sum() / case.patients).backward()
        optimizer.step()

    return step


def opacus_step(case: Case, *, physical: int) -> Callable[[], None]:
    """One DP-SGD step with Opacus' hooks for the gradients of patients."""
    model = GradSampleModule(_peer(case, DPLSTM), loss_reduction="sum")
    parameters, cohort = list(model.parameters()), a_cohort(case)

    def step() -> None:
        total = [torch.zeros_like(p) for p in parameters]
        for start in range(0, case.patients, physical):
            pixels, facts, truth = _part(cohort, start, physical)
            pixels, facts = pixels.requires_grad_(), facts.requires_grad_()
            losses = networks.loss_per_example(case.recipe, model(pixels, facts), truth)
            _backward(losses.sum())
            norms = torch.stack([p.grad_sample.flatten(1).norm(dim=1) for p in parameters])
            factors = (DP.max_grad_norm / norms.norm(dim=0)).clamp(max=1.0)
            for one, p in zip(total, parameters, strict=True):
                one += torch.einsum("i,i...", factors, p.grad_sample)
            model.zero_grad(set_to_none=True)
        with torch.no_grad():
            for one, p in zip(total, parameters, strict=True):
                p -= RATE / case.patients * (one + DP.noise_multiplier * torch.randn_like(p))

    return step


def _backward(loss: Tensor) -> None:
    """Opacus' DPLSTM has hooks on layers of which no input needs a gradient; torch warns of each."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Full backward hook is firing")
        loss.backward()


def our_step(case: Case) -> Callable[[], None]:
    """Some steps as a hospital takes them."""
    model, cohort = networks.build(case.recipe, case.data), a_cohort(case)
    source = NoiseSource.from_os()

    def step() -> None:
        dp_sgd.train(
            model,
            cohort,
            TrainingRun(
                recipe=case.recipe,
                dp=DP,
                optimizer=Sgd(learning_rate=RATE),
                declared_patients=case.patients,
            ),
            randomness=source,
        )

    return step


def _peer(case: Case, lstm: type[nn.Module]) -> nn.Module:
    model = networks.build(case.recipe, case.data)
    if case.data.kind != "series":
        return model
    return TorchLstm(lstm, case.data.width_px, 64, len(case.data.classes))


def _part(cohort: Cohort, start: int, physical: int) -> tuple[Tensor, Tensor, Tensor]:
    part = slice(start, start + physical)
    truth = torch.from_numpy(cohort.labels[part].astype(np.int64))
    return (*networks.inputs(cohort.images[part], cohort.facts[part]), truth)


def ways(case: Case) -> dict[str, Callable[[], None]]:
    """Every way to take a step of a case; plain comes first."""
    whole, part = case.patients, PHYSICAL_BATCH if case.convolutions else case.patients
    found = {
        "plain": plain_step(case, physical=whole, channels_last=False),
        "tuned": plain_step(case, physical=part, channels_last=case.convolutions),
        "ours": our_step(case),
        "opacus": opacus_step(case, physical=part),
        "opacus whole": opacus_step(case, physical=whole),
    }
    if not case.convolutions:
        del found["tuned"], found["opacus whole"]
    return found


def check(case: Case) -> float:
    """How far the clipped sum is from a float64 loop over a few of the patients, relatively.

    Raises:
        SystemExit: if by more than 1e-3.
    """
    cohort = a_cohort(case).select(np.arange(case.patients) < 6)
    slow = networks.build(case.recipe, case.data).double()
    rows = []
    for i in range(6):
        pixels, facts, truth = _part(cohort, i, 1)
        losses = networks.loss_per_example(
            case.recipe, slow(pixels.double(), facts.double()), truth
        )
        found = torch.autograd.grad(losses.sum(), list(slow.parameters()))
        rows.append(torch.cat([g.flatten() for g in found]))
    bound = float(torch.stack(rows).norm(dim=1).median())
    expected = sum((r * min(1.0, bound / float(r.norm())) for r in rows), torch.zeros(()))
    model = networks.build(case.recipe, case.data)
    total = dp_sgd.clipped_sum(model, cohort, recipe=case.recipe, max_grad_norm=bound)
    off = float((total - expected).norm() / expected.norm())
    if not off <= 1e-3:
        sys.exit(f"The clipped sum is off by {off:.1e} of itself: nothing is measured.")
    return off


def ratios(case: Case, repeats: int) -> dict[str, tuple[float, float]]:
    """Each way's median CPU time in seconds, and its median ratio to plain of the same turn."""
    steps = ways(case)
    for step in steps.values():
        step()
    times: dict[str, list[float]] = {name: [] for name in steps}
    for _ in range(repeats):
        for name, step in steps.items():
            start = time.process_time()
            step()
            steps_taken = STEPS if name == "ours" else 1
            times[name].append((time.process_time() - start) / steps_taken)
    plain = times["plain"]
    return {
        name: (
            statistics.median(those),
            statistics.median(t / p for t, p in zip(those, plain, strict=True)),
        )
        for name, those in times.items()
    }


def peak_mb(name: str, way: str) -> float:
    """What two steps need above what the process held before, in MB, in a process of its own."""
    context = multiprocessing.get_context("spawn")
    with context.Pool(1) as pool:
        return pool.apply(_peak, (name, way))


def _peak(name: str, way: str) -> float:
    torch.set_num_threads(1)
    torch.randn(64, 64) @ torch.randn(64, 64)  # what torch loads at its first product
    step = ways(CASES[name])[way]
    before = _memory_mb("VmRSS")
    step()
    step()
    return _memory_mb("VmHWM") - before


def _memory_mb(line: str) -> float:
    """Held now (VmRSS), or the most that ever was (VmHWM)."""
    status = Path("/proc/self/status").read_text().splitlines()
    return next(int(one.split()[1]) for one in status if one.startswith(line)) / 1024


GOALS = {
    "U-Net .47M, 64², B32": 1.15, "U-Net 1.9M, 64², B32": 1.15, "CNN, 28², B64": 1.15,
    "MLP, B256": 1.3, "LSTM, T48, B128": 1.8,
}  # fmt: skip
"""How many times a plain step ours may take."""


def figures(*, tiny: bool) -> Iterator[Figure]:
    """Our step over a plain one, beside that of Opacus."""
    torch.set_num_threads(1)
    for name, goal in GOALS.items():
        check(CASES[name])
        found = ratios(CASES[name], 1 if tiny else 7)
        yield Figure(
            benchmark="engine", what=name, value=found["ours"][1], unit="x plain", goal=goal,
            limit=1.0, peer=found["opacus"][1], peer_name="Opacus",
        )  # fmt: skip
        if tiny:
            return


def main() -> None:
    """Print the table, and write it where `--out` says."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--only", default="", help="cases whose name begins so")
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    rows = []
    for name, case in CASES.items():
        if not name.startswith(arguments.only):
            continue
        off = check(case)
        print(f"\n{name}: clipped sum within {off:.0e} of a float64 loop")  # noqa: T201
        for way, (seconds, ratio) in ratios(case, arguments.repeats).items():
            memory = peak_mb(name, way)
            rows.append([name, way, f"{seconds * 1e3:.1f}", f"{ratio:.2f}", f"{memory:.0f}"])
            line = f"  {way:14} {seconds * 1e3:9.1f} ms  {ratio:6.2f} x  {memory:6.0f} MB"
            print(line, flush=True)  # noqa: T201
    if arguments.out:
        with arguments.out.open("w", newline="") as file:
            csv.writer(file).writerows([["case", "way", "ms", "ratio", "peak_mb"], *rows])


if __name__ == "__main__":
    main()
