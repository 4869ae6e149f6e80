"""Noise and sampling from a cryptographic generator.

The stream is AES-256 in counter mode, keyed by the operating system. A researcher can
neither choose nor learn its key; there is no seed. Uniform numbers carry 53 bits, since
24 bits would cut the Gaussian's tail at 5.9 standard deviations.
"""

import os

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from numpy.typing import NDArray

from syft_code.errors import TrainingFailed, require

KEY_BYTES = 32
BLOCK = 1 << 16


class NoiseSource:
    """A stream of random numbers that only the hospital can have drawn.

    Guarantee: no number of the stream can be told from a truly random one, or foreseen, without
    the key, as long as AES-256 holds. A copy in a forked process refuses to draw, since it
    would repeat the stream.
    Does not protect: against attacks on the last bits of floating-point Gaussian noise (Mironov
    2012), which need noised sums at full precision. The noise is in float64 and what leaves is
    rounded to the fixed point of the shares; this makes the attack harder, not impossible.
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

    def uniform(self, size: int) -> NDArray[np.float64]:
        """Numbers in [0, 1), each a multiple of 2^-53.

        >>> float(NoiseSource.from_key(bytes(32)).uniform(1)[0])
        0.5372505566272159
        """
        words = np.frombuffer(self._keystream(8 * size), dtype="<u8")
        return (words >> np.uint64(11)) * 2.0**-53

    def normal(self, size: int) -> NDArray[np.float64]:
        """Standard Gaussian numbers; the largest possible is 8.57.

        Box-Muller: sqrt(-2 ln(1 - u)) (cos 2πv, sin 2πv), for u and v uniform in [0, 1).
        """
        numbers = np.empty(size + size % 2)
        for start in range(0, len(numbers), 2 * BLOCK):
            block = numbers[start : start + 2 * BLOCK].reshape(2, -1)
            uniforms = self.uniform(block.size).reshape(2, -1)
            radius = np.sqrt(-2.0 * np.log1p(-uniforms[0]))
            angle = (2.0 * np.pi) * uniforms[1]
            np.multiply(radius, np.cos(angle), out=block[0])
            np.multiply(radius, np.sin(angle), out=block[1])
        return numbers[:size]

    def choice(self, counts: NDArray[np.int64]) -> NDArray[np.int64]:
        """For each count n (at least 1) one of 0 to n - 1, all equally likely up to 2^-53 n."""
        drawn: NDArray[np.int64] = np.floor(self.uniform(len(counts)) * counts).astype(np.int64)
        return np.minimum(drawn, counts - 1)

    def __reduce__(self) -> str:
        raise TrainingFailed("A noise source must stay in the process that made it.")

    def _keystream(self, size_bytes: int) -> bytes:
        require(
            os.getpid() == self._process,
            "A noise source must stay in the process that made it: make a new one from_os.",
            error=TrainingFailed,
        )
        return self._stream.update(bytes(size_bytes))
