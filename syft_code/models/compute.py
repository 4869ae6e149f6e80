"""Where gradients are computed, and in what numbers: the hospital's choice, no part of a plan.

Clipping is the same for each: rows of gradients become float32 before their norms, and it is those
very rows that are added, in float64 at the end. Noise is drawn on the processor from one generator and
added there, so its bytes do not depend on the device.
"""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass

import torch

from syft_code.errors import TrainingFailed, require
from syft_code.models.devices import Device, Precision


@dataclass(frozen=True, slots=True, kw_only=True)
class Compute:
    """The device, and what the layers' products are computed in; sums and norms are never in bf16.

    Guarantee: that of `dp_sgd.train`, for each choice.
    """

    device: Device = "cpu"
    precision: Precision = "float32"

    def __post_init__(self) -> None:
        require(
            self.device == "cpu" or torch.cuda.is_available(),
            'Training with device = "cuda" needs a CUDA device that this process can open, and there '
            'is none: set device = "cpu" in the hospital\'s entry, or see `consilium doctor`.',
            error=TrainingFailed,
        )

    @property
    def fixed_chunks(self) -> bool:
        """Whether each chunk must have the same size.

        The size decides in which order a product is added up. What that changes in float32 is lost
        in float64 sums; in bf16 it may be a 256th of a number, of every patient in the chunk.
        """
        return self.precision == "bf16"

    @contextlib.contextmanager
    def layers(self) -> Iterator[None]:
        """Run a network's layers in this precision while a block runs."""
        if self.precision == "float32":
            yield
            return
        with torch.autocast(self.device, dtype=torch.bfloat16):
            yield

    @contextlib.contextmanager
    def deterministic(self) -> Iterator[None]:
        """The same chunk gives the same bytes again while a block runs; no TF32 in place of float32."""
        if self.device == "cpu":
            yield
            return
        cudnn, matmul = torch.backends.cudnn, torch.backends.cuda.matmul
        before = (cudnn.deterministic, cudnn.benchmark, cudnn.allow_tf32, matmul.allow_tf32)
        cudnn.deterministic, cudnn.benchmark = True, False
        cudnn.allow_tf32 = matmul.allow_tf32 = False
        try:
            yield
        finally:
            cudnn.deterministic, cudnn.benchmark, cudnn.allow_tf32, matmul.allow_tf32 = before


HERE = Compute()
"""On the processor, in float32."""
