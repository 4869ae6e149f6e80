"""What the benchmark of secret sharing times: ours, its plain limits, and the sum that must be right.

    limits   a copy, AES-256-CTR, ChaCha20, AES-256-GCM and SHA-256 over as many bytes as a vector
    ours     hospital, aggregator and researcher, and whole shares as they go over the wire
    check    refuses a wrong sum, before anything is timed

Vectors are made before the clock starts. What a client returns is fresh memory, as from
`a.copy()`, and its page faults are part of the time. The warm copy writes to memory that is there.
"""

import hashlib
import itertools
import math
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from numpy.typing import NDArray

from syft_code.errors import RangeExceeded
from syft_code.plans.plan import Plan
from syft_code.plans.plan_parts import Sharing
from syft_code.recipes.architectures import LayerStack
from syft_code.recipes.layers import Activation, Conv, GlobalAverage
from syft_code.recipes.recipe import CrossEntropy, Recipe
from syft_code.secret_sharing import envelope, keystream, sharing
from syft_code.secret_sharing.sharing import Scheme
from syft_code.secret_sharing.vector_layout import VectorLayout
from tests import plans

RULES = Sharing()
WEIGHT = 40
COPY = "numpy copy, 31M"
WARM_COPY = "numpy copy, warm"
COPIED = 31_000_000
"""The copy that all is measured in is of so many uint32, whatever the size of the row."""
_PAST_ANY_CACHE_BYTES = 128 * 1024**2
_CTR_BYTES = 128 * 1024
_WIDEST = 1024
_CHECKED_BY_ALL = 1_000_000


class WrongSum(Exception):
    """The benchmark times nothing that does not add up."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One row: what is run, for how many clients at once, on how many threads."""

    name: str
    run: Callable[[], object]
    clients: int = 1
    threads: int = 1


def seeds(count: int) -> list[bytes]:
    """Fresh seeds, as a hospital draws them."""
    return [os.urandom(keystream.SEED_BYTES) for _ in range(count)]


def update(size: int, number: int = 0) -> NDArray[np.float32]:
    """A hospital's update: uniform in (-1, 1)."""
    drawn = np.random.default_rng(number).random(size, np.float32)
    drawn *= 2
    drawn -= 1
    return drawn


def copy() -> Operation:
    """What all is measured in: a large vector, moved once."""
    source = np.ones(COPIED, np.uint32)
    return Operation(name=COPY, run=source.copy)


