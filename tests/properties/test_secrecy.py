"""What fewer than the needed aggregators see says nothing: by statistics, and by algebra.

Uniformity and a trained distinguisher, on shares with seeds from the operating system's generator.
Each test raises a false alarm once in a million runs, and has a positive control: the same
statistics, on a view that is known to tell, must find it.

Does not prove anything about AES: the reduction is in docs/protocol.md.
"""

import itertools
import os
import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy import stats

from syft_code.plans.plan_parts import Sharing
from syft_code.secret_sharing import sharing
from syft_code.secret_sharing.sharing import Ring, Scheme

pytestmark = pytest.mark.thorough

FALSE_ALARM = 1e-6
SCHEMES = [Scheme(2, 2), Scheme(3, 3), Scheme(3, 2)]
LEARNT = [
    Scheme(2, 2),
    *(pytest.param(Scheme(3, needed), marks=pytest.mark.slow) for needed in (2, 3)),
]
"""The schemes, for tests that train a distinguisher."""
LARGER = [Scheme(4, 4), Scheme(5, 5), Scheme(4, 3), Scheme(5, 3), Scheme(5, 4)]
RULES = {
    8: Sharing(ring_bits=8, fraction_bits=3, bound=3.0),
    16: Sharing(ring_bits=16, fraction_bits=9, bound=16.0),
    32: Sharing(ring_bits=32, fraction_bits=18, bound=64.0),
    64: Sharing(ring_bits=64, fraction_bits=24, bound=2.0**20),
}
EXTREMES: dict[str, Callable[[Sharing, int], NDArray[np.float64]]] = {
    "zeros": lambda rule, length: np.zeros(length),
    "a constant": lambda rule, length: np.full(length, rule.bound / 8),
    "all at the bound": lambda rule, length: np.full(length, rule.bound),
    "all at minus the bound": lambda rule, length: np.full(length, -rule.bound),
}


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """Threads cost more than they bring for networks so small."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def fresh(scheme: Scheme) -> list[bytes]:
    return [os.urandom(32) for _ in range(scheme.pieces - 1)]


def pieces(encoded: Ring, scheme: Scheme, seeds: list[bytes]) -> list[Ring]:
    """All pieces as ring vectors: what `shard` gives, expanded as an aggregator does it."""
    *known, last = sharing.shard(encoded.copy(), scheme, seeds=seeds)
    bits, length = encoded.itemsize * 8, len(encoded)
    vectors = [sharing.expand(bytes(seed), length, bits) for seed in known]
    return [*vectors, np.frombuffer(last, encoded.dtype)]


def coalitions(scheme: Scheme, size: int) -> list[tuple[int, ...]]:
    return list(itertools.combinations(range(1, scheme.parties + 1), size))


def held(scheme: Scheme, coalition: tuple[int, ...]) -> list[int]:
    return sorted({piece for party in coalition for piece in scheme.held_by(party)})


# --- uniformity ---


def p_values(vectors: Ring) -> Iterator[float]:
    """Of tests that ring elements `[draws, n]` are uniform: by byte, by nibble and place, whole."""
    draws, length = vectors.shape
    bits = vectors.itemsize * 8
    lanes = vectors.reshape(-1).view(np.uint8).reshape(draws, length, vectors.itemsize)
    for lane in range(vectors.itemsize):
        yield stats.chisquare(np.bincount(lanes[:, :, lane].ravel(), minlength=256)).pvalue
        for place in range(length):
            for nibble in (lanes[:, place, lane] >> 4, lanes[:, place, lane] & 15):
                yield stats.chisquare(np.bincount(nibble, minlength=16)).pvalue
    if bits > 16:
        yield stats.kstest(vectors.ravel() / 2.0**bits, "uniform").pvalue


def combined(known: dict[int, Ring]) -> Iterator[Ring]:
    """What a coalition can make of the pieces of many draws: each, all sums of two, and of all."""
    yield from known.values()
    for first, second in itertools.combinations(known.values(), 2):
        yield first + second
        yield first - second
    yield sum(known.values(), np.zeros_like(next(iter(known.values()))))
    for vectors in known.values():
        yield vectors[1:] - vectors[:-1]  # of neighbouring draws: a mask used twice would cancel


def least_p(views: list[Ring]) -> tuple[float, int]:
    found = [p for view in views for p in p_values(view)]
    return min(found), len(found)


def drawn(scheme: Scheme, update: Ring, draws: int) -> dict[int, Ring]:
    """Each piece of the same update, shared anew so many times: `[draws, n]`."""
    every = [pieces(update, scheme, fresh(scheme)) for _ in range(draws)]
    return {n + 1: np.stack([one[n] for one in every]) for n in range(scheme.pieces)}


@pytest.mark.parametrize(
    "extreme",
    [
        "zeros",
        "all at the bound",
        pytest.param("a constant", marks=pytest.mark.slow),
        pytest.param("all at minus the bound", marks=pytest.mark.slow),
    ],
)
@pytest.mark.parametrize("scheme", SCHEMES, ids=str)
@pytest.mark.parametrize("bits", [8, 32])
def test_fewer_than_needed_see_uniform_bytes_whatever_the_update(
    scheme: Scheme, extreme: str, bits: int
) -> None:
    rule = RULES[bits]
    update = sharing.encode(EXTREMES[extreme](rule, 4), rule, hospitals=3)
    every = drawn(scheme, update, draws=2500)
    views = [
        view
        for coalition in coalitions(scheme, scheme.needed - 1)
        for view in combined({piece: every[piece] for piece in held(scheme, coalition)})
    ]
    least, count = least_p(views)
    assert least > FALSE_ALARM / count
    for coalition in coalitions(scheme, scheme.needed):  # the control: one aggregator more
        whole = sum(every[piece] for piece in held(scheme, coalition))
        assert least_p([whole])[0] < FALSE_ALARM / count


@pytest.mark.parametrize("scheme", LARGER, ids=str)
@pytest.mark.parametrize("bits", [16, pytest.param(64, marks=pytest.mark.slow)])
def test_the_same_holds_for_all_larger_schemes(scheme: Scheme, bits: int) -> None:
    rule = RULES[bits]
    update = sharing.encode(np.full(1, rule.bound), rule, hospitals=3)
    every = drawn(scheme, update, draws=1500)
    views = [
        sum(every[piece] for piece in held(scheme, coalition))
        for coalition in coalitions(scheme, scheme.needed - 1)
    ]
    least, count = least_p(views)
    assert least > FALSE_ALARM / count


def test_control_a_mask_that_is_used_twice_is_not_uniform() -> None:
    scheme, rule = Scheme(2, 2), RULES[32]
    update = sharing.encode(np.full(4, 0.5), rule, hospitals=3)
    seeds = [os.urandom(32) for _ in range(1250) for _ in range(2)]
    seeds[1::2] = seeds[::2]
    last = np.stack([pieces(update, scheme, [seed])[-1] for seed in seeds])
    assert least_p([last[1:] - last[:-1]])[0] < FALSE_ALARM / 1000


# --- the algebra: every other update has a mask that explains all that is seen ---


@pytest.mark.parametrize("bits", [8, 16, 32, 64])
@pytest.mark.parametrize("scheme", [*SCHEMES, *LARGER], ids=str)
def test_without_one_piece_every_vector_is_as_likely(scheme: Scheme, bits: int) -> None:
    """One piece is lacking; take it as the other vector minus what is held: it is one of as many
    as there are ring vectors, so that no view speaks for one update more than for another."""
    dtype = sharing.ring_dtype(bits)
    update, other = (np.frombuffer(os.urandom(9 * dtype.itemsize), dtype) for _ in range(2))
    every = pieces(update, scheme, fresh(scheme))
    for coalition in coalitions(scheme, scheme.needed - 1):
        known = held(scheme, coalition)
        (lacking,) = set(range(1, scheme.pieces + 1)) - set(known)
        fitting = other - sum(every[piece - 1] for piece in known)
        explained = [*every[: lacking - 1], fitting, *every[lacking:]]
        assert np.array_equal(sharing.unshard(explained), other)
        assert all(np.array_equal(explained[p - 1], every[p - 1]) for p in known)


# --- a distinguisher ---

LENGTH = 4
RULE = RULES[32]
U0, U1 = np.zeros(LENGTH), np.full(LENGTH, 64.0)
SUM = np.full(LENGTH, 64.0)
BIT = np.uint32(2**24)
"""The one in which U0 and U1 differ, encoded."""
Learner = Callable[[int], torch.nn.Module]


@dataclass(frozen=True, kw_only=True)
class Worlds:
    """Many rounds in two worlds with one sum: A has U0 and B the rest, or A has U1 and B the rest.

    Shapes: `pieces` `[round, hospital, piece, LENGTH]`; `seeds` are their 32 bytes, as numbers;
    `again` are A's pieces of a second round, in which it has U0 in both worlds.
    """

    scheme: Scheme
    labels: NDArray[np.int64]
    pieces: Ring
    seeds: NDArray[np.uint8]
    again: Ring


def played(scheme: Scheme, count: int, *, seeds: str = "fresh") -> Worlds:
    """`seeds`: "fresh", "used twice" (in A's second round), "known": the same bytes each time, or
    "but for a bit": one bit of each element of the vector stays as it is, without a mask."""
    labels = np.array([secrets.randbelow(2) for _ in range(count)])
    options = [
        [sharing.encode(one, RULE, hospitals=2) for one in (own, SUM - own)] for own in (U0, U1)
    ]
    known = [bytes([n]) * 32 for n in range(scheme.pieces - 1)]
    shared, used, again = [], [], []
    for label in labels:
        own = [known if seeds == "known" else fresh(scheme) for _ in range(2)]
        shared.append([pieces(*one) for one in zip(options[label], [scheme] * 2, own, strict=True)])
        if seeds == "but for a bit":
            for made, plain in zip(shared[-1], options[label], strict=True):
                made[-1] = made[-1] & ~BIT | plain & BIT
        used.append([list(b"".join(one)) for one in own])
        later = own[0] if seeds == "used twice" else fresh(scheme)
        again.append(pieces(options[0][0], scheme, later))
    return Worlds(
        scheme=scheme,
        labels=labels,
        pieces=np.array(shared),
        seeds=np.array(used, np.uint8).reshape(count, 2, scheme.pieces - 1, 32),
        again=np.array(again),
    )


def views(worlds: Worlds, parties: tuple[int, ...]) -> torch.Tensor:
    """All that a coalition sees, as numbers for a learner, with what it can work out from it.

    Its payloads, all released sums of pieces, and what differs between them and its own: as ring
    values and bytes, and its own also bit by bit.
    """
    index = [piece - 1 for piece in held(worlds.scheme, parties)]
    mine, sums = worlds.pieces[:, :, index], worlds.pieces.sum(1, dtype=np.uint32)
    total = sums.sum(1, dtype=np.uint32)
    together = mine.sum(2, dtype=np.uint32)
    later = worlds.pieces[:, 0, index] - worlds.again[:, index]
    rings = [
        mine,
        sums,
        together,
        total[:, None] - together,
        sums[:, None, index] - mine,
        later,
        later.sum(1, dtype=np.uint32),
    ]
    count = len(worlds.labels)
    ring = np.concatenate([one.reshape(count, -1) for one in rings], axis=1)
    raw = worlds.seeds[:, :, [n for n in index if n < worlds.scheme.pieces - 1]]
    octets = np.concatenate([ring.view(np.uint8), raw.reshape(count, -1)], axis=1)
    own = np.concatenate([mine, together[:, :, None]], axis=2).reshape(count, -1)
    bits = np.unpackbits(own.view(np.uint8), axis=1)
    numbers = np.concatenate([ring.view(np.int32) / 2.0**31, octets / 127.5 - 1.0, bits], axis=1)
    return torch.from_numpy(numbers.astype(np.float32))


def logistic(features: int) -> torch.nn.Module:
    return torch.nn.Linear(features, 1)


def perceptron(features: int) -> torch.nn.Module:
    return torch.nn.Sequential(
        torch.nn.Linear(features, 48), torch.nn.ReLU(), torch.nn.Linear(48, 1)
    )


def right_guesses(train: Worlds, test: Worlds, parties: tuple[int, ...], kind: Learner) -> int:
    """How many rounds that it never saw a trained learner puts into the right world."""
    seen, labels = views(train, parties), torch.from_numpy(train.labels).float()
    mean, spread = seen.mean(0), seen.std(0)
    spread = torch.where(spread < 1e-6, torch.ones_like(spread), spread)  # what never changes
    model = kind(seen.shape[1])
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01, weight_decay=1e-3)
    for _ in range(15):
        for chosen in torch.randperm(len(labels)).split(128):
            optimizer.zero_grad()
            logits = model((seen[chosen] - mean) / spread)[:, 0]
            torch.nn.functional.binary_cross_entropy_with_logits(logits, labels[chosen]).backward()
            optimizer.step()
    with torch.no_grad():
        guessed = model((views(test, parties) - mean) / spread)[:, 0] > 0
    return int((guessed.numpy() == (test.labels == 1)).sum())


ROUNDS = 3000
LEARNERS: list[Learner] = [logistic, perceptron]


@pytest.mark.parametrize("scheme", LEARNT, ids=str)
def test_a_learner_guesses_at_chance_from_fewer_than_needed_views(scheme: Scheme) -> None:
    """Its guesses are then throws of a coin: too many right or wrong ones are an alarm."""
    train, test = played(scheme, ROUNDS), played(scheme, ROUNDS)
    tries = list(itertools.product(coalitions(scheme, scheme.needed - 1), LEARNERS))
    low, high = stats.binom(ROUNDS, 0.5).interval(1 - FALSE_ALARM / len(tries))
    for parties, kind in tries:
        assert low <= right_guesses(train, test, parties, kind) <= high


@pytest.mark.parametrize("scheme", LEARNT, ids=str)
@pytest.mark.parametrize(
    ("seeds", "more"),
    [("fresh", 1), ("used twice", 0), ("known", 0), ("but for a bit", 0)],
    ids=["one more aggregator", "seeds used twice", "known masks", "one bit without a mask"],
)
def test_control_the_same_learner_succeeds_where_there_is_something_to_learn(
    scheme: Scheme, seeds: str, more: int
) -> None:
    train, test = played(scheme, ROUNDS, seeds=seeds), played(scheme, 300, seeds=seeds)
    parties = coalitions(scheme, scheme.needed - 1 + more)[-1]  # among them the vector's holder
    for kind in LEARNERS:
        assert right_guesses(train, test, parties, kind) > 0.9 * 300


# --- why one set a round ---


def shared_round(scheme: Scheme, names: str) -> tuple[dict[str, Ring], dict[str, list[Ring]]]:
    """Everybody's encoded update of one round, and its pieces."""
    rng = np.random.default_rng(7)
    updates = {
        name: sharing.encode(rng.uniform(-60, 60, LENGTH), RULE, hospitals=len(names))
        for name in names
    }
    return updates, {name: pieces(one, scheme, fresh(scheme)) for name, one in updates.items()}


def piece_sum(shared: dict[str, list[Ring]], names: str, piece: int) -> Ring:
    return sharing.unshard([shared[name][piece - 1] for name in names])


def opened(shared: dict[str, list[Ring]], names: str, scheme: Scheme) -> Ring:
    return sharing.unshard([piece_sum(shared, names, n + 1) for n in range(scheme.pieces)])


@pytest.mark.parametrize("scheme", [*SCHEMES, *LARGER], ids=str)
def test_two_sums_over_overlapping_sets_are_one_hospitals_update(scheme: Scheme) -> None:
    """Each is over three or more; their difference is exactly D's."""
    updates, shared = shared_round(scheme, "ABCD")
    difference = opened(shared, "ABCD", scheme) - opened(shared, "ABC", scheme)
    assert np.array_equal(difference, updates["D"])


@pytest.mark.parametrize("scheme", [one for one in [*SCHEMES, *LARGER] if one.needed > 1], ids=str)
def test_sums_of_different_sets_do_not_fit_together(scheme: Scheme) -> None:
    """Aggregators that were asked for different sets give what is masked by the fourth's pieces."""
    updates, shared = shared_round(scheme, "ABCD")
    asked = ["ABC", *["ABCD"] * (scheme.pieces - 1)]
    mixed = [piece_sum(shared, names, n) for n, names in enumerate(asked, start=1)]
    masked = sharing.unshard(mixed) - opened(shared, "ABC", scheme)
    assert not np.any(masked == updates["D"])
    assert np.array_equal(masked, updates["D"] - shared["D"][0])


def opens_two_sets(scheme: Scheme, cheats: int) -> bool:
    """Whether aggregators 1 to `cheats`, who choose every set, can open two sets of a round.

    The honest ones choose one set each. A sum leaves an honest one only with `needed` choices.
    """
    bad = tuple(range(1, cheats + 1))
    honest = tuple(range(cheats + 1, scheme.parties + 1))
    for asked in itertools.product((False, True), repeat=len(honest)):
        opens = []
        for side in (False, True):
            chose = [p for p, choice in zip(honest, asked, strict=True) if choice == side]
            released = chose if cheats + len(chose) >= scheme.needed else []
            opens.append(len(held(scheme, (*bad, *released))) == scheme.pieces)
        if all(opens):
            return True
    return False


@pytest.mark.parametrize(
    "scheme", [Scheme(k, n) for k in range(2, 6) for n in range(2, k + 1) if 2 * n > k], ids=str
)
def test_two_sets_open_from_two_needed_minus_all_cheating_aggregators_on(scheme: Scheme) -> None:
    least = min(2 * scheme.needed - scheme.parties, scheme.needed)
    for cheats in range(scheme.parties + 1):
        assert opens_two_sets(scheme, cheats) == (cheats >= least)


def test_one_cheating_aggregator_of_2_of_3_takes_one_update() -> None:
    """It chooses both sets; one honest aggregator sums the first, the other one the second."""
    scheme = Scheme(3, 2)
    updates, shared = shared_round(scheme, "ABCD")
    found = []
    for names, honest in (("ABCD", 2), ("ABC", 3)):
        known = held(scheme, (1, honest))
        found.append(sharing.unshard([piece_sum(shared, names, piece) for piece in known]))
    assert np.array_equal(found[0] - found[1], updates["D"])
