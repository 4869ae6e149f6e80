"""What leaves a hospital under a plan, to the byte: names, shapes, types, sizes, how often.

training process ─ result ─▶ airlock ─ ring vector ─▶ sealed shares ─▶ one for each aggregator
                   stays              stays          leave

It follows from the plan alone, so it can be shown before anybody decides.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from syft_code.metrics import scoring, segmentation
from syft_code.plans.algorithms import Scaffold
from syft_code.plans.messages import Purpose
from syft_code.plans.plan import Plan
from syft_code.recipes.recipe import parameter_count
from syft_code.secret_sharing import envelope, sharing
from syft_code.secret_sharing.sharing import Scheme
from syft_code.secret_sharing.vector_layout import VectorLayout


@dataclass(frozen=True, slots=True, kw_only=True)
class DisclosedPart:
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
class Disclosure:
    """One kind of release: how often it happens, and what it makes each time."""

    purpose: Purpose
    times: int
    meaning: str
    parts: tuple[DisclosedPart, ...]

    @property
    def bytes_each(self) -> int:
        """The most bytes that leave each time."""
        return sum(part.bytes for part in self.parts if part.to)

    @property
    def bytes_in_all(self) -> int:
        """The most bytes that leave over the whole plan."""
        return self.times * self.bytes_each


def of_plan(plan: Plan, hospital: str) -> tuple[Disclosure, ...]:
    """Everything that leaves this hospital: training rounds, then evaluations if there are any."""
    purposes: tuple[Purpose, ...] = ("train", "evaluate")
    return tuple(
        _release(plan, hospital, purpose) for purpose in purposes if plan.rounds_of(purpose)
    )


def _release(plan: Plan, hospital: str, purpose: Purpose) -> Disclosure:
    length = VectorLayout.of(plan).vector_length(purpose)
    ring = sharing.ring_dtype(plan.sharing_of(purpose).ring_bits)
    stays = (
        *(_numbers(name, count) for name, count in _results(plan, purpose)),
        DisclosedPart(
            name="ring vector",
            shape=(length,),
            dtype=ring.name,
            bytes=length * ring.itemsize,
        ),
    )
    parties = range(1, len(plan.aggregators) + 1)
    shares = tuple(_share(plan, hospital, purpose, party) for party in parties)
    return Disclosure(
        purpose=purpose,
        times=len(plan.rounds_of(purpose)),
        meaning=_meaning(plan, purpose),
        parts=stays + shares,
    )


def _results(plan: Plan, purpose: Purpose) -> Iterator[tuple[str, int]]:
    """What is worked out here in float64, and how many numbers of each."""
    layout = VectorLayout.of(plan)
    if purpose == "evaluate":
        yield "noised sums", layout.result_length(purpose)
        return
    yield "update", layout.trained_count
    memory, norms, clip = layout.kept
    if memory and isinstance(plan.algorithm, Scaffold):
        yield "change of the control variate", memory
        yield "control variate, kept for the next round", memory
    elif memory:
        yield "what did not travel, kept for the next round", memory
    if norms:
        yield "normalisation, kept for the next round", norms
    if clip:
        yield "how far the clip norm has moved, kept for the next round", clip


def _numbers(name: str, count: int) -> DisclosedPart:
    return DisclosedPart(name=name, shape=(count,), dtype="float64", bytes=8 * count)


def _share(plan: Plan, hospital: str, purpose: Purpose, party: int) -> DisclosedPart:
    """A share as `envelope.seal` makes it, with the most bytes that it may have."""
    size = envelope.most_share_bytes(
        plan, hospital, purpose, plan.rounds_of(purpose)[-1], party=party
    )
    return DisclosedPart(
        name=_pieces(envelope.scheme(plan), party),
        shape=(size,),
        dtype="bytes",
        bytes=size,
        to=plan.aggregators[party - 1].name,
    )


def _pieces(scheme: Scheme, party: int) -> str:
    """What is sealed for an aggregator, in words."""
    seeds = len(scheme.seeds_of(party))
    words = ["a seed" if seeds == 1 else f"{seeds} seeds"] if seeds else []
    if scheme.has_vector(party):
        words.append("a masked vector")
    return f"sealed share ({' and '.join(words)})"


def _meaning(plan: Plan, purpose: Purpose) -> str:
    """What the numbers of a vector are, in their order."""
    data = plan.data
    if purpose == "train":
        return f"{_update(plan)}, then the weight: the declared number of patients"
    if data.task == "segmentation":
        values = ", ".join((*segmentation.regions(data), *segmentation.distances(data)))
        return (
            f"{values} in 0..1, less a half, summed over patients, their count, then the weight 1"
        )
    counts = f"right by class ({len(data.classes)}), wrong by class ({len(data.classes)})"
    if data.positive:
        counts += (
            f", {scoring.SCORE_BINS} bins of the score of {data.positive} with {data.positive} "
            f"and {scoring.SCORE_BINS} without"
        )
    return f"{counts}, then the weight 1"


def _update(plan: Plan) -> str:
    """The values of a training round."""
    layout = VectorLayout.of(plan)
    everything = layout.sent_count == parameter_count(plan.recipe, plan.data)
    which = (
        "every parameter's change"
        if everything
        else (f"the change of {layout.sent_count:,} parameters")
    )
    order = "weighted, in the model's order"
    if isinstance(plan.algorithm, Scaffold):
        return f"{which}, {order}, then as many changes of the control variate, weighted"
    return f"{which}, {order}"
