"""The gradient of each patient alone by Opacus: `GradSampleModule`, for a plan that names it.

    inputs ─ the network with Opacus' hooks ─▶ losses ─ one backward pass ─▶ `grad_sample`: a row a slice

Opacus finds the gradients and nothing else. Sampling, clipping, noise and the ledger are those of
`dp_sgd`, so the guarantee does not depend on Opacus' optimizer, and an empty Poisson sample, on
which its hooks would fail, never gets here. Of Opacus' ways this takes the hooks: its ghost
clipping stops to clip, in silence, when the loss has the shape [B, 1].

`dp_sgd` imports this file when a plan says `engine = "opacus"`, and no other file does.

Source: Yousefpour et al. 2021, "Opacus", arXiv 2109.12298.
"""

import copy

from opacus import GradSampleModule
from opacus.grad_sample import register_grad_sampler
from opacus.grad_sample.linear import compute_linear_grad_sample
from torch import Tensor, nn

from syft_code.errors import TrainingFailed, require
from syft_code.learning.gradient_factors import Chunk, Dense, GradientFactors, PatientGradients
from syft_code.models.modules import FilmModule

AT_ONCE = 8
"""Slices that go through together: Opacus' rows of more of them leave the processor's cache."""
KNOWN = (nn.Conv2d, nn.ConvTranspose2d, nn.GroupNorm, nn.Linear, FilmModule)
"""Layers of which Opacus' own rule and a loop over slices give the same gradient, by test."""

register_grad_sampler(FilmModule)(compute_linear_grad_sample)  # it is a Linear of another name


class OpacusGradients(PatientGradients):
    """The gradients of patients by Opacus' hooks, on the network's own parameters.

    Raises:
        TrainingFailed: if the first `frozen` parameters are not whole layers, or all of them; if a
            trained layer is of a kind that Opacus has no tested rule for.
    """

    def __init__(self, network: nn.Module, *, frozen: int = 0) -> None:
        twin = _twin(network, frozen)
        self._parameters = [p for p in twin.parameters() if p.requires_grad]
        self._network = GradSampleModule(twin.train(), loss_reduction="sum", strict=True)
        sizes = [p.numel() for p in self._parameters]
        super().__init__(
            sizes=sizes, written=sum(sizes), at_once=AT_ONCE, dtype=next(twin.parameters()).dtype
        )

    def gradients(self, chunk: Chunk, *, scale: float, views: int) -> list[GradientFactors]:
        inputs, loss = chunk
        # Without an input that needs a gradient torch calls no full backward hook of a first layer.
        losses = loss(self._network(*(x.detach().requires_grad_() for x in inputs)))
        (losses.sum() / scale).backward()  # type: ignore[no-untyped-call]
        patients = len(losses) // views
        return [Dense(_take(p, patients)) for p in self._parameters]


def _take(parameter: nn.Parameter, patients: int) -> Tensor:
    """The rows of one parameter, of views summed to patients; the next chunk starts from none."""
    rows = getattr(parameter, "grad_sample", None)
    require(
        isinstance(rows, Tensor) and len(rows) % patients == 0,
        "Each trained layer must be used in a forward pass, on all slices; Opacus has no gradient "
        'for one. Set engine to "consilium".',
        error=TrainingFailed,
    )
    parameter.grad_sample, parameter.grad = None, None  # type: ignore[attr-defined]
    summed: Tensor = rows.reshape(patients, -1, parameter.numel()).sum(1)  # type: ignore[union-attr]
    return summed


def _twin(network: nn.Module, frozen: int) -> nn.Module:
    """The same network on the same numbers, in which the trained parameters need gradients."""
    same: dict[int, object] = {id(b): b for b in network.buffers()}
    start = 0
    for parameter in network.parameters():
        trained = start >= frozen
        same[id(parameter)] = nn.Parameter(parameter.detach(), requires_grad=trained)
        start += 0 if trained else parameter.numel()
    twin = copy.deepcopy(network, same)
    for layer in twin.modules():
        _check(layer)
    require(
        start == frozen and any(p.requires_grad for p in twin.parameters()),
        f"The frozen parameters must be whole layers and not all of them; {frozen} are not.",
        error=TrainingFailed,
    )
    return twin


def _check(layer: nn.Module) -> None:
    """Raise unless Opacus computes this layer's gradients, and computes them right."""
    trained = [p.requires_grad for p in layer.parameters(recurse=False)]
    if not any(trained):
        return
    padding = getattr(layer, "padding_mode", "zeros")
    known = ", ".join(kind.__name__ for kind in KNOWN)
    require(
        all(trained) and type(layer) in KNOWN and padding == "zeros",
        f"A layer that Opacus trains must be one of {known}, whole and with padding by zeros, got "
        f"{type(layer).__name__} with padding_mode {padding!r}: use another layer, or set engine "
        'to "consilium".',
        error=TrainingFailed,
    )
