"""What a layer keeps of its patients' gradients until all norms are known, and how they are clipped.

    gradients of a chunk ─▶ one norm a patient over all layers ─▶ factors ─▶ factors times gradients

An engine finds the gradients (`per_sample_gradients`, `opacus_gradients`); clipping and adding is
here, the same for each engine.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float, Float64
from torch import Tensor

BLOCK = 1024
ROUNDING = {torch.float32: 2e-6, torch.float64: 1e-12}
"""By what part the bound is lowered, so that no patient's own rounding takes it past it."""
FURTHEST = 1e15
"""Gradients so many times longer than the bound count as zero, as if they were not finite."""

Chunk = tuple[Sequence[Float[Tensor, "batch ..."]], Callable[[Tensor], Float[Tensor, "batch"]]]
"""The inputs of some patients, and the loss of each slice alone of what the network says."""


class Clipped(NamedTuple):
    """The sum of clipped gradients, and how many patients' gradients were within the bound.

    Both are of the true patients: noise comes on top before anything leaves.
    """

    total: Float64[Tensor, "P"]
    unclipped: int


class _Rows(NamedTuple):
    """How many patients a chunk had, and how many of their gradients were within the bound."""

    patients: int
    unclipped: int


class GradientFactors(ABC):
    """What one layer knows of its patients' gradients until all norms are known."""

    @abstractmethod
    def squared_norms(self) -> Tensor:
        """One number for each patient, float64."""

    @abstractmethod
    def add_to(self, total: Tensor, factors: Tensor) -> None:
        """Add the sum over patients of factor times gradient.

        `total` is float64, the layer's parameters in a row.
        """

    @abstractmethod
    def without(self, patients: Tensor) -> "GradientFactors":
        """The same with zeros for some patients (bool `[p]`)."""


class Dense(GradientFactors):
    """The gradients themselves: one tensor `[p, ...]` for each parameter."""

    def __init__(self, *rows: Tensor) -> None:
        self._rows = [_wide(r).flatten(1) for r in rows]

    def squared_norms(self) -> Tensor:
        return torch.stack([_squared(r) for r in self._rows]).sum(0)

    def add_to(self, total: Tensor, factors: Tensor) -> None:
        parts = torch.split(total, [r.shape[1] for r in self._rows])
        for part, rows in zip(parts, self._rows, strict=True):
            part += factors @ rows

    def without(self, patients: Tensor) -> "Dense":
        return Dense(*(r.masked_fill(patients.unsqueeze(1), 0.0) for r in self._rows))


class SideBySide(GradientFactors):
    """Gradients of matrices that stand side by side, as one matrix a patient: `[p, in, out]`.

    So many rows as `widths` says belong to each, transposed.
    """

    def __init__(self, joint: Tensor, widths: list[int]) -> None:
        self._joint, self._widths = _wide(joint), widths

    def squared_norms(self) -> Tensor:
        return _squared(self._joint.flatten(1))

    def add_to(self, total: Tensor, factors: Tensor) -> None:
        joint = (factors @ self._joint.flatten(1)).view(self._joint.shape[1:])
        total += torch.cat([part.T.flatten() for part in torch.split(joint, self._widths)])

    def without(self, patients: Tensor) -> "SideBySide":
        return SideBySide(self._joint.masked_fill(patients.view(-1, 1, 1), 0.0), self._widths)


class RankOne(GradientFactors):
    """Gradients g a^T of a matrix and g of its bias, kept as g `[p, out]` and a `[p, in]`."""

    def __init__(self, g: Tensor, a: Tensor) -> None:
        self._g, self._a = _wide(g), _wide(a)

    def squared_norms(self) -> Tensor:
        return _squared(self._g) * (_squared(self._a) + 1.0)

    def add_to(self, total: Tensor, factors: Tensor) -> None:
        scaled = self._g * factors.unsqueeze(1)
        matrix, bias = torch.split(total, [scaled.shape[1] * self._a.shape[1], scaled.shape[1]])
        matrix.view(scaled.shape[1], -1).add_(scaled.T @ self._a)
        bias += scaled.sum(0)

    def without(self, patients: Tensor) -> "RankOne":
        where = patients.unsqueeze(1)
        return RankOne(self._g.masked_fill(where, 0.0), self._a.masked_fill(where, 0.0))


