"""What fewer than the needed aggregators see says nothing: by statistics, and by algebra.

Uniformity and a trained distinguisher, on shares with seeds from the operating system's generator.
All tests of one function together raise a false alarm once in a million runs. Each of them has a
positive control: the same test, on a view that is known to tell, must find it.

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

from syft_code import sharing
from syft_code.plan import Sharing
from syft_code.sharing import Ring, Scheme

FALSE_ALARM = 1e-6
SCHEMES = [Scheme(2, 2), Scheme(3, 3), Scheme(3, 2)]
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


@pytest.mark.parametrize("extreme", EXTREMES)
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
@pytest.mark.parametrize("bits", [16, 64])
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


@dataclass(frozen=True, kw_only=True)
class Experiment:
    """Two worlds with one sum: A has u0 and B the rest, or A has u1 and B the rest.

    `parties` see the payloads; `reuse`: the seeds of a second round, in which A has u0 in both
    worlds, are those of the first; `bare`: the seeds are all the same known bytes.
    """

    scheme: Scheme
    parties: tuple[int, ...]
    reuse: bool = False
    bare: bool = False


LENGTH = 4
RULE = RULES[32]
U0, U1 = np.zeros(LENGTH), np.full(LENGTH, 64.0)
SUM = np.full(LENGTH, 64.0)


def view(experiment: Experiment, world: int) -> NDArray[np.float32]:
    """All that a coalition sees, as numbers for a learner, with what it can work out from it."""
    scheme, roster = experiment.scheme, 2
    known = held(scheme, experiment.parties)
    a = sharing.encode((U0, U1)[world], RULE, hospitals=roster)
    b = sharing.encode((SUM - U0, SUM - U1)[world], RULE, hospitals=roster)
    seeds = [fresh(scheme) for _ in range(roster)]
    if experiment.bare:
        seeds = [[bytes([n]) * 32 for n in range(scheme.pieces - 1)]] * roster
    shared = [pieces(one, scheme, own) for one, own in zip((a, b), seeds, strict=True)]
    sums = [first + second for first, second in zip(*shared, strict=True)]  # all are released
    total = sharing.unshard(sums)
    rings = list(sums)
    for own in shared:
        mine = [own[piece - 1] for piece in known]
        together = sharing.unshard(mine)
        rings += [*mine, together, total - together]
        rings += [sums[piece - 1] - own[piece - 1] for piece in known]
    if experiment.reuse or len(shared) > 2:
        again = sharing.encode(U0, RULE, hospitals=roster)
        second = pieces(again, scheme, seeds[0])
        rings += [shared[0][piece - 1] - second[piece - 1] for piece in known]
        rings.append(sharing.unshard([shared[0][p - 1] - second[p - 1] for p in known]))
    if experiment.bare:
        lacking = [sharing.expand(seed, LENGTH, 32) for seed in seeds[0]]
        rings.append(shared[0][-1] + sharing.unshard(lacking))
    raw = b"".join(own[n] for own in seeds for n in range(scheme.pieces - 1) if n + 1 in known)
    ring = np.concatenate(rings)
    signed = ring.view(np.int32) / 2.0**31
    octets = np.frombuffer(ring.tobytes() + raw, np.uint8) / 127.5 - 1.0
    return np.concatenate([signed, octets]).astype(np.float32)


def samples(experiment: Experiment, count: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Views of worlds that the operating system's generator picked."""
    worlds = [secrets.randbelow(2) for _ in range(count)]
    views = np.stack([view(experiment, world) for world in worlds])
    return torch.from_numpy(views), torch.tensor(worlds, dtype=torch.float32)


def logistic(features: int) -> torch.nn.Module:
    return torch.nn.Linear(features, 1)


def perceptron(features: int) -> torch.nn.Module:
    return torch.nn.Sequential(
        torch.nn.Linear(features, 48), torch.nn.ReLU(), torch.nn.Linear(48, 1)
    )


def right_guesses(
    experiment: Experiment, kind: Callable[[int], torch.nn.Module], *, train: int, test: int
) -> int:
    """How many of so many fresh views a trained learner puts into the right world."""
    views, worlds = samples(experiment, train)
    mean, spread = views.mean(0), views.std(0).clamp_min(1e-12)
    model = kind(views.shape[1])
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01, weight_decay=1e-3)
    for _ in range(15):
        for chosen in torch.randperm(train).split(128):
            optimizer.zero_grad()
            logits = model((views[chosen] - mean) / spread)[:, 0]
            torch.nn.functional.binary_cross_entropy_with_logits(logits, worlds[chosen]).backward()
            optimizer.step()
    views, worlds = samples(experiment, test)
    with torch.no_grad():
        guessed = model((views - mean) / spread)[:, 0] > 0
    return int((guessed == worlds.bool()).sum())


TRAIN, TEST = 1500, 1500
LEARNERS = pytest.mark.parametrize("learner", [logistic, perceptron], ids=lambda one: one.__name__)


@LEARNERS
@pytest.mark.parametrize("scheme", SCHEMES, ids=str)
def test_a_learner_guesses_at_chance_from_fewer_than_needed_views(
    scheme: Scheme, learner: Callable[[int], torch.nn.Module]
) -> None:
    """Its guesses are then TEST throws of a coin: too many right or wrong ones are an alarm."""
    seen_by = coalitions(scheme, scheme.needed - 1)
    low, high = stats.binom(TEST, 0.5).interval(1 - FALSE_ALARM / len(seen_by))
    for parties in seen_by:
        experiment = Experiment(scheme=scheme, parties=parties)
        assert low <= right_guesses(experiment, learner, train=TRAIN, test=TEST) <= high


@LEARNERS
@pytest.mark.parametrize("scheme", SCHEMES, ids=str)
@pytest.mark.parametrize("what", ["one more aggregator", "seeds used twice", "known masks"])
def test_control_the_same_learner_succeeds_where_there_is_something_to_learn(
    scheme: Scheme, learner: Callable[[int], torch.nn.Module], what: str
) -> None:
    few = coalitions(scheme, scheme.needed - 1)[-1]  # among them the holder of the vector
    experiment = {
        "one more aggregator": Experiment(
            scheme=scheme, parties=coalitions(scheme, scheme.needed)[0]
        ),
        "seeds used twice": Experiment(scheme=scheme, parties=few, reuse=True),
        "known masks": Experiment(scheme=scheme, parties=few, bare=True),
    }[what]
    assert right_guesses(experiment, learner, train=600, test=300) > 0.95 * 300


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
    masked = [
        sharing.unshard([piece_sum(shared, "ABCD" if n else "ABC", n + 1) for n in range(scheme.pieces)])
        - opened(shared, "ABC", scheme)
    ]  # fmt: skip
    assert not np.any(masked[0] == updates["D"])
    assert np.array_equal(masked[0], updates["D"] - shared["D"][0])


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
