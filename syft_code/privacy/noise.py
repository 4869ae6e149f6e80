"""Noise and sampling from a cryptographic generator, and the grid that noised numbers leave on.

The stream is AES-256 in counter mode, keyed by the operating system. A researcher can
neither choose nor learn its key; there is no seed. Uniform numbers carry 53 bits, and those that
a Gaussian's tail is made of carry as many however small they are.
"""

import math
import os
from typing import Any

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from numpy.typing import NDArray

from syft_code.errors import TrainingFailed, require
from syft_code.privacy import discrete_gaussian

KEY_BYTES = 32
BLOCK = 1 << 16
GRID_BITS = 16
_ZEROS = memoryview(bytes(8 * BLOCK))
TAIL = np.uint64(1 << 48)
"""A word below this, of 64 bits, is too short for a number of the tail: it gets more bits."""


def grid_step(std: float) -> float:
    """The distance of neighbouring numbers that may leave: a power of two, 2^-16 to 2^-15 `std`.

    >>> grid_step(1.0) * 2.0**16
    1.0
    """
    return 2.0 ** (math.ceil(math.log2(std)) - GRID_BITS)


def on_grid(noised: NDArray[np.float64], *, std: float) -> NDArray[np.float64]:
    """Round noised numbers to whole multiples of `grid_step(std)`, in place, before any other use.

    Guarantee: one release of P numbers, noise std z C added to a sum of n vectors of norm at most C,
        is (epsilon + 2 a, delta + 2 d)-DP where exact Gaussian noise is (epsilon, delta)-DP, for
        every d > 0 and a = 2^-31 (sqrt(2 P) + n / z) sqrt(2 ln(1 / d)), to first order; T of them
        have sqrt(T) times that. P = 31 million, n / z = 1000, T = 1000, d = 1e-9: 2 a = 0.002.
      Proof. Rounding exact Gaussian noise is post-processing. Ours lies off the exact one by at most
        2^-49 r, what float64 rounds and the generator leaves out, r being the length of its pair or
        of the noised number in std. So the exact number lies in the same cell of the grid, or as
        near to its edge: a cell's probability differs by a part of at most 2 x 2^-49 r / 2^-16,
        2^-32 r. The pairs are independent, and such parts compose as sqrt(sum of squares)
        (Dwork, Rothblum & Vadhan 2010).
    Does not protect: numbers that are used or sent without this step. Past 12.8 std there is no
        noise: such a number has a probability below 2^-117.
    Source: Mironov 2012, "On significance of the least significant bits for differential privacy";
        Haney et al. 2022, arXiv 2207.10635, on attacks against floating-point noise.

    >>> on_grid(np.array([1.000001, -3.3e-6]), std=1.0)
    array([ 1., -0.])
    """
    step = grid_step(std)
    noised /= step
    np.rint(noised, out=noised)
    noised *= step
    return noised


