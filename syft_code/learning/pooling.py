"""Max pooling as torch's `MaxPool2d` computes it, two to three times as fast on a processor.

    pixels ─ channels last: the largest of each square, and where ─▶ as they came ─▶
    gradient of each square ─ to where its largest was ─▶ gradient of the pixels

Torch finds the largest of a square quickly if the channels of a pixel stand together in memory, and
brings a gradient back quickly if they don't. Both are torch's own kernels.
"""

from typing import Any

import torch
from torch import Tensor, nn

_pool = torch.ops.aten.max_pool2d_with_indices
_pool_back = torch.ops.aten.max_pool2d_with_indices_backward


class MaxPool(nn.Module):
    """In place of a layer of torch, for the same numbers forward and back, bit for bit."""

    def __init__(self, layer: nn.MaxPool2d) -> None:
        super().__init__()
        self._how = (
            *(layer.kernel_size, layer.stride, layer.padding, layer.dilation),
            layer.ceil_mode,
        )

    def forward(self, pixels: Tensor) -> Tensor:
        pooled: Tensor = _Pool.apply(pixels, self._how)  # type: ignore[no-untyped-call]
        return pooled


class _Pool(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, pixels: Tensor, how: tuple[Any, ...]) -> Tensor:
        largest, where = _pool(pixels.contiguous(memory_format=torch.channels_last), *how)
        ctx.save_for_backward(pixels, where)
        ctx.how = how
        pooled: Tensor = largest.contiguous()
        return pooled

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        pixels, where = ctx.saved_tensors
        return _pool_back(gradients[0], pixels.contiguous(), *ctx.how, where), None
