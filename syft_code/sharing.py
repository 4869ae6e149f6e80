"""Additive secret sharing over Z mod 2^b, in the style of Prio: mathematics only.

    hospital      encode, shard      float vector ─▶ ring vector ─▶ k payloads
    aggregator i  add_share          payloads i of all hospitals ─▶ partial sum i
    researcher    unshard, decode    k partial sums ─▶ the sum of the vectors

Payload i < k is a seed of 32 bytes; payload k is the encoded vector minus the k - 1
expanded seeds. Transport, signatures and sealing live elsewhere; randomness is an argument.

Guarantee: any k - 1 payloads are independent of the vector, as long as the seeds are
drawn from the operating system's generator, used once, and AES-256 is a good
pseudo-random permutation. The decoded sum is the plain fixed-point sum, bit for bit.

Does not protect: the sum itself (that is what differential privacy is for), or anything
once all k aggregators put their payloads together.

Source: Corrigan-Gibbs and Boneh, "Prio", NSDI 2017, section 4 and appendix I (seeds for shares);
the names shard, aggregate and unshard are those of the IETF draft on VDAFs.
"""

import math
from collections.abc import Sequence
from fractions import Fraction
from typing import Any, Literal

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from numpy.typing import NDArray

from syft_code.errors import RangeExceeded, SharingError, require
from syft_code.plan import Sharing

SEED_BYTES = 32
BLOCK_BYTES = 128 * 1024
"""Vectors are worked through in blocks that stay in a core's cache."""

Ring = NDArray[np.unsignedinteger[Any]]
"""Elements of Z mod 2^b: uint32 or uint64, little-endian."""
Payload = bytes | memoryview
"""What one aggregator gets: 32 bytes of seed, or the bytes of a ring vector."""
PayloadKind = Literal["seed", "vector"]


def ring_dtype(ring_bits: int) -> "np.dtype[np.unsignedinteger[Any]]":
    """The numpy type of a ring element.

    >>> ring_dtype(32).itemsize
    4
    """
    require(
        ring_bits in (32, 64),
        f"The ring must have 32 or 64 bits, got {ring_bits}.",
        error=SharingError,
    )
    return np.dtype("<u4" if ring_bits == 32 else "<u8")


def encode(values: NDArray[np.floating[Any]], sharing: Sharing, *, hospitals: int) -> Ring:
    """Hospital: write a float vector in fixed point, as two's complement mod 2^b.

    Shapes: float32 or float64 `[n]` to uint32 or uint64 `[n]`.
    Guarantee: the sum over `hospitals` such vectors does not wrap; a coordinate is off by at
    most 2^-(fraction_bits + 1).

    Raises:
        RangeExceeded: if a coordinate is not finite or above the bound, or if the sum of
            `hospitals` coordinates at the bound would not fit. Nothing is clipped or wrapped.

    >>> encode(np.array([0.5, -1.0]), Sharing(fraction_bits=1), hospitals=3)
    array([                   1, 18446744073709551614], dtype=uint64)
    """
    _check_span(sharing, hospitals)
    require(
        values.ndim == 1 and values.dtype in (np.float32, np.float64),
        "A vector to share must be one-dimensional, of float32 or float64.",
        error=SharingError,
    )
    encoded = np.empty(len(values), ring_dtype(sharing.ring_bits))
    signed = encoded.view(f"<i{encoded.itemsize}")
    scale = values.dtype.type(2.0**sharing.fraction_bits)  # a power of two: no rounding here
    step = BLOCK_BYTES // max(values.itemsize, encoded.itemsize)
    scratch = np.empty(min(step, len(values)), values.dtype)
    for start in range(0, len(values), step):
        block = values[start : start + step]
        _check_range(block, sharing.bound)
        scaled = np.multiply(block, scale, out=scratch[: len(block)])
        np.rint(scaled, out=scaled)
        np.copyto(signed[start : start + step], scaled, casting="unsafe")
    return encoded


def decode(total: Ring, sharing: Sharing) -> NDArray[np.float64]:
    """Researcher: read a sum of encoded vectors back as float64 `[n]`.

    >>> decode(np.array([1, 2**64 - 2], dtype=np.uint64), Sharing(fraction_bits=1))
    array([ 0.5, -1. ])
    """
    _check_ring(total, sharing.ring_bits)
    decoded = total.view(f"<i{total.itemsize}").astype(np.float64)
    decoded *= 2.0**-sharing.fraction_bits
    return decoded


