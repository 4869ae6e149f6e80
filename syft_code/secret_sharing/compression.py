"""Which coordinates of a network travel in a round, and how they find their places again.

    hospital     pick        the shared part's update ─▶ the numbers that travel
                 keep_back   the same with error feedback: and what is kept for the next round
    researcher   spread      the numbers that travelled ─▶ an update of all parameters

All hospitals send the same coordinates, so that sums stay exact: the trained part of the network,
without normalisation if that is each hospital's own (`VectorLayout.shared`), and of that the share that the plan
keeps, drawn from the plan's hash and the round.

Guarantee: privacy stays as it was. Which coordinates travel is public and fixed before anybody
trains. What travels, p = update + residual cut to the bound and rounded, is made of nothing but
noised updates, of this round and of earlier ones, and of the plan; so is the residual, which is p
less what travelled. Both are post-processing of results that the ledger has paid for, and what is
trained next starts from the researcher's weights, not from the residual.

Does not protect: an update whose shares left the hospital and were never summed. It counts as
sent, and error feedback does not bring it back.

Source: Stich, Cordonnier and Jaggi 2018, "Sparsified SGD with memory", algorithm 1 (Mem-SGD), with
the random coordinates of its definition 2.1; Karimireddy et al. 2019, "Error feedback fixes
SignSGD", algorithm 2.
"""

import numpy as np
from numpy.typing import NDArray

from syft_code import canonical
from syft_code.arrays import Vector
from syft_code.plans.plan import Plan
from syft_code.secret_sharing import sharing
from syft_code.secret_sharing.vector_layout import VectorLayout

Places = NDArray[np.int64]


def places(plan: Plan, round_number: int) -> Places | None:
    """The places of a round's coordinates within the shared part, ascending; None: all of it.

    A uniform draw without replacement: the places with the smallest words of a keystream from
    plan hash and round.
    """
    layout = VectorLayout.of(plan)
    count, kept = layout.shared_count, layout.sent_count
    if kept == count:
        return None
    seed = bytes.fromhex(canonical.sha256(canonical.encode(("places", plan.hash, round_number))))
    words = sharing.expand(seed, count, 64)
    threshold = np.partition(words, kept - 1)[kept - 1]
    below = np.flatnonzero(words < threshold)
    ties = np.flatnonzero(words == threshold)[: kept - len(below)]
    return np.sort(np.concatenate([below, ties]))


def pick(plan: Plan, round_number: int, shared_part: Vector) -> Vector:
    """Hospital: the coordinates of a shared part that travel in this round."""
    chosen = places(plan, round_number)
    return shared_part if chosen is None else shared_part[chosen]


def keep_back(
    plan: Plan, hospital: str, round_number: int, wanted: Vector
) -> tuple[Vector, Vector]:
    """Hospital: of p = update + residual, what travels in this round, and the next residual.

    Shapes: float64, p and the residual of the shared part. What travels is cut to the sharing
    bound. The residual is p less what the sum will hold of it: the fixed-point numbers that
    `envelope.seal` makes, before the hospital's weight.
    """
    chosen = places(plan, round_number)
    at = slice(None) if chosen is None else chosen
    bound = plan.sharing.bound
    travels = np.clip(wanted[at], -bound, bound)
    factor = plan.hospital(hospital).patients / plan.most_patients
    encoded = sharing.encode(travels, plan.sharing, hospitals=len(plan.hospitals), factor=factor)
    residual = wanted.copy()
    residual[at] -= sharing.decode(encoded, plan.sharing) / factor
    return travels, residual


def spread(plan: Plan, round_number: int, values: Vector) -> Vector:
    """Researcher: an update of all parameters, with zeros where nothing travelled."""
    layout = VectorLayout.of(plan)
    part, own, chosen = layout.trained, layout.shared, places(plan, round_number)
    if chosen is not None:
        everything = np.zeros(layout.shared_count, np.float64)
        everything[chosen] = values
        values = everything
    update = np.zeros(part.stop, np.float64)
    update[part][slice(None) if own is None else own] = values
    return update
