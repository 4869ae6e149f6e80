"""What the hospitals of a certificate signed, and the chain of models that follows from it.

    round 1 ─ weights ─▶ hospitals sign their hash ─ sum, step ─▶ round 2 ─ … ─▶ the delivered model

Each contribution, to a training round or to an evaluation, has a statement: the header of one of
its shares (`ShareHeader`), in which the hospital signed plan, round, the hash of the weights that
it worked on, the epsilon that the study has spent there, and its audit log's last hash.

Guarantee: docs/protocol.md, section 12.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from syft_code import canonical
from syft_code.errors import InvalidMessage
from syft_code.plans import messages
from syft_code.plans.messages import PURPOSES, Purpose, ShareHeader, Signed
from syft_code.plans.plan import Plan
from syft_code.secret_sharing.vector_layout import VectorLayout

Fields = Mapping[str, Any]
Slot = tuple[int, Purpose]
NAMED_IN: dict[Purpose, str] = {"train": "hospitals", "evaluate": "evaluators"}
WEIGHTS_IN: dict[Purpose, str] = {"train": "weights_sha256", "evaluate": "evaluated_sha256"}
"""Which members of a round name its hospitals and its weights."""


def slots_of(content: Fields, hospital: str) -> list[Slot]:
    """The contributions of a hospital, in order: rounds, and in each the evaluation last."""
    return [
        (one["round"], purpose)
        for one in content["rounds"]
        for purpose in PURPOSES
        if hospital in one[NAMED_IN[purpose]]
    ]


def read(own: Fields, plan: Plan) -> list[ShareHeader]:
    """The statements of one hospital's entry; raise `InvalidMessage` if it did not sign one."""
    return [_verified(signed, own["name"], plan) for signed in own["statements"]]


def check(content: Fields, plan: Plan) -> list[str]:
    """Sentences that say what of the statements and of the chain of models does not hold."""
    found = [s for own in content["hospitals"] for s in _check_hospital(own, content, plan)]
    return [*found, *_check_chain(content, plan)]


def _check_hospital(own: Fields, content: Fields, plan: Plan) -> list[str]:
    name, slots = own["name"], slots_of(content, own["name"])
    if len(own["statements"]) != len(slots):
        return [
            f"{name}: each of its {len(slots)} contributions must have the statement that it "
            f"signed, and there are {len(own['statements'])}."
        ]
    problems, header = [], None
    for slot, signed in zip(slots, own["statements"], strict=True):
        try:
            header = _verified(signed, name, plan)
        except InvalidMessage:
            problems.append(
                f"{name}: its statement of {_words(slot)} must carry the signature of its key, and "
                "does not: it was changed, or another party signed it."
            )
            continue
        problems += _check_statement(header, slot, content, plan)
    if header is not None and not problems:
        problems += _check_last(own, header)
    return problems


def _check_statement(header: ShareHeader, slot: Slot, content: Fields, plan: Plan) -> Iterator[str]:
    number, purpose = slot
    what = f"{header.hospital}: its statement of {_words(slot)}"
    if header.plan_hash != plan.hash:
        yield f"{what} must be of this study, and was signed for another plan."
    elif (header.round, header.purpose) != slot:
        yield f"{what} is one of {_words((header.round, header.purpose))}."
    elif header.weights_sha256 != content["rounds"][number - 1][WEIGHTS_IN[purpose]]:
        yield f"{what} names other weights than this certificate: it worked on another model."


def _check_last(own: Fields, last: ShareHeader) -> Iterator[str]:
    """What the entry says of the whole study is what its last statement says."""
    members = ("epsilon_stated_by_ledger", "epsilon_alone_stated_by_ledger", "delta")
    if tuple(own[member] for member in members) != (last.epsilon, last.epsilon_alone, last.delta):
        yield (
            f"{own['name']}: the ledger states epsilon {last.epsilon:.4f}, and {last.epsilon_alone:.4f} "
            f"if all other hospitals collude, at delta {last.delta:g} by its own signature, and the "
            "certificate says something else."
        )
    if own["log_sha256"] != last.log_sha256:
        yield f"{own['name']}: the hash of its log must be the one that it signed, and is not."


def _check_chain(content: Fields, plan: Plan) -> Iterator[str]:
    """From the plan's start weights to the model, as far as hashes alone tell."""
    rounds, layout = content["rounds"], VectorLayout.of(plan)
    delivered = content["model"]["weights_sha256"]
    weights_alone = layout.broadcast_length("train") == layout.broadcast_length("evaluate")
    given = rounds and plan.start_sha256 and weights_alone
    if given and rounds[0]["weights_sha256"] != plan.start_sha256:
        yield "Round 1 must start from the weights that the plan names, and does not."
    goes_on = weights_alone and plan.averaging is None
    after = [one["weights_sha256"] if goes_on else None for one in rounds[1:]] + [delivered]
    for one, following in zip(rounds, after, strict=False):  # without a round, nothing follows
        evaluated = one["evaluated_sha256"]
        if evaluated and following and evaluated != following:
            yield (
                f"The model that was evaluated after round {one['round']} must be the one that "
                "follows it in this certificate, and is another."
            )


def _verified(signed: object, hospital: str, plan: Plan) -> ShareHeader:
    data = canonical.encode(signed)
    parsed: Signed = canonical.parse(Signed, data, what="hospital's statement")
    return messages.verify(ShareHeader, parsed, plan.hospital(hospital).verify_key)


def _words(slot: Slot) -> str:
    number, purpose = slot
    return f"round {number} ({purpose})"
