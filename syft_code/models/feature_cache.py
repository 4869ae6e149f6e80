"""What fixed layers say of a picture, kept so that a simulation asks about each picture once.

    picture ─ hash of its bytes ─▶ known? ─ yes ─▶ the kept row
                                     └──── no ───▶ the layers ─▶ kept

Off unless experiments or baselines switch it on. A vault's training process sees one cohort once,
and `batches` keeps what it needs; an experiment trains and evaluates hundreds of times on the same
pictures, and a scattering transform takes longer than all steps of a linear layer on it.
"""

import hashlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from jaxtyping import Float
from torch import Tensor, nn

AT_ONCE = 256


class _Kept:
    """The rows known so far, of one kind of layers and pictures after the other."""

    def __init__(self) -> None:
        self.most_numbers = 0
        self.users = 0
        self.changing = threading.Lock()
        self._numbers = 0
        self._rows: dict[bytes, Tensor] = {}

    def features(self, layers: nn.Sequential, pixels: Tensor) -> Tensor:
        keys = _keys(layers, pixels)
        new = [number for number, key in enumerate(keys) if key not in self._rows]
        if self._numbers > self.most_numbers:
            self._rows, self._numbers = {}, 0
            new = list(range(len(keys)))
        computed: dict[bytes, Tensor] = {}
        for start in range(0, len(new), AT_ONCE):
            part = new[start : start + AT_ONCE]
            rows = layers(pixels[part])
            computed |= {keys[n]: row.clone() for n, row in zip(part, rows, strict=True)}
        self._rows |= computed
        self._numbers += sum(row.numel() for row in computed.values())
        return torch.stack([self._rows[key] for key in keys])


_kept = _Kept()


@contextmanager
def switched_on(*, most_numbers: int = 1 << 26) -> Iterator[None]:
    """Keep rows of about so many numbers in all; they stay for the next time it is switched on.

    Guarantee: what `features` gives is the same, bit for bit, as long as the layers say the same of
    a picture whatever stands beside it, as a scattering transform does.
    """
    with _kept.changing:
        _kept.users += 1
        _kept.most_numbers = max(_kept.most_numbers, most_numbers)
    try:
        yield
    finally:
        with _kept.changing:  # threads leave in any order; the last one switches it off
            _kept.users -= 1
            _kept.most_numbers = _kept.most_numbers if _kept.users else 0


def features(layers: nn.Sequential, pixels: Float[Tensor, "batch ..."]) -> Tensor:
    """What the layers say of each picture; looked up where it is known and they have no parameters."""
    fixed = len(layers) > 0 and not any(True for _ in layers.parameters())
    if not fixed or not _kept.most_numbers or not len(pixels):
        said: Tensor = layers(pixels)
        return said
    return _kept.features(layers, pixels)


def _keys(layers: nn.Sequential, pixels: Tensor) -> list[bytes]:
    said = [
        (type(m).__name__, sorted((k, v) for k, v in vars(m).items() if not k.startswith("_")))
        for m in layers.modules()
    ]
    common = repr((said, pixels.dtype, pixels.shape[1:])).encode()
    pictures = pixels.detach().contiguous().numpy()
    return [hashlib.blake2b(common + picture.tobytes()).digest() for picture in pictures]
