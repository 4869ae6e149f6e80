"""Randomness that can be drawn again: an experiment's noise, its draws of patients, its seeds.

Does not protect: anybody. Whoever knows the seed can take the noise off again. A vault draws from
its operating system, and has no argument by which another source could reach it.
"""

import hashlib
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from syft_code.privacy.noise import KEY_BYTES, NoiseSource

_SEED_BYTES = 32


class Silence(NoiseSource):
    """Draws patients as any source does, and adds nothing where Gaussian noise is asked for.

    For references without privacy alone. What trains with it has no guarantee at all.
    """

    __slots__ = ()

    def add_noise(self, exact: NDArray[np.floating[Any]], *, std: float) -> NDArray[np.float64]:
        """The exact numbers, neither noised nor rounded."""
        return exact.astype(np.float64)

    def add_discrete_noise(
        self, exact: NDArray[np.float64], *, variance: int
    ) -> NDArray[np.float64]:
        """The same."""
        return exact


@dataclass(frozen=True, slots=True, kw_only=True)
class Randomness:
    """What every hospital of an experiment draws, by seed, hospital and round."""

    seed: int
    noised: bool = True

    def noise(self, hospital: str, round_number: int) -> NoiseSource:
        """The source of one hospital in one round."""
        kind = NoiseSource if self.noised else Silence
        return kind(self._digest("noise", hospital, round_number)[:KEY_BYTES])

    def seeds(self, hospital: str, round_number: int, count: int) -> list[bytes]:
        """The seeds of a hospital's pieces; they cancel out, whatever they are."""
        drawn = (self._digest("piece", hospital, round_number, n) for n in range(count))
        return [one[:_SEED_BYTES] for one in drawn]

    def generator(self, *what: object) -> np.random.Generator:
        """A generator for a decision of the simulation itself, such as who takes part."""
        return np.random.default_rng(int.from_bytes(self._digest(*what), "big"))

    def _digest(self, *what: object) -> bytes:
        return hashlib.sha256(repr((self.seed, *what)).encode()).digest()