class PatientGradients(ABC):
    """Clipped gradients of patients for a network's trained parameters; an engine finds them.

    It looks at the network's own parameters: what is written into them later counts. `written` is
    how many numbers are written down for each patient, `at_once` how many slices go through best.
    """

    def __init__(
        self,
        *,
        sizes: Sequence[int],
        written: int,
        at_once: int,
        dtype: torch.dtype,
        device: str = "cpu",
    ) -> None:
        self._sizes, self.device = list(sizes), device
        self.size, self.written, self.at_once, self.dtype = sum(sizes), written, at_once, dtype

    @abstractmethod
    def gradients(self, chunk: Chunk, *, scale: float, views: int) -> list[GradientFactors]:
        """Each layer's gradients of the patients' summed losses ÷ `scale`, which is of `views`."""

    def clipped_sum(
        self,
        chunks: Iterable[Chunk],
        *,
        max_grad_norm: float,
        views: int = 1,
        patients: int | None = None,
    ) -> Clipped:
        """Add up the clipped gradients of all patients, chunk by chunk, in float64.

        With `views` so many slices in a row are one patient's, whose gradient is their mean. A
        gradient that is not finite, or 1e15 times longer than the bound, counts as zero; so does
        each after the first `patients`.

        Guarantee: adding or removing one patient changes the sum by at most `max_grad_norm` in L2,
        whatever the slice, the weights and the loss; in float32 the rounding of the other patients
        may change with it, by some 1e-7 of the length of their sum.
        """
        total = torch.zeros(self.size, dtype=torch.float64, device=self.device)
        unclipped, left = 0, patients
        # In units of the bound: then no square of what matters is lost below float32's range.
        scale = max_grad_norm * views
        for chunk in chunks:
            gradients = self.gradients(chunk, scale=scale, views=views)
            rows = self._clip_and_add(gradients, total, left)
            unclipped += rows.unclipped
            left = None if left is None else max(0, left - rows.patients)
        return Clipped(total=total.mul_(max_grad_norm).cpu(), unclipped=unclipped)

    @torch.no_grad()
    def _clip_and_add(
        self, gradients: list[GradientFactors], total: Tensor, first: int | None
    ) -> "_Rows":
        """Scale each row to a norm of at most 1, leave out what is not finite or not of the first, add."""
        norms = torch.stack([layer.squared_norms() for layer in gradients]).sum(0).sqrt_()
        finite = norms <= FURTHEST
        if first is not None and first < len(norms):
            finite[first:] = False
        factors = torch.where(finite, (1.0 - ROUNDING[self.dtype]) / norms.clamp(min=1.0), 0.0)
        if not bool(finite.all()):
            gradients = [layer.without(~finite) for layer in gradients]  # since 0 times NaN is NaN
        for layer, part in zip(gradients, torch.split(total, self._sizes), strict=True):
            layer.add_to(part, factors.to(self.dtype))
        return _Rows(patients=len(norms), unclipped=int(((norms <= 1.0) & finite).sum()))


def _wide(rows: Tensor) -> Tensor:
    """At least float32: norms, and the sums that they bound, are of the same numbers."""
    return rows.float() if rows.dtype == torch.bfloat16 else rows


def _squared(rows: Tensor) -> Tensor:
    """The squared length of each row: of short blocks as they are, of all blocks in float64.

    Over five million float32 in one go torch's norm is off by 2e-5; over blocks by 1e-8.
    """
    if rows.shape[1] <= BLOCK:
        short: Tensor = torch.linalg.vector_norm(rows, dim=1)
        return short.double().square()
    blocks = rows.shape[1] // BLOCK
    whole = rows[:, : blocks * BLOCK].reshape(len(rows), blocks, BLOCK)
    rest = rows[:, blocks * BLOCK :]
    lengths = [torch.linalg.vector_norm(whole, dim=2), torch.linalg.vector_norm(rest, dim=1)]
    return torch.cat([lengths[0], lengths[1].unsqueeze(1)], dim=1).double().square().sum(1)
