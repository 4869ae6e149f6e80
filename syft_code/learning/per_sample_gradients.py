"""The gradient of each patient alone, clipped and added: steps 2 and 3 of DP-SGD.

    inputs ─ network of watched layers ─▶ losses ─ one backward pass ─▶ each layer: a row a patient
    rows ─ one norm a patient over all layers ─▶ factors ─ each layer: factors times rows ─▶ sum

A watched layer computes what the layer of torch does. On the way back it also finds the gradient of
its parameters for each patient apart, by one call for all of them:

    Conv2d            the batch as groups of one convolution
    ConvTranspose2d   the same: it is a convolution the other way round
    GroupNorm         the batch folded into the channels
    Linear            g a^T is never written down: its norm is |g| |a|, the sum (f g)^T a
    Lstm              by hand, the gates of all hours, then one matrix product a patient

Everything without parameters is left to autograd (max pooling in a quicker layout, by `pooling`),
and must treat each slice alone (`networks` has no other layers). Norms are always of the very
numbers that are added, never of a formula in which large terms cancel: that is why convolutions on
few pixels have rows too, and no Gram matrix.

Source: Abadi et al. 2016, arXiv 1607.00133v2, Algorithm 1. Goodfellow 2015, arXiv 1510.01799, for
Linear. Rochette et al. 2019, arXiv 1912.06015, for convolutions as groups.
"""

import copy
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float, Float64
from torch import Tensor, nn

from syft_code.errors import TrainingFailed, require
from syft_code.learning.gradient_factors import GradientFactors
from syft_code.learning.per_sample_layers import PerSampleLayer, watch
from syft_code.learning.pooling import MaxPool

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


class PatientGradients:
    """A network's trained parameters, and the clipped gradients of patients for them.

    It looks at the network's own parameters: what is written into them later counts.

    Raises:
        TrainingFailed: if the first `frozen` parameters are not whole layers, or all of them; if a
            trained layer is of a kind, or is used in a way, whose gradient can't be taken apart.
    """

    def __init__(self, network: nn.Module, *, frozen: int = 0) -> None:
        self._anchor = torch.zeros((), requires_grad=True)
        self._network, self._layers = _watched_copy(network, frozen, self._anchor)
        self.size = sum(layer.size for layer in self._layers)
        self.written = sum(layer.size for layer in self._layers if layer.has_rows)
        self.at_once = min(layer.at_once for layer in self._layers)
        self.dtype: torch.dtype = next(network.parameters()).dtype

    def clipped_sum(
        self, chunks: Iterable[Chunk], *, max_grad_norm: float, views: int = 1
    ) -> Clipped:
        """Add up the clipped gradients of all patients, chunk by chunk, in float64.

        With `views` so many slices in a row are one patient's, whose gradient is their mean. A
        gradient that is not finite, or 1e15 times longer than the bound, counts as zero.

        Guarantee: adding or removing one patient changes the sum by at most `max_grad_norm` in L2,
        whatever the slice, the weights and the loss; in float32 the rounding of the other patients
        may change with it, by some 1e-7 of the length of their sum.
        """
        total, unclipped = torch.zeros(self.size, dtype=torch.float64), 0
        for inputs, loss in chunks:
            for layer in self._layers:
                layer.expect(views)
            losses = loss(self._network(*inputs))
            # In units of the bound: then no square of what matters is lost below float32's range.
            scaled = losses.sum() / (max_grad_norm * views)
            torch.autograd.grad(scaled, self._anchor, allow_unused=True)
            unclipped += self._clip_and_add([layer.take() for layer in self._layers], total)
        return Clipped(total=total.mul_(max_grad_norm), unclipped=unclipped)

    @torch.no_grad()
    def _clip_and_add(self, kept: list[GradientFactors], total: Tensor) -> int:
        """Scale each row to a norm of at most 1, leave out what is not finite, add.

        Returns how many rows were within the bound.
        """
        norms = torch.stack([one.squared_norms() for one in kept]).sum(0).sqrt_()
        finite = norms <= FURTHEST
        factors = torch.where(finite, (1.0 - ROUNDING[self.dtype]) / norms.clamp(min=1.0), 0.0)
        if not bool(finite.all()):
            kept = [one.without(~finite) for one in kept]  # since 0 times NaN is NaN
        parts = torch.split(total, [layer.size for layer in self._layers])
        for one, part in zip(kept, parts, strict=True):
            one.add_to(part, factors.to(self.dtype))
        return int((norms <= 1.0).sum())


def _watched_copy(
    network: nn.Module, frozen: int, anchor: Tensor
) -> tuple[nn.Module, list[PerSampleLayer]]:
    """The same network on the same numbers, with watched layers where it is trained."""
    same: dict[int, object] = {id(b): b for b in network.buffers()}
    for parameter in network.parameters():
        same[id(parameter)] = nn.Parameter(parameter.detach(), requires_grad=False)
    twin = copy.deepcopy(network, same)
    layers: list[PerSampleLayer] = []
    start = 0
    for name, layer in list(twin.named_modules()):
        size = sum(p.numel() for p in layer.parameters(recurse=False))
        if size and start >= frozen:
            layers.append(watch(layer, anchor))
            _replace(twin, name, layers[-1])
        elif type(layer) is nn.MaxPool2d and not layer.return_indices:
            _replace(twin, name, MaxPool(layer))
        start += size
    kept = start - sum(layer.size for layer in layers)
    require(
        kept == frozen and bool(layers),
        f"The frozen parameters must be whole layers and not all of them; {frozen} are not.",
        error=TrainingFailed,
    )
    return twin, layers


def _replace(network: nn.Module, name: str, layer: nn.Module) -> None:
    parent, _, last = name.rpartition(".")
    setattr(network.get_submodule(parent), last, layer)
