"""What one hospital of a plan sends and gets, in bytes, worked out without sending anything."""

from syft_code import canonical
from syft_code.plans.messages import ShareHeader, Signed
from syft_code.plans.plan import Plan
from syft_code.secret_sharing import envelope
from syft_code.secret_sharing.vector_layout import VectorLayout

_HASH = "0" * 64


def up_bytes(plan: Plan, hospital: str) -> int:
    """The sealed shares of one training round, to all aggregators, headers and seals included."""
    return sum(_share_bytes(plan, hospital, n) for n in range(1, len(plan.aggregators) + 1))


def down_bytes(plan: Plan) -> int:
    """What a hospital gets for one training round: the weights and what the algorithm adds."""
    return 4 * VectorLayout.of(plan).broadcast_length("train")


def of_study(plan: Plan, *, federated: bool) -> dict[str, int]:
    """All rounds of the first hospital; nothing if nothing travels."""
    up = up_bytes(plan, plan.hospitals[0].name) * plan.rounds if federated else 0
    return {"bytes_up": up, "bytes_down": down_bytes(plan) * plan.rounds if federated else 0}


def _share_bytes(plan: Plan, hospital: str, party: int) -> int:
    header = ShareHeader(
        plan_hash=plan.hash,
        hospital=hospital,
        purpose="train",
        round=plan.rounds,
        party=party,
        parties=len(plan.aggregators),
        needed=plan.needed,
        length=VectorLayout.of(plan).vector_length("train"),
        ring_bits=plan.sharing.ring_bits,
        log_sha256=_HASH,
        sealed_sha256=_HASH,
    )
    signed = Signed(message=canonical.text(header), signature=_HASH * 2)
    outside = len(envelope.SealedShare(header=signed, sealed=b"").to_bytes())
    return outside + envelope.sealed_bytes(header)