class NoiseSource:
    """A stream of random numbers that only the hospital can have drawn.

    Guarantee: no number of the stream can be told from a truly random one, or foreseen, without
    the key, as long as AES-256 holds. A copy in a forked process refuses to draw, since it
    would repeat the stream.
    Does not protect: the last bits of a noised sum, in which floating-point Gaussian noise gives
    away what it was added to (Mironov 2012): `add_noise` rounds them off.
    Source: NIST SP 800-38A, counter mode, first counter 0; Box & Muller 1958.
    """

    __slots__ = ("_process", "_stream")

    def __init__(self, key: bytes) -> None:
        """Use `from_os`; a key of one's own is for known-answer tests only."""
        require(
            len(key) == KEY_BYTES,
            f"A noise key must have {KEY_BYTES} bytes, got {len(key)}.",
            error=TrainingFailed,
        )
        self._stream = Cipher(algorithms.AES(key), modes.CTR(bytes(16))).encryptor()
        self._process = os.getpid()

    @classmethod
    def from_os(cls) -> "NoiseSource":
        """A source with a fresh key from the operating system's generator."""
        return cls(os.urandom(KEY_BYTES))

    @classmethod
    def from_key(cls, key: bytes) -> "NoiseSource":
        """A source with a known key: for known-answer tests only, since it repeats itself."""
        return cls(key)

    def words(self, size: int) -> NDArray[np.uint64]:
        """Whole numbers from 0 to 2^64 - 1, the stream itself."""
        return np.frombuffer(self._keystream(8 * size), dtype="<u8")

    def uniform(self, size: int) -> NDArray[np.float64]:
        """Numbers in [0, 1), each a multiple of 2^-53.

        >>> float(NoiseSource.from_key(bytes(32)).uniform(1)[0])
        0.5372505566272159
        """
        words = self.words(size) >> np.uint64(11)
        return words.view("<i8") * 2.0**-53  # signed: one instruction makes eight of them floats

    def normal(self, size: int) -> NDArray[np.float64]:
        """Standard Gaussian numbers; the largest possible is 12.8.

        Box-Muller: sqrt(-2 ln t) (cos 2πv, sin 2πv), for t and v uniform in (0, 1).
        """
        numbers = np.empty(size + size % 2)
        for start in range(0, len(numbers), 2 * BLOCK):
            block = numbers[start : start + 2 * BLOCK].reshape(2, -1)
            radius = self._tail(block.shape[1])
            np.log(radius, out=radius)
            radius *= -2.0
            np.sqrt(radius, out=radius)
            angle = self.uniform(block.shape[1])
            angle *= 2.0 * np.pi
            np.cos(angle, out=block[0])
            np.sin(angle, out=block[1])
            block *= radius
        return numbers[:size]

    def add_noise(self, exact: NDArray[np.floating[Any]], *, std: float) -> NDArray[np.float64]:
        """The Gaussian mechanism: exact numbers with noise of this std, rounded by `on_grid`.

        >>> NoiseSource.from_key(bytes(32)).add_noise(np.array([3.0]), std=0.25) * 2.0**18
        array([706315.])
        """
        noised = self.normal(len(exact))
        noised *= std
        noised += exact
        return on_grid(noised, std=std)

    def add_discrete_noise(
        self, exact: NDArray[np.float64], *, variance: int
    ) -> NDArray[np.float64]:
        """The discrete Gaussian mechanism: numbers rounded to whole ones, with noise on whole numbers.

        Rounding comes first: two neighbouring vectors of P numbers may lie sqrt(P) further apart
        after it, which is the caller's to count in the sensitivity.

        >>> NoiseSource.from_key(bytes(32)).add_discrete_noise(np.array([0.4, 7.0]), variance=1 << 26)
        array([4888.,  953.])
        """
        drawn = discrete_gaussian.sample(variance, len(exact), self.words)
        noised: NDArray[np.float64] = np.rint(exact)
        noised += drawn
        return noised

    def choice(self, counts: NDArray[np.int64]) -> NDArray[np.int64]:
        """For each count n (at least 1) one of 0 to n - 1, all equally likely up to 2^-53 n."""
        drawn: NDArray[np.int64] = np.floor(self.uniform(len(counts)) * counts).astype(np.int64)
        return np.minimum(drawn, counts - 1)

    def __reduce__(self) -> str:
        raise TrainingFailed("A noise source must stay in the process that made it.")

    def _tail(self, size: int) -> NDArray[np.float64]:
        """Numbers in (0, 1] whose last bit is less than 2^-48 of them, however small they are."""
        words = ~self.words(size)
        numbers = words + 0.5
        small = np.flatnonzero(words < TAIL)
        numbers[small] = words[small] + (self.uniform(len(small)) + 2.0**-54)
        numbers *= 2.0**-64
        return numbers

    def _keystream(self, size_bytes: int) -> bytes:
        require(
            os.getpid() == self._process,
            "A noise source must stay in the process that made it: make a new one from_os.",
            error=TrainingFailed,
        )
        zeros = _ZEROS[:size_bytes] if size_bytes <= len(_ZEROS) else bytes(size_bytes)
        return self._stream.update(zeros)
