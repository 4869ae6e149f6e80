"""What a study cost the patients of one hospital, worked out from the events it contributed."""

from dataclasses import dataclass
from typing import Any

from federation.certificate import second_accountant
from federation.researcher.outcome import Outcome
from syft_code.plans.plan import Plan
from syft_code.privacy import accounting
from syft_code.privacy.accounting import DpSgdEvent, GaussianEvent

Events = list[DpSgdEvent | GaussianEvent]
GROUPS: tuple[accounting.Group, ...] = ("training", "held-out")


@dataclass(frozen=True, slots=True, kw_only=True)
class SpentRounds:
    """The rounds that one hospital trained in, and those that it evaluated."""

    trained: tuple[int, ...]
    evaluated: tuple[int, ...]


def part_of(outcome: Outcome, hospital: str) -> SpentRounds:
    """Read a hospital's part off the rounds' records."""
    return SpentRounds(
        trained=tuple(record.round for record in outcome.rounds if hospital in record.trained),
        evaluated=tuple(record.round for record in outcome.rounds if hospital in record.evaluated),
    )


def events(plan: Plan, part: SpentRounds) -> Events:
    """What left a hospital that had this part in a study."""
    training: Events = [accounting.event(plan, "train")] * len(part.trained)
    return training + [accounting.event(plan, "evaluate") for _ in part.evaluated]


def recomputed(plan: Plan, part: SpentRounds, *, delta: float) -> dict[str, Any]:
    """Epsilon of a hospital's events by two accountants, and by PLD for each group of patients.

    The groups are disjoint parts of the data, so the larger of them counts (parallel
    composition, see `syft_code.privacy.accounting`). `epsilon_alone_pld` is of the same events by the
    hospital's own noise alone.
    """
    spent = events(plan, part)
    pld = accounting.epsilon(spent, delta=delta)
    second = second_accountant.second_epsilon(spent, delta=delta, pld=pld)
    groups = {name: [e for e in spent if accounting.group(e) == name] for name in GROUPS}
    return {
        "epsilon_pld": pld,
        "epsilon_alone_pld": accounting.epsilon_alone(spent, delta=delta),
        "epsilon_pld_by_group": {
            name: accounting.epsilon(own, delta=delta) for name, own in groups.items()
        },
        "epsilon_second": second.epsilon,
        "second_accountant": second.method,
        "accountants_agree": second.agrees_with(pld),
    }


def privacy_cost(outcome: Outcome, hospital: str) -> dict[str, Any]:
    """What one hospital gave and what its patients paid, as it stands in a certificate.

    `epsilon` and `epsilon_alone` are never less than what the ledger stated, nor than what the events
    come to. A
    round that failed after it was reserved is in the ledger and not among the events.
    """
    plan, entry = outcome.plan, outcome.plan.hospital(hospital)
    part = part_of(outcome, hospital)
    own = [record for record in outcome.rounds if hospital in record.epsilon]
    facts: dict[str, Any] = {
        "name": hospital,
        "verify_key": entry.verify_key,
        "asset": entry.asset,
        "asset_version": entry.asset_version,
        "declared_patients": entry.patients,
        "rounds_trained": list(part.trained),
        "rounds_evaluated": list(part.evaluated),
    }
    if not own:
        note = (
            "It contributed to no round and stated no epsilon. A round that it began and that "
            "failed stays paid in its ledger, which its owner can read."
        )
        return facts | {"epsilon": None, "epsilon_alone": None, "note": note}
    ledger, delta = own[-1].epsilon[hospital], own[-1].delta[hospital]
    alone = own[-1].epsilon_alone[hospital]
    anew = recomputed(plan, part, delta=delta)
    whole = accounting.plan_events(plan)
    return facts | {
        "epsilon": max(ledger, anew["epsilon_pld"]),
        "epsilon_alone": max(alone, anew["epsilon_alone_pld"]),
        "delta": delta,
        "epsilon_stated_by_ledger": ledger,
        "epsilon_alone_stated_by_ledger": alone,
        **anew,
        "epsilon_of_the_whole_plan": accounting.epsilon(whole, delta=delta),
        "epsilon_alone_of_the_whole_plan": accounting.epsilon_alone(whole, delta=delta),
    }
