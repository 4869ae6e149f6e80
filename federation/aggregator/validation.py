"""What a call to an aggregator must be: pure checks of messages against a plan."""

from collections.abc import Sequence

from federation.aggregator.storage.vector_files import RoundKey
from syft_code import canonical
from syft_code.errors import InvalidMessage, Refused, require
from syft_code.plans import messages
from syft_code.plans.messages import ReleaseCall, SetChoice, ShareHeader, Signed
from syft_code.plans.plan import Plan
from syft_code.plans.roster import Aggregator


def named_plan(kind: type[ShareHeader] | type[ReleaseCall], signed: Signed) -> str:
    """The plan that a message claims to belong to; its signature is checked against that plan."""
    claimed: ShareHeader | ReleaseCall = messages.claimed(kind, signed)
    return claimed.plan_hash


def party_of(plan: Plan, public: Aggregator) -> int:
    """An aggregator's place in a plan, from 1; raise `Refused` if it has none."""
    keys = (public.verify_key, public.seal_key)
    places = [
        party
        for party, aggregator in enumerate(plan.aggregators, start=1)
        if (aggregator.verify_key, aggregator.seal_key) == keys
    ]
    require(
        len(places) == 1,
        "A plan must name this aggregator with its own keys: take the entry from its public.json.",
        error=Refused,
    )
    return places[0]


def signed_call(plan: Plan, signed: Signed) -> ReleaseCall:
    """A release call for a round of the plan, if the researcher signed it."""
    call = messages.verify(ReleaseCall, signed, plan.researcher_key)
    require(
        call.round in plan.rounds_of(call.purpose),
        "A release call must be for a round that the plan names.",
        error=InvalidMessage,
    )
    return call


def check_choices(
    plan: Plan, round_key: RoundKey, hospitals: tuple[str, ...], choices: Sequence[Signed]
) -> None:
    """As many different aggregators as the plan needs must have promised this set."""
    agreed = set()
    for signed in choices:
        data = signed.message.encode("utf-8", "replace")
        claimed: SetChoice = canonical.parse(SetChoice, data, what="SetChoice")
        require(
            1 <= claimed.party <= len(plan.aggregators),
            "A choice must be by an aggregator of the plan's roster.",
            error=InvalidMessage,
        )
        key = plan.aggregators[claimed.party - 1].verify_key
        choice = messages.verify(SetChoice, signed, key)
        require(
            (RoundKey.of(choice), choice.hospitals) == (round_key, hospitals),
            "All choices must be of the round and the set that are asked for, and one is not: "
            "two sets can't both be summed.",
            error=Refused,
        )
        agreed.add(choice.party)
    require(
        len(agreed) >= plan.needed,
        f"A sum must have been agreed to by {plan.needed} aggregators, and this call brings the "
        f"choices of {len(agreed)}: ask the others to choose the same set.",
        error=Refused,
    )


def allowed_set(plan: Plan, call: ReleaseCall) -> tuple[str, ...]:
    """The hospitals of a release call in a fixed order, if the plan allows that set."""
    chosen = set(call.hospitals)
    require(
        len(chosen) == len(call.hospitals) and chosen <= {h.name for h in plan.hospitals},
        "A release call must name hospitals of the plan's roster, each once.",
        error=InvalidMessage,
    )
    require(
        len(chosen) >= plan.min_hospitals,
        f"A sum must be over at least {plan.min_hospitals} hospitals, and this call names "
        f"{len(chosen)}.",
        error=Refused,
    )
    return tuple(sorted(chosen))
