"""What a layer keeps of its patients' gradients until all norms are known: the rows, or less."""

from abc import ABC, abstractmethod

import torch
from torch import Tensor

BLOCK = 1024


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
        self._rows = [r.flatten(1) for r in rows]

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
        self._joint, self._widths = joint, widths

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
        self._g, self._a = g, a

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
