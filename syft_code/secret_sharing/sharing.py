"""Secret sharing over Z mod 2^b, in the style of Prio: mathematics only.

    hospital      encode, shard             float vector ─▶ ring vector ─▶ pieces
                  encode_and_shard          the same in one pass, with the weight
    aggregator i  add_seeds, add_vector     a piece of every hospital ─▶ the sum of that piece
    researcher    unshard, decode           the sums of all pieces ─▶ the sum of the vectors

A vector is the sum of its pieces. All pieces but the last are seeds of 32 bytes, the last is the
encoded vector minus the expanded seeds. Which aggregator holds which piece is a `Scheme`'s to say.
Transport, signatures and sealing live elsewhere; randomness is an argument.

Guarantee: the pieces of any `needed` - 1 aggregators are independent of the vector, as long as the
seeds are drawn from the operating system's generator, used once, and AES-256 is a good
pseudo-random permutation. The opened sum is the plain fixed-point sum, bit for bit; decoded to
float64 it is exact as far as 53 bits reach.

Does not protect: the sum itself (that is what differential privacy is for), or anything once
`needed` aggregators put their pieces together.

Source: Corrigan-Gibbs and Boneh, "Prio", NSDI 2017, section 4 and appendix I (seeds for shares);
Ito, Saito and Nishizeki, "Secret sharing scheme realizing general access structure", Globecom 1987
(replicated shares); shard, aggregate and unshard are the names of the IETF's VDAFs.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from syft_code.errors import RangeExceeded, SharingError, require
from syft_code.plans.plan_parts import Sharing
from syft_code.plans.roster import MOST_AGGREGATORS, WEIGHT_BITS
from syft_code.secret_sharing.keystream import BLOCK_BYTES, Keystream, in_parts

Ring = NDArray[np.unsignedinteger[Any]]
"""Elements of Z mod 2^b: uint8 to uint64, little-endian."""
_SIGNED = {size: np.dtype(f"<i{size}") for size in (1, 2, 4, 8)}
Payload = bytes | memoryview
"""One piece: 32 bytes of seed, or the bytes of a ring vector."""


@dataclass(frozen=True, slots=True)
class Scheme:
    """Which of `parties` aggregators holds which piece, so that any `needed` of them hold all.

    There is one piece for each set of `needed` - 1 aggregators, and all others hold it: so many
    lack a piece, and one more has it. With `needed` = `parties`, aggregator i holds piece i alone.
    Pieces and aggregators count from 1; the last piece is the vector.

    >>> Scheme(3, 3).pieces, Scheme(3, 2).pieces
    (3, 3)
    >>> [Scheme(3, 2).held_by(party) for party in (1, 2, 3)]
    [(1, 2), (1, 3), (2, 3)]
    """

    parties: int
    needed: int

    def __post_init__(self) -> None:
        require(
            1 <= self.needed <= self.parties <= MOST_AGGREGATORS,
            f"There must be 1 to {MOST_AGGREGATORS} aggregators, and of those the needed ones, got "
            f"{self.needed} of {self.parties}.",
            error=SharingError,
        )

    @property
    def pieces(self) -> int:
        """How many pieces a vector has."""
        return len(self._holders())

    def holders(self, piece: int) -> tuple[int, ...]:
        """The aggregators that hold a piece."""
        return self._holders()[piece - 1]

    def held_by(self, party: int) -> tuple[int, ...]:
        """The pieces that an aggregator holds, in ascending order."""
        holders = self._holders()
        return tuple(n for n, parties in enumerate(holders, start=1) if party in parties)

    def seeds_of(self, party: int) -> tuple[int, ...]:
        """The pieces that an aggregator holds as seeds."""
        return tuple(piece for piece in self.held_by(party) if piece < self.pieces)

    def has_vector(self, party: int) -> bool:
        """Whether an aggregator holds the last piece."""
        return self.pieces in self.held_by(party)

    def _holders(self) -> list[tuple[int, ...]]:
        everyone = range(1, self.parties + 1)
        lacking = list(itertools.combinations(everyone, self.needed - 1))
        return [tuple(p for p in everyone if p not in some) for some in reversed(lacking)]


def ring_dtype(ring_bits: int) -> "np.dtype[np.unsignedinteger[Any]]":
    """The numpy type of a ring element.

    >>> ring_dtype(32).itemsize
    4
    """
    require(
        ring_bits in (8, 16, 32, 64),
        f"The ring must have 8, 16, 32 or 64 bits, got {ring_bits}.",
        error=SharingError,
    )
    return np.dtype(f"<u{ring_bits // 8}")


def encode(
    values: NDArray[np.floating[Any]], sharing: Sharing, *, hospitals: int, factor: float = 1.0
) -> Ring:
    """Hospital: write `factor` times a float vector in fixed point, as two's complement mod 2^b.

    Shapes: float32 or float64 `[n]` to unsigned `[n]`. `factor` is in (0, 1].
    Guarantee: the sum over `hospitals` such vectors does not wrap; a coordinate is off by at
    most 2^-(fraction_bits + 1), and the rounding of one multiplication.

    Raises:
        RangeExceeded: if a coordinate is not finite or above the bound, or if the sum of
            `hospitals` coordinates at the bound would not fit. Nothing is clipped or wrapped.

    >>> encode(np.array([0.5, -1.0]), Sharing(ring_bits=64, fraction_bits=1), hospitals=3)
    array([                   1, 18446744073709551614], dtype=uint64)
    """
    encoder = _Encoder.of(values, sharing, hospitals=hospitals, factor=factor)
    encoded = np.empty(len(values), ring_dtype(sharing.ring_bits))
    _sweep(np.subtract, encoded, [], encoder=encoder)
    return encoded


def decode(total: Ring, sharing: Sharing) -> NDArray[np.float64]:
    """Researcher: read a sum of encoded vectors back as float64 `[n]`.

    >>> decode(np.array([1, 2**64 - 2], np.uint64), Sharing(ring_bits=64, fraction_bits=1))
    array([ 0.5, -1. ])
    """
    _check_ring(total, sharing.ring_bits)
    signed = total.view(_SIGNED[total.itemsize])
    decoded: NDArray[np.float64] = np.multiply(
        signed, 2.0**-sharing.fraction_bits, dtype=np.float64
    )
    return decoded


def weight_length(ring_bits: int, hospitals: int) -> int:
    """Anyone: how many ring elements hold a weight.

    >>> weight_length(64, 4), weight_length(8, 100)
    (1, 24)
    """
    return -(-WEIGHT_BITS // _digit_bits(ring_bits, hospitals))


def encode_weight(weight: int, ring_bits: int, *, hospitals: int) -> Ring:
    """Hospital: write a whole number below 2^24 as digits whose sums over `hospitals` don't wrap.

    >>> encode_weight(5, 8, hospitals=100)[:4]
    array([1, 0, 1, 0], dtype=uint8)
    """
    require(
        0 <= weight < 2**WEIGHT_BITS,
        f"A weight must be a whole number from 0 to {2**WEIGHT_BITS - 1}, got {weight}.",
        error=RangeExceeded,
    )
    bits = _digit_bits(ring_bits, hospitals)
    length = weight_length(ring_bits, hospitals)
    digits = [weight >> bits * place & (1 << bits) - 1 for place in range(length)]
    return np.array(digits, ring_dtype(ring_bits))


def decode_weight(total: Ring, *, hospitals: int) -> int:
    """Researcher: read the sum of weights; `hospitals` is the number that `encode_weight` had."""
    bits = _digit_bits(total.itemsize * 8, hospitals)
    return sum(int(digit) << bits * place for place, digit in enumerate(total))


def shard(
    encoded: Ring, scheme: Scheme, *, seeds: Sequence[bytes], threads: int = 1
) -> list[Payload]:
    """Hospital: split an encoded vector into its pieces, in place.

    `seeds` are `pieces` - 1 strings of 32 bytes from the operating system's generator,
    never used before. `encoded` is overwritten: its memory becomes the last piece (ring
    elements as little-endian bytes), so that the plain vector is not left behind in it.
    `threads` changes the time, never a byte.
    """
    _check_ring(encoded, encoded.itemsize * 8)
    _check_seeds(scheme, seeds)
    _sweep(np.subtract, encoded, seeds, threads=threads)
    return [*seeds, encoded.data.cast("B")]


def encode_and_shard(
    values: NDArray[np.floating[Any]],
    sharing: Sharing,
    scheme: Scheme,
    *,
    weight: int,
    seeds: Sequence[bytes],
    hospitals: int,
    factor: float = 1.0,
    threads: int = 1,
) -> list[Payload]:
    """Hospital: `encode` a vector, append its `encode_weight`, and `shard` both.

    The same bytes as from those three, and what they raise, in one pass through memory: each
    block is encoded and masked while it is in the cache.
    """
    _check_seeds(scheme, seeds)
    encoder = _Encoder.of(values, sharing, hospitals=hospitals, factor=factor)
    digits = encode_weight(weight, sharing.ring_bits, hospitals=hospitals)
    encoded = np.empty(len(values) + len(digits), digits.dtype)
    encoded[len(values) :] = digits
    _sweep(np.subtract, encoded, seeds, encoder=encoder, threads=threads)
    return [*seeds, encoded.data.cast("B")]


def expand(seed: bytes, length: int, ring_bits: int) -> Ring:
    """Everyone: the vector that a seed stands for: AES-256-CTR over zeros, from counter 0.

    The nonce is zero because each seed is used once.

    >>> expand(bytes(32), 2, 32).tobytes().hex()
    'dc95c078a2408989'
    """
    vector = np.zeros(length, ring_dtype(ring_bits))
    add_seeds(vector, [seed])
    return vector


def add_seeds(total: Ring, seeds: Sequence[bytes], *, threads: int = 1) -> None:
    """Aggregator: add what the hospitals' seeds for one piece stand for, in place, mod 2^b.

    `threads` changes the time, never a byte.

    Raises:
        SharingError: if one of them is not a seed.
    """
    _check_ring(total, total.itemsize * 8)
    _sweep(np.add, total, seeds, threads=threads)


def add_vector(total: Ring, payload: Payload) -> None:
    """Aggregator: add one hospital's last piece, in place, mod 2^b.

    Raises:
        SharingError: if it has another length.
    """
    _check_ring(total, total.itemsize * 8)
    require(
        len(payload) == total.nbytes,
        f"A vector must hold {total.nbytes} bytes, got {len(payload)}.",
        error=SharingError,
    )
    np.add(total, np.frombuffer(payload, total.dtype), out=total)


def unshard(sums: Sequence[Ring]) -> Ring:
    """Researcher: add the sums of all pieces, mod 2^b."""
    require(
        len({(partial.dtype, partial.shape) for partial in sums}) == 1,
        "There must be a sum of each piece, all of one length and one ring.",
        error=SharingError,
    )
    total = np.add(sums[0], sums[1]) if len(sums) > 1 else sums[0].copy()
    for partial in sums[2:]:
        np.add(total, partial, out=total)
    return total


@dataclass(frozen=True, slots=True, kw_only=True)
class _Encoder:
    """Fixed point: what `encode` does, for one block at a time."""

    values: NDArray[np.floating[Any]]
    scale: np.floating[Any]
    limit: float
    bound: float

    @classmethod
    def of(
        cls, values: NDArray[np.floating[Any]], sharing: Sharing, *, hospitals: int, factor: float
    ) -> "_Encoder":
        """Check all that can be checked before the first block."""
        _check_hospitals(hospitals)
        sharing.check_span(hospitals)
        require(
            values.ndim == 1 and values.dtype in (np.float32, np.float64) and 0 < factor <= 1,
            "A vector to share must be one-dimensional, of float32 or float64, its factor in "
            "(0, 1].",
            error=SharingError,
        )
        unit = 2.0**sharing.fraction_bits
        scale = values.dtype.type(factor * unit)
        return cls(values=values, scale=scale, limit=sharing.bound * unit, bound=sharing.bound)

    def write(self, start: int, out: Ring, scratch: NDArray[np.uint8]) -> None:
        """Encode the values from `start` on into `out`; what is left of `out` stays."""
        block = self.values[start : start + len(out)]
        scaled = scratch[: block.nbytes].view(block.dtype)
        np.multiply(block, self.scale, out=scaled)
        if len(block) and not self._inside(scaled):
            raise RangeExceeded(
                f"Every coordinate must be finite and at most {self.bound} in size, and one is "
                "not: clip the update, or plan a larger bound."
            )
        # Signed, for a cast of -1.0 to unsigned is undefined; two's complement is the same mod 2^b.
        signed = out[: len(block)].view(_SIGNED[out.itemsize])
        np.rint(scaled, out=signed, casting="unsafe")

    def _inside(self, scaled: NDArray[np.floating[Any]]) -> bool:
        """Whether all are finite and within the bound: NaN is not. Nobody learns which is not."""
        largest, smallest = np.maximum.reduce(scaled), np.minimum.reduce(scaled)
        return float(largest) <= self.limit and float(smallest) >= -self.limit


def _sweep(
    operation: np.ufunc,
    vector: Ring,
    seeds: Sequence[bytes],
    *,
    encoder: _Encoder | None = None,
    threads: int = 1,
) -> None:
    """Block by block: encode, if that is asked for, then add or subtract the expanded seeds."""
    width = max(vector.itemsize, encoder.values.itemsize if encoder else 0)
    step = BLOCK_BYTES // width

    def part(start: int, end: int) -> None:
        keystreams = [Keystream(seed, start * vector.itemsize) for seed in seeds]
        # One buffer for all blocks: it stays in the cache, and the cipher fills no fresh memory.
        scratch = np.empty(min(step, end - start) * width, np.uint8)
        # A value that overflows is refused by the encoder in a sentence, not by numpy in a warning.
        with np.errstate(invalid="ignore", over="ignore"):
            for first in range(start, end, step):
                block = vector[first : min(first + step, end)]
                if encoder:
                    encoder.write(first, block, scratch)
                mask = scratch[: block.nbytes].view(vector.dtype)
                for keystream in keystreams:
                    operation(block, keystream.fill(mask), out=block)

    in_parts(part, len(vector), step=step, threads=threads)


def _digit_bits(ring_bits: int, hospitals: int) -> int:
    """How many bits of a weight go into one ring element: hospitals x (2^bits - 1) < 2^b."""
    _check_hospitals(hospitals)
    bits = min(ring_bits - (hospitals - 1).bit_length(), WEIGHT_BITS)
    require(
        bits >= 1,
        f"A ring of {ring_bits} bits is too small for {hospitals} hospitals: use one of more bits.",
        error=RangeExceeded,
    )
    return bits


def _check_hospitals(hospitals: int) -> None:
    require(
        hospitals >= 1, f"There must be one hospital or more, got {hospitals}.", error=SharingError
    )


def _check_seeds(scheme: Scheme, seeds: Sequence[bytes]) -> None:
    require(
        len(seeds) == scheme.pieces - 1 and len(set(seeds)) == len(seeds),
        f"{scheme.pieces} pieces need {scheme.pieces - 1} different seeds.",
        error=SharingError,
    )


def _check_ring(vector: Ring, ring_bits: int) -> None:
    require(
        vector.ndim == 1 and vector.dtype == ring_dtype(ring_bits),
        f"A ring vector must be one-dimensional, of uint{ring_bits}.",
        error=SharingError,
    )
