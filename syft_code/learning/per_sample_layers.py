"""Layers that compute what torch's do, and on the way back a gradient for each patient apart.

Each is the forward and the backward pass of one kind of layer. `back` is given the gradient of
the summed loss for the layer's output; since no layer mixes slices, its row i is that of slice i
alone, and so is every row made from it here.

Under autocast an output is bf16, and so is the gradient that comes back for it: the products on the
way back take it as it is, and rows become float32 (`gradient_factors`).

Sizes: n slices, which are p patients of `views` slices each; L pixels, T hours.
"""

from abc import ABC, abstractmethod
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from syft_code.errors import TrainingFailed, require
from syft_code.learning.gradient_factors import Dense, GradientFactors, RankOne, SideBySide
from syft_code.models.modules import FilmModule, LstmModule

LEAST_CHANNELS = 8
_backward = torch.ops.aten.convolution_backward
_sigmoid_back, _tanh_back = torch.ops.aten.sigmoid_backward, torch.ops.aten.tanh_backward


class PerSampleLayer(nn.Module, ABC):
    """A layer whose patients' gradients are taken apart; to be used once in a forward pass."""

    has_rows = True
    at_once = 256
    """More slices at a time than so many take longer each."""

    def __init__(self, layer: nn.Module, anchor: Tensor) -> None:
        super().__init__()
        self._own = list(layer.parameters(recurse=False))  # a list: not registered anew
        self._anchor = anchor
        self.size = sum(p.numel() for p in self._own)
        self._uses, self._views = 0, 1
        self._kept: GradientFactors | None = None

    def expect(self, views: int) -> None:
        """Begin a forward pass of slices of which `views` in a row are one patient's."""
        self._uses, self._views, self._kept = 0, views, None

    def take(self) -> GradientFactors:
        """What the backward pass found; once."""
        kept, self._kept = self._kept, None
        if kept is None or self._uses != 1:
            raise TrainingFailed(
                f"Each trained layer must be used once in a forward pass; a {type(self).__name__} "
                f"was used {self._uses} times. Write the network without it."
            )
        return kept

    def forward(self, x: Tensor) -> Tensor:
        self._uses += 1
        y: Tensor = _Watch.apply(x, self._anchor, self)  # type: ignore[no-untyped-call]
        return y

    def summed(self, rows: Tensor) -> Tensor:
        """Rows of slices to rows of patients."""
        return rows if self._views == 1 else self.grouped(rows).sum(1)

    def grouped(self, slices: Tensor) -> Tensor:
        """`[n, ...]` to `[p, views, ...]`."""
        return slices.reshape(len(slices) // self._views, self._views, *slices.shape[1:])

    @abstractmethod
    def compute(self, x: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
        """The output, and what the way back needs."""

    @abstractmethod
    def back(self, g: Tensor, saved: Any, *, first: bool) -> tuple[Tensor | None, GradientFactors]:
        """The gradient for the input (not for the first trained layer), and for the parameters."""


class _Watch(torch.autograd.Function):
    """Has autograd call a watched layer. The anchor makes even the first output need a gradient."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, anchor: Tensor, layer: PerSampleLayer) -> Tensor:
        y, saved = layer.compute(x)
        ctx.layer = layer
        ctx.save_for_backward(*saved)
        return y

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, None, None]:
        (g,) = gradients
        needed, _, _ = ctx.needs_input_grad
        to_input, ctx.layer._kept = ctx.layer.back(g, ctx.saved_tensors, first=not needed)
        return to_input, None, None


class _Places(NamedTuple):
    """How a kernel moves, in pixels."""

    stride: tuple[int, ...]
    padding: tuple[int, ...]


class _Conv(PerSampleLayer):
    at_once = 32

    def __init__(self, layer: nn.Conv2d, anchor: Tensor) -> None:
        super().__init__(layer, anchor)
        _refuse_unless(
            layer.padding_mode == "zeros" and layer.groups == 1 and layer.bias is not None,
            "a Conv2d with zero padding, a bias and no groups",
        )
        _refuse_unless(layer.dilation == (1, 1), "a Conv2d without dilation")
        self._places = _Places(layer.stride, _in_pixels(layer.padding))

    def compute(self, x: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
        weight, bias = self._own
        return functional.conv2d(x, weight, bias, *self._places), (x,)

    def back(self, g: Tensor, saved: Any, *, first: bool) -> tuple[Tensor | None, GradientFactors]:
        (x,) = saved
        weight, _ = self._own
        wanted = [not first, False, False]
        to_input = None if first else _kernels_back(g, x, weight, self._places, wanted=wanted)[0]
        return to_input, Dense(
            *_rows_of_kernels(self.grouped(g), self.grouped(x), weight, self._places)
        )


def _rows_of_kernels(
    g: Tensor, x: Tensor, weight: Tensor, places: _Places
) -> tuple[Tensor, Tensor]:
    """Of g `[p, views, out, ...]` and x `[p, views, in, ...]`, each patient's kernels and biases.

    The patients are the groups of one convolution; for few channels, where groups are slow in
    float32 on a processor, they take turns.
    """
    wanted = [False, True, True]
    if x.shape[2] < LEAST_CHANNELS:
        pairs = zip(g, x, strict=True)
        per_patient = [_kernels_back(*pair, weight, places, wanted=wanted)[1:] for pair in pairs]
        kernels, biases = zip(*per_patient, strict=True)
        return torch.stack(kernels), torch.stack(biases)
    patients = len(x)
    many_g, many_x = (t.transpose(0, 1).flatten(1, 2) for t in (g, x))
    shape = weight.new_empty(patients * len(weight), *weight.shape[1:])
    _, rows, bias = _kernels_back(many_g, many_x, shape, places, groups=patients, wanted=wanted)
    return rows.view(patients, -1), bias.view(patients, -1)


def _kernels_back(
    g: Tensor, x: Tensor, weight: Tensor, places: _Places, *, groups: int = 1, wanted: list[bool]
) -> tuple[Tensor, Tensor, Tensor]:
    """The way back of a convolution: to its input, its kernels and its bias, as far as wanted."""
    per_patient: tuple[Tensor, Tensor, Tensor] = _backward(
        g,
        x.to(g.dtype),
        weight.to(g.dtype),
        [len(weight)],
        *places,
        [1, 1],
        False,
        [0, 0],
        groups,
        wanted,
    )
    return per_patient


def _in_pixels(padding: str | tuple[int, ...]) -> tuple[int, ...]:
    _refuse_unless(not isinstance(padding, str), "a Conv2d whose padding is in pixels")
    return () if isinstance(padding, str) else padding


class _ConvTranspose(PerSampleLayer):
    def __init__(self, layer: nn.ConvTranspose2d, anchor: Tensor) -> None:
        super().__init__(layer, anchor)
        plain = layer.padding == (0, 0) == layer.output_padding and layer.dilation == (1, 1)
        square = layer.kernel_size == layer.stride == (layer.stride[0],) * 2
        _refuse_unless(
            plain and square and layer.groups == 1 and layer.bias is not None,
            "a ConvTranspose2d of kernel = stride, without padding, with a bias and no groups",
        )
        self._places = _Places(layer.stride, (0, 0))

    def compute(self, x: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
        weight, bias = self._own
        return functional.conv_transpose2d(x, weight, bias, *self._places), (x,)

    def back(self, g: Tensor, saved: Any, *, first: bool) -> tuple[Tensor | None, GradientFactors]:
        (x,) = saved
        weight, _ = self._own
        # It is the way back of a convolution from g to x, whose own way back this takes.
        to_input = None if first else functional.conv2d(g, weight.to(g.dtype), None, *self._places)
        rows, _ = _rows_of_kernels(self.grouped(x), self.grouped(g), weight, self._places)
        return to_input, Dense(rows, self.summed(g.flatten(2).sum(2)))


class _GroupNorm(PerSampleLayer):
    def __init__(self, layer: nn.GroupNorm, anchor: Tensor) -> None:
        super().__init__(layer, anchor)
        _refuse_unless(layer.bias is not None, "a GroupNorm with a shift")
        self._groups, self._eps = layer.num_groups, layer.eps

    def compute(self, x: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
        x = x.contiguous().to(self._own[0].dtype)
        n, channels, pixels = len(x), x.shape[1], x[0, 0].numel()
        scale, shift = self._own
        y, mean, rate = torch.native_group_norm(
            x, scale, shift, n, channels, pixels, self._groups, self._eps
        )
        return y, (x, mean, rate)

    def back(self, g: Tensor, saved: Any, *, first: bool) -> tuple[Tensor | None, GradientFactors]:
        x, mean, rate = saved
        n, channels, pixels = len(x), x.shape[1], x[0, 0].numel()
        # One image of n x channels: the sums over the batch that torch takes are then of one slice.
        to_input, scale, shift = torch.ops.aten.native_group_norm_backward(
            g.reshape(1, n * channels, pixels),
            x.view(1, n * channels, pixels),
            mean.view(1, -1),
            rate.view(1, -1),
            self._own[0].repeat(n),
            1,
            n * channels,
            pixels,
            n * self._groups,
            [not first, True, True],
        )
        rows = [self.summed(t.view(n, channels)) for t in (scale, shift)]
        return None if first else to_input.view_as(x), Dense(*rows)


class _Linear(PerSampleLayer):
    has_rows = False

    def __init__(self, layer: nn.Linear, anchor: Tensor) -> None:
        super().__init__(layer, anchor)
        _refuse_unless(layer.bias is not None, "a Linear with a bias")

    def compute(self, x: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
        _refuse_unless(x.ndim == 2, "a Linear on [slices, numbers]")
        return functional.linear(x, *self._own), (x,)

    def back(self, g: Tensor, saved: Any, *, first: bool) -> tuple[Tensor | None, GradientFactors]:
        (x,) = saved
        to_input = None if first else g @ self._own[0].to(g.dtype)
        if self._views == 1:
            return to_input, RankOne(g, x)
        # The mean over views has no rank of one, so that its norm needs the matrix itself.
        many_g, many_x = self.grouped(g), self.grouped(x.to(g.dtype))
        return to_input, Dense(many_g.mT @ many_x, many_g.sum(1))


class _Lstm(PerSampleLayer):
    """Hochreiter & Schmidhuber 1997 with a forget gate, as torch.nn.LSTM computes it.

    Gates i, f, g, o; c = f c + i g; h = o tanh(c). What enters an hour stands side by side, as its
    weights do: `[vitals, last hidden state, 1]`.
    """

    def compute(self, x: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
        n, _, hours, vitals = x.shape
        units = self._own[1].shape[1]
        # One matrix product an hour instead of three, over buffers that no hour allocates anew.
        weights = torch.cat([p.view(4 * units, -1) for p in self._own], dim=1).T.contiguous()
        entering = x.new_ones(n, hours + 1, len(weights))
        entering[:, :-1, :vitals] = x[:, 0]
        hidden = entering[:, :, vitals:-1]
        hidden[:, 0] = 0.0
        gates, cells = x.new_empty(hours, n, 4 * units), x.new_zeros(hours + 1, n, units)
        curved = torch.empty_like(cells)
        for t in range(hours):
            gate = torch.mm(entering[:, t], weights, out=gates[t])
            i, f, g, o = gate.chunk(4, dim=1)
            g.mul_(2.0)  # tanh(x) = 2 sigmoid(2 x) - 1, which takes half as long
            gate.sigmoid_()
            g.mul_(2.0).sub_(1.0)
            cell = torch.mul(f, cells[t], out=cells[t + 1]).addcmul_(i, g)
            torch.mul(cell, 2.0, out=curved[t]).sigmoid_().mul_(2.0).sub_(1.0)
            torch.mul(o, curved[t], out=hidden[:, t + 1])
        return hidden[:, -1].reshape(n, units, 1, 1), (entering, gates, cells, curved)

    def back(self, g: Tensor, saved: Any, *, first: bool) -> tuple[Tensor | None, GradientFactors]:
        entering, gates, cells, curved = saved
        errors = self._errors(g.flatten(1), gates, cells, curved)
        to_input = None if first else (errors @ self._own[0]).unsqueeze(1)
        entered, late = (self.grouped(t).flatten(1, 2) for t in (entering[:, :-1], errors))
        widths = [p[0].numel() for p in self._own]
        return to_input, SideBySide(entered.mT @ late, widths)

    def _errors(self, g: Tensor, gates: Tensor, cells: Tensor, curved: Tensor) -> Tensor:
        """The gradient for each gate before its curve, `[n, T, 4 H]`, from the last hour on."""
        hours, n, width = gates.shape
        errors = g.new_empty(n, hours, width)
        to_hidden, to_cell = g, torch.zeros_like(g)
        # Into slices of `errors`: the gradients of all hours then are one product a patient.
        for t in range(hours - 1, -1, -1):
            i, f, new, o = gates[t].chunk(4, dim=1)
            before_i, before_f, before_new, before_o = errors[:, t].chunk(4, dim=1)
            to_cell += _tanh_back(to_hidden * o, curved[t])
            _sigmoid_back(to_cell * new, i, grad_input=before_i)
            _sigmoid_back(to_cell * cells[t], f, grad_input=before_f)
            _tanh_back(to_cell * i, new, grad_input=before_new)
            _sigmoid_back(to_hidden * curved[t], o, grad_input=before_o)
            to_cell *= f
            to_hidden = errors[:, t] @ self._own[1]
        return errors


def watch(layer: nn.Module, anchor: Tensor) -> PerSampleLayer:
    """The watched layer in place of a layer, on the same parameters.

    Raises:
        TrainingFailed: if the gradients of such a layer can't be taken apart.
    """
    known: dict[type[nn.Module], type[PerSampleLayer]] = {
        nn.Conv2d: _Conv,
        nn.ConvTranspose2d: _ConvTranspose,
        nn.GroupNorm: _GroupNorm,
        nn.Linear: _Linear,
        FilmModule: _Linear,
        LstmModule: _Lstm,
    }
    names = ", ".join(kind.__name__ for kind in known)
    _refuse_unless(type(layer) in known, f"one of {names}, and no {type(layer).__name__}")
    return known[type(layer)](layer, anchor)


def _refuse_unless(right: bool, expected: str) -> None:
    require(
        right,
        f"Only gradients of layers that are checked can be taken apart for each patient: a trained "
        f"layer must be {expected}. Use such a layer, or freeze it.",
        error=TrainingFailed,
    )
