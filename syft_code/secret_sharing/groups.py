"""The groups over which a round is summed: all hospitals, or several disjoint sets of them.

A robust rule needs more than one sum. The groups follow from the plan, the round and the set of
hospitals that was chosen, so that every aggregator draws the same ones and nobody picks them.
"""

import hashlib

from syft_code import canonical
from syft_code.plans.messages import Purpose
from syft_code.plans.plan import Plan


def groups(
    plan: Plan, purpose: Purpose, round_number: int, hospitals: tuple[str, ...]
) -> tuple[tuple[str, ...], ...]:
    """The chosen hospitals in groups of at least `min_hospitals`, each in alphabetical order.

    One group, unless it is a training round of a plan with a robust rule; then as many as the
    plan says, or fewer if too few hospitals took part. A hospital's place is drawn from a hash
    of plan, round and set.

    Does not protect: against a researcher who tries several plans, or several lists of hospitals
    that dropped out, until the draw suits; nor a hospital over many rounds. A researcher who sees
    many groups' sums can work out
    single hospitals' average updates; each of them is noised by its hospital.
    """
    chosen = tuple(sorted(hospitals))
    if plan.robust is None or purpose != "train":
        return (chosen,)
    count = max(min(plan.robust.groups, len(chosen) // plan.min_hospitals), 1)
    draw = canonical.encode((plan.hash, round_number, chosen))
    order = sorted(chosen, key=lambda name: hashlib.sha256(draw + name.encode("ascii")).digest())
    return tuple(tuple(sorted(order[first::count])) for first in range(count))