def limits(size: int) -> Iterator[Operation]:
    """What any program must pay on this machine, each over 4 bytes a parameter."""
    pairs = [
        (np.ones(size, np.uint32), np.ones(size, np.uint32))
        for _ in range(-(-_PAST_ANY_CACHE_BYTES // (8 * size)))
    ]
    turns = itertools.cycle(pairs)
    source = pairs[0][0]
    view, key = source.data.cast("B"), os.urandom(32)
    yield Operation(name=WARM_COPY, run=lambda: np.copyto(*next(turns)))
    counter = Cipher(algorithms.AES(key), modes.CTR(bytes(16)))
    yield Operation(name="AES-256-CTR", run=lambda: _encrypt(counter, view))
    chacha = Cipher(algorithms.ChaCha20(key, bytes(16)), None)
    yield Operation(name="ChaCha20", run=lambda: _encrypt(chacha, view))
    yield Operation(name="AES-256-GCM, 1 MiB chunks", run=lambda: _seal(AESGCM(key), view))
    yield Operation(name="SHA-256", run=lambda: hashlib.sha256(view))


def _encrypt(cipher: Any, view: memoryview) -> None:
    """Into a warm buffer of 128 KiB."""
    encryptor, out = cipher.encryptor(), bytearray(_CTR_BYTES)
    for start in range(0, len(view), _CTR_BYTES):
        encryptor.update_into(view[start : start + _CTR_BYTES], out)


def _seal(cipher: AESGCM, view: memoryview) -> None:
    step = envelope.CHUNK_BYTES
    out = memoryview(bytearray(step + envelope.TAG_BYTES))
    for start in range(0, len(view), step):
        chunk = view[start : start + step]
        cipher.encrypt_into(
            (start // step).to_bytes(12, "big"), chunk, b"more", out[: len(chunk) + 16]
        )


def clients(size: int) -> Iterator[Operation]:
    """Hospital: encode and shard, with the weight."""
    vectors: dict[str, NDArray[Any]] = {"float32": update(size)}
    vectors["float64"] = vectors["float32"].astype(np.float64)
    schemes = {"k=2": Scheme(2, 2), "k=3": Scheme(3, 3), "2 of 3": Scheme(3, 2)}
    for threads, (kind, values), (name, scheme) in itertools.product(
        (1, 2), vectors.items(), schemes.items()
    ):
        if threads == 1 or scheme.parties == 2:
            yield Operation(
                name=f"client {name}, {kind}",
                run=lambda v=values, s=scheme, t=threads: _client(v, s, t),  # type: ignore[misc]
                threads=threads,
            )


def _client(values: NDArray[Any], scheme: Scheme, threads: int) -> list[sharing.Payload]:
    return sharing.encode_and_shard(
        values,
        RULES,
        scheme,
        weight=WEIGHT,
        seeds=seeds(scheme.pieces - 1),
        hospitals=30,
        threads=threads,
    )


def aggregators(size: int, hospitals: int) -> Iterator[Operation]:
    """Aggregator: every hospital's piece, once as seeds and once as vectors."""
    total, vector = np.zeros(size, np.uint32), np.ones(size, np.uint32).data.cast("B")
    for threads in (1, 2):
        yield Operation(
            name=f"aggregator of seeds, n={hospitals}",
            run=lambda t=threads: sharing.add_seeds(total, seeds(hospitals), threads=t),  # type: ignore[misc]
            clients=hospitals,
            threads=threads,
        )
    yield Operation(
        name=f"aggregator of vectors, n={hospitals}",
        run=lambda: _add_vectors(total, vector, hospitals),
        clients=hospitals,
    )


def _add_vectors(total: sharing.Ring, vector: memoryview, hospitals: int) -> None:
    for _ in range(hospitals):
        sharing.add_vector(total, vector)


def researcher(size: int) -> Iterator[Operation]:
    """Researcher: the sums of three pieces to a float64 vector."""
    sums = [np.ones(size, np.uint32) for _ in range(3)]
    yield Operation(name="researcher k=3", run=lambda: sharing.decode(sharing.unshard(sums), RULES))


def shares(plan: Plan, keys: plans.Keys) -> Iterator[Operation]:
    """Whole shares of a real plan: encoded, sharded, sealed, hashed and signed; then opened."""
    values = update(VectorLayout.of(plan).values_length("train"))
    for threads in (1, 2):
        yield Operation(
            name="seal k=3, float32, whole",
            run=lambda t=threads: seal(plan, keys, values, threads=t),  # type: ignore[misc]
            threads=threads,
        )
    last = seal(plan, keys, values)[-1]

    def open_last() -> None:
        key = bytes(keys.seals[2])
        for _ in envelope.open_share(plan, 3, last.header, last.sealed, seal_key=key):
            pass

    yield Operation(name="open a vector's share, whole", run=open_last)


def seal(
    plan: Plan, keys: plans.Keys, values: NDArray[Any], *, threads: int = 1
) -> list[envelope.SealedShare]:
    """One hospital's shares."""
    return envelope.seal(
        plan,
        hospital=plan.hospitals[0].name,
        purpose="train",
        round_number=1,
        values=values,
        hospital_key=keys.hospitals[0],
        statement=envelope.LONGEST_STATEMENT,
        seeds=seeds(envelope.scheme(plan).pieces - 1),
        content_keys=seeds(len(plan.aggregators)),
        threads=threads,
    )


def plan_of(size: int, keys: plans.Keys) -> Plan:
    """A plan whose network has about so many parameters, and never fewer."""
    layers = -(-size // (9 * _WIDEST**2))
    width = min(math.isqrt(size // (9 * layers)) + 1, _WIDEST)
    conv = (Conv(channels=width), *(Conv(channels=width) for _ in range(layers)))
    model = LayerStack(layers=(*conv, Activation(), GlobalAverage()))
    return plans.plan(keys, recipe=Recipe(model=model, loss=CrossEntropy()))


def upload_bytes(plan: Plan, keys: plans.Keys) -> float:
    """All that a hospital sends in a round, per parameter: headers and seals included."""
    length = VectorLayout.of(plan).values_length("train")
    sent = seal(plan, keys, update(length))
    return sum(len(share.to_bytes()) for share in sent) / length


def check(size: int, hospitals: int) -> float:
    """Sum `hospitals` updates by shares of every scheme, and compare; returns the largest error.

    Raises:
        WrongSum: if it is above hospitals x 2^-(fraction_bits + 1), if the weights don't add up,
            if the worst case wraps, or if NaN or infinity passes.
    """
    most = hospitals * 2.0 ** -(RULES.fraction_bits + 1)
    small = min(size, _CHECKED_BY_ALL)
    found = max(
        _error(scheme, (update(length, n) for n in range(hospitals)), hospitals)
        for scheme, length in (
            (Scheme(3, 3), size),
            (Scheme(2, 2), small),
            (Scheme(3, 2), small),
        )
    )
    ends = np.tile(np.array([RULES.bound, -RULES.bound], np.float32), 8)
    worst = _error(Scheme(2, 2), itertools.repeat(ends, hospitals), hospitals)
    if not (found <= most and worst == 0):
        raise WrongSum(f"A sum is off by {max(found, worst)}, and may be by {most}; {size=}.")
    for bad in (math.nan, math.inf, -math.inf, RULES.bound * 1.01):
        _must_refuse(bad)
    return found


def _error(scheme: Scheme, vectors: Iterable[NDArray[np.float32]], hospitals: int) -> float:
    exact: NDArray[np.float64] | float = 0.0
    totals: list[sharing.Ring] = []
    for values in vectors:
        exact = values.astype(np.float64) + exact
        pieces = sharing.encode_and_shard(
            values,
            RULES,
            scheme,
            weight=WEIGHT,
            seeds=seeds(scheme.pieces - 1),
            hospitals=hospitals,
        )
        totals = totals or [np.zeros(len(pieces[-1]) // 4, np.uint32) for _ in pieces]
        for total, piece in zip(totals[:-1], pieces[:-1], strict=True):
            sharing.add_seeds(total, [bytes(piece)])
        sharing.add_vector(totals[-1], pieces[-1])
    total = sharing.unshard(totals)
    if sharing.decode_weight(total[len(values) :], hospitals=hospitals) != WEIGHT * hospitals:
        raise WrongSum("The weights don't add up.")
    return float(np.abs(sharing.decode(total[: len(values)], RULES) - exact).max())


def _must_refuse(bad: float) -> None:
    values = np.zeros(200_000, np.float32)
    values[123_456] = bad
    try:
        _client(values, Scheme(2, 2), 1)
    except RangeExceeded:
        return
    raise WrongSum(f"{bad} was shared.")
