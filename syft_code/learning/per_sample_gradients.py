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

import torch
from torch import Tensor, nn

from syft_code.errors import TrainingFailed, require
from syft_code.learning.gradient_factors import Chunk, GradientFactors, PatientGradients
from syft_code.learning.per_sample_layers import PerSampleLayer, watch
from syft_code.learning.pooling import MaxPool
from syft_code.models.compute import HERE, Compute


class WatchedGradients(PatientGradients):
    """The gradients of patients by layers that take them apart: Consilium's own engine.

    Raises:
        TrainingFailed: if the first `frozen` parameters are not whole layers, or all of them; if a
            trained layer is of a kind, or is used in a way, whose gradient can't be taken apart.
    """

    def __init__(self, network: nn.Module, *, frozen: int = 0, compute: Compute = HERE) -> None:
        self._compute = compute
        self._anchor = torch.zeros((), requires_grad=True, device=compute.device)
        self._network, self._layers = _watched_copy(network, frozen, self._anchor)
        super().__init__(
            sizes=[layer.size for layer in self._layers],
            written=sum(layer.size for layer in self._layers if layer.has_rows),
            at_once=min(layer.at_once for layer in self._layers),
            dtype=next(network.parameters()).dtype,
            device=compute.device,
        )

    def gradients(self, chunk: Chunk, *, scale: float, views: int) -> list[GradientFactors]:
        inputs, loss = chunk
        for layer in self._layers:
            layer.expect(views)
        with self._compute.layers():
            logits = self._network(*inputs)
        losses = loss(logits if logits.dtype == self.dtype else logits.to(self.dtype))
        torch.autograd.grad(losses.sum() / scale, self._anchor, allow_unused=True)
        return [layer.take() for layer in self._layers]


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
