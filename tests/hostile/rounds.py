"""A plan that its owner has approved, and calls of its rounds, as a researcher makes them."""

import time
from typing import Any

from nacl.signing import SigningKey

from syft_code import canonical
from syft_code.local_training import local_round
from syft_code.models import networks
from syft_code.plans import messages, traveller
from syft_code.plans.messages import RoundCall, Signed, Ticket
from syft_code.plans.plan import Plan
from syft_code.plans.plan_parts import DpSgd
from syft_code.runtime.quiet_imports import quiet_import
from tests.hostile.conftest import OurSite, value_object
from tests.plans import plan

with quiet_import():
    from syft.service.response import SyftSuccess


def agree(ours: OurSite, study: str, *, epsilon: float | None = None, **changes: Any) -> Plan:
    """A plan of small rounds that Alice has submitted and the owner has approved."""
    cheap = DpSgd(noise_multiplier=4.0, max_grad_norm=1.0, sample_rate=0.2, steps=1)
    fields = {"hospitals": ours.agreed.hospitals, "dp_sgd": cheap, "evaluation": None} | changes
    agreed = plan(ours.keys, study=study, **fields)
    ours.alice.submit(agreed)
    evidence = ours.evidence(agreed)
    ours.owner.approve(evidence, epsilon=epsilon, anyway=True)
    return agreed


def round_call(
    ours: OurSite,
    agreed: Plan,
    number: int,
    *,
    seed: int | None = None,
    key: SigningKey | None = None,
) -> Signed:
    """A right call of a round, signed by its researcher; its weights are at the desk already.

    They are the plan's, or others that `seed` draws.
    """
    weights = local_round.first_weights(agreed)
    if seed is not None:
        weights = networks.initial_weights(agreed.recipe, agreed.data, seed=seed)
    call = RoundCall(
        plan_hash=agreed.hash,
        hospital="north",
        purpose="train",
        round=number,
        weights_sha256=ours.alice.bulk.upload(weights.astype("<f4").tobytes()),
    )
    return messages.sign(call, key or ours.keys.researcher)


def spent(ours: OurSite) -> tuple[str, ...]:
    return ours.owner.ledger_summary("skin-lesions").events


def through_pysyft(ours: OurSite, agreed: Plan, call: Signed) -> Any:
    """A round call as Alice's PySyft account makes it: an answer's value, or the refusal."""
    key = ours.alice_key
    text = value_object(canonical.text(call))
    text.syft_client_verify_key = key.verify_key
    assert isinstance(ours.desk.call(key, "action.set", action_object=text), SyftSuccess)
    code = ours.request(traveller.function_name(agreed.hash)).code
    answer = ours.desk.call(key, "code.call", uid=code.id, patients=ours.asset, call=text)
    if not isinstance(answer, SyftSuccess):
        return answer
    return ours.desk.call(key, "action.get", uid=answer.value.id).value.syft_action_data


def ended(ours: OurSite, ticket: Ticket) -> Ticket:
    """A ticket when its round is over."""
    deadline = time.monotonic() + 90
    while ticket.state in ("queued", "running"):
        assert time.monotonic() < deadline, "the round must end"
        time.sleep(0.1)
        ticket = ours.alice.bulk.ticket(ticket.ticket)
    return ticket
