"""What one hospital of a plan sends and gets, in bytes, worked out without sending anything."""

from syft_code.plans.plan import Plan
from syft_code.secret_sharing import envelope
from syft_code.secret_sharing.vector_layout import VectorLayout


def up_bytes(plan: Plan, hospital: str) -> int:
    """The sealed shares of one training round, to all aggregators, headers and seals included."""
    return sum(
        envelope.most_share_bytes(plan, hospital, "train", plan.rounds, party=party)
        for party in range(1, len(plan.aggregators) + 1)
    )


def down_bytes(plan: Plan) -> int:
    """What a hospital gets for one training round: the weights and what the algorithm adds."""
    return 4 * VectorLayout.of(plan).broadcast_length("train")


def of_study(plan: Plan, *, federated: bool) -> dict[str, int]:
    """All rounds of the first hospital; nothing if nothing travels."""
    up = up_bytes(plan, plan.hospitals[0].name) * plan.rounds if federated else 0
    return {"bytes_up": up, "bytes_down": down_bytes(plan) * plan.rounds if federated else 0}
