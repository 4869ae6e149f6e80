"""What the aggregators of a simulated round hold: sums of pieces, one hospital after the other."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from federation.simulation.randomness import Randomness
from syft_code.arrays import Vector
from syft_code.plans.plan import Plan
from syft_code.secret_sharing import envelope, sharing
from syft_code.secret_sharing.groups import groups
from syft_code.secret_sharing.vector_layout import VectorLayout


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RoundSums:
    """What a round came to: the set that was summed, its groups, and the ring sum of each."""

    hospitals: tuple[str, ...]
    groups: tuple[tuple[str, ...], ...]
    totals: tuple[sharing.Ring, ...]


class SimulatedSums:
    """One group's sums of every piece of a training round."""

    def __init__(self, plan: Plan) -> None:
        length = VectorLayout.of(plan).vector_length("train")
        ring = sharing.ring_dtype(plan.sharing.ring_bits)
        self._sums = [np.zeros(length, ring) for _ in range(envelope.scheme(plan).pieces)]
        self.hospitals: list[str] = []

    def add(self, hospital: str, pieces: Sequence[sharing.Payload]) -> None:
        """Aggregators: add each piece of a hospital's vector."""
        *masks, vector = pieces
        for total, mask in zip(self._sums, masks, strict=False):
            sharing.add_seeds(total, [bytes(mask)])
        sharing.add_vector(self._sums[-1], vector)
        self.hospitals.append(hospital)

    def total(self) -> sharing.Ring:
        """Researcher: the opened sum."""
        return sharing.unshard(self._sums)


def collected(
    plan: Plan, number: int, given: Iterable[tuple[str, Vector]], randomness: Randomness
) -> RoundSums | None:
    """A round's sums out of what each hospital gives; None if nobody gives anything.

    Memory: that of one hospital's vector and the pieces' sums. A robust rule needs the whole set
    before it can draw its groups, so then every hospital's vector is held.
    """
    if plan.robust is not None:
        return _by_group(plan, number, dict(given), randomness)
    sums = _summed(plan, number, given, randomness)
    if not sums.hospitals:
        return None
    names = tuple(sorted(sums.hospitals))
    return RoundSums(hospitals=names, groups=(names,), totals=(sums.total(),))


def _by_group(
    plan: Plan, number: int, given: dict[str, Vector], randomness: Randomness
) -> RoundSums | None:
    if not given:
        return None
    drawn = groups(plan, "train", number, tuple(given))
    totals = [
        _summed(plan, number, ((name, given[name]) for name in names), randomness).total()
        for names in drawn
    ]
    return RoundSums(hospitals=tuple(sorted(given)), groups=drawn, totals=tuple(totals))


def _summed(
    plan: Plan, number: int, given: Iterable[tuple[str, Vector]], randomness: Randomness
) -> SimulatedSums:
    sums, seeds = SimulatedSums(plan), envelope.scheme(plan).pieces - 1
    for name, values in given:
        sums.add(name, pieces(plan, name, values, randomness.seeds(name, number, seeds)))
    return sums


def pieces(
    plan: Plan, hospital: str, values: Vector, seeds: Sequence[bytes]
) -> list[sharing.Payload]:
    """Hospital: encode, weigh and shard, as `envelope.seal` does before it seals."""
    entry = plan.hospital(hospital)
    return sharing.encode_and_shard(
        values,
        plan.sharing,
        envelope.scheme(plan),
        weight=entry.patients,
        seeds=seeds,
        hospitals=len(plan.hospitals),
        factor=entry.patients / plan.most_patients,
    )