def shard(encoded: Ring, *, parties: int, seeds: Sequence[bytes]) -> list[Payload]:
    """Hospital: split an encoded vector into one payload for each aggregator, in place.

    `seeds` are `parties` - 1 strings of 32 bytes from the operating system's generator,
    never used before. `encoded` is overwritten: its memory becomes the last payload (ring
    elements as little-endian bytes), so that the plain vector is not left behind in it.
    """
    require(
        parties >= 2,
        f"A vector must be shared among two or more, got {parties}.",
        error=SharingError,
    )
    _check_ring(encoded, encoded.itemsize * 8)
    require(
        len(seeds) == parties - 1 and len(set(seeds)) == len(seeds),
        f"{parties} parties need {parties - 1} different seeds.",
        error=SharingError,
    )
    keystreams = [_Keystream(seed) for seed in seeds]
    step = BLOCK_BYTES // encoded.itemsize
    mask = np.empty(min(step, len(encoded)), encoded.dtype)
    for start in range(0, len(encoded), step):
        block = encoded[start : start + step]
        for keystream in keystreams:
            np.subtract(block, keystream.fill(mask[: len(block)]), out=block)
    return [*seeds, encoded.data.cast("B")]


def expand(seed: bytes, length: int, ring_bits: int) -> Ring:
    """Everyone: the vector that a seed stands for: AES-256-CTR over zeros, from counter 0.

    The nonce is zero because each seed is used once.

    >>> expand(bytes(32), 2, 32).tobytes().hex()
    'dc95c078a2408989'
    """
    vector = np.zeros(length, ring_dtype(ring_bits))
    add_share(vector, seed, "seed")
    return vector


def add_share(total: Ring, payload: Payload, kind: PayloadKind) -> None:
    """Aggregator: add one hospital's payload to the partial sum, in place, mod 2^b.

    Raises:
        SharingError: if the payload's length is not that of its kind.
    """
    _check_ring(total, total.itemsize * 8)
    if kind == "vector":
        require(
            len(payload) == total.nbytes,
            f"A vector payload must hold {total.nbytes} bytes, got {len(payload)}.",
            error=SharingError,
        )
        np.add(total, np.frombuffer(payload, total.dtype), out=total)
        return
    keystream = _Keystream(bytes(payload))
    step = BLOCK_BYTES // total.itemsize
    mask = np.empty(min(step, len(total)), total.dtype)
    for start in range(0, len(total), step):
        block = total[start : start + step]
        np.add(block, keystream.fill(mask[: len(block)]), out=block)


def unshard(partials: Sequence[Ring]) -> Ring:
    """Researcher: add the partial sums of all k aggregators, mod 2^b."""
    require(
        len(partials) >= 2 and len({(p.dtype, p.shape) for p in partials}) == 1,
        "There must be two or more partial sums, of one length and one ring.",
        error=SharingError,
    )
    total = partials[0].copy()
    for partial in partials[1:]:
        np.add(total, partial, out=total)
    return total


class _Keystream:
    """AES-256-CTR over zeros, written into buffers that are used again."""

    def __init__(self, seed: bytes) -> None:
        require(
            len(seed) == SEED_BYTES,
            f"A seed must have {SEED_BYTES} bytes, got {len(seed)}.",
            error=SharingError,
        )
        self._encryptor = Cipher(algorithms.AES(seed), modes.CTR(bytes(16))).encryptor()

    def fill(self, buffer: Ring) -> Ring:
        """Overwrite the buffer with the next bytes of the stream, and return it."""
        self._encryptor.update_into(_ZEROS[: buffer.nbytes], buffer.data.cast("B"))
        return buffer


_ZEROS = memoryview(bytes(BLOCK_BYTES))


def _check_ring(vector: Ring, ring_bits: int) -> None:
    require(
        vector.ndim == 1 and vector.dtype == ring_dtype(ring_bits),
        f"A ring vector must be one-dimensional, of uint{ring_bits}.",
        error=SharingError,
    )


def _check_span(sharing: Sharing, hospitals: int) -> None:
    """hospitals x bound x 2^f < 2^(b-1), in exact arithmetic and rounded up."""
    require(
        hospitals >= 1, f"There must be one hospital or more, got {hospitals}.", error=SharingError
    )
    largest = math.ceil(Fraction(sharing.bound) * 2**sharing.fraction_bits)
    require(
        hospitals * largest < 2 ** (sharing.ring_bits - 1),
        f"hospitals x bound x 2^fraction_bits must stay below 2^{sharing.ring_bits - 1}, and with "
        f"{hospitals} hospitals it does not: use fewer fraction bits, a smaller bound or the "
        "64-bit ring.",
        error=RangeExceeded,
    )


def _check_range(block: NDArray[np.floating[Any]], bound: float) -> None:
    """Refuse NaN, infinity and what is above the bound, without saying which or where."""
    with np.errstate(invalid="ignore"):
        inside = float(block.max()) <= bound and float(block.min()) >= -bound  # NaN: false
    require(
        inside,
        f"Every coordinate must be finite and at most {bound} in size, and one is not: "
        "clip the update, or plan a larger bound.",
        error=RangeExceeded,
    )
