"""What leaves a hospital under a plan, to the byte: names, shapes, types, sizes, how often.

training process ─ result ─▶ airlock ─ ring vector ─▶ sealed shares ─▶ one for each aggregator
                   stays              stays          leave

It follows from the plan alone, so it can be shown before anybody decides.
"""

from dataclasses import dataclass

from syft_code import canonical, envelope, scoring, sharing
from syft_code.messages import Purpose, ShareHeader, Signed
from syft_code.plan import Plan
from syft_code.recipes import DataSpec

_HASH = "0" * 64
_SHARES = {"seed": "sealed share (a seed)", "vector": "sealed share (a masked vector)"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One thing that a release makes. Units: `bytes` of one such thing.

    `to` is the aggregator that it is sealed for; empty for what never leaves the hospital.
    A share's bytes are the most that they can be: a later round may have a longer number.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    bytes: int
    to: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Release:
    """One kind of release: how often it happens, and what it makes each time."""

    purpose: Purpose
    times: int
    meaning: str
    parts: tuple[Part, ...]

    @property
    def bytes_each(self) -> int:
        """The most bytes that leave each time."""
        return sum(part.bytes for part in self.parts if part.to)

    @property
    def bytes_in_all(self) -> int:
        """The most bytes that leave over the whole plan."""
        return self.times * self.bytes_each


def of_plan(plan: Plan, hospital: str) -> tuple[Release, ...]:
    """Everything that leaves this hospital: training rounds, then evaluations if there are any."""
    purposes: tuple[Purpose, ...] = ("train", "evaluate")
    return tuple(
        _release(plan, hospital, purpose) for purpose in purposes if plan.rounds_of(purpose)
    )


def _release(plan: Plan, hospital: str, purpose: Purpose) -> Release:
    length = envelope.vector_length(plan, purpose)
    ring = sharing.ring_dtype(plan.sharing.ring_bits)
    result = "update" if purpose == "train" else "noised sums"
    stays = (
        Part(name=result, shape=(length - 1,), dtype="float64", bytes=8 * (length - 1)),
        Part(
            name="ring vector",
            shape=(length,),
            dtype=ring.name,
            bytes=length * ring.itemsize,
        ),
    )
    parties = range(1, len(plan.aggregators) + 1)
    shares = tuple(_share(plan, hospital, purpose, party) for party in parties)
    return Release(
        purpose=purpose,
        times=len(plan.rounds_of(purpose)),
        meaning=_meaning(plan.data, purpose),
        parts=stays + shares,
    )


def _share(plan: Plan, hospital: str, purpose: Purpose, party: int) -> Part:
    """A share as `envelope.seal` makes it, its size worked out from a header of the same form."""
    header = ShareHeader(
        plan_hash=plan.hash,
        hospital=hospital,
        purpose=purpose,
        round=plan.rounds_of(purpose)[-1],
        party=party,
        parties=len(plan.aggregators),
        length=envelope.vector_length(plan, purpose),
        ring_bits=plan.sharing.ring_bits,
        payload=envelope.payload_kind(party, len(plan.aggregators)),
        log_sha256=_HASH,
        sealed_sha256=_HASH,
    )
    signed = Signed(message=canonical.encode(header).decode("ascii"), signature=_HASH * 2)
    size = len(envelope.SealedShare(header=signed, sealed=b"").to_bytes())
    size += envelope.sealed_bytes(header)
    return Part(
        name=_SHARES[header.payload],
        shape=(size,),
        dtype="bytes",
        bytes=size,
        to=plan.aggregators[party - 1].name,
    )


def _meaning(data: DataSpec, purpose: Purpose) -> str:
    """What the numbers of a vector are, in their order."""
    if purpose == "train":
        return (
            "every parameter's change, weighted, in the model's order, then the weight: the "
            "declared number of patients"
        )
    if data.task == "segmentation":
        return f"{', '.join(scoring.REGIONS)} summed over patients, their count, then the weight 1"
    counts = f"right by class ({len(data.classes)}), wrong by class ({len(data.classes)})"
    if scoring.POSITIVE_CLASS in data.classes:
        counts += (
            f", {scoring.SCORE_BINS} bins of the melanoma score with melanoma and "
            f"{scoring.SCORE_BINS} without"
        )
    return f"{counts}, then the weight 1"
