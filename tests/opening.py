"""What only somebody with every aggregator's key can do: open a hospital's shares again."""

from collections.abc import Iterable, Sequence

import numpy as np

from syft_code import canonical
from syft_code.errors import InvalidMessage
from syft_code.plans.messages import Purpose, ShareHeader
from syft_code.plans.plan import Plan
from syft_code.secret_sharing import envelope, keystream, sharing
from syft_code.secret_sharing.envelope import SealedShare
from syft_code.secret_sharing.vector_layout import VectorLayout


def encoded(
    plan: Plan, purpose: Purpose, shares: Iterable[SealedShare], seal_keys: Sequence[bytes]
) -> sharing.Ring:
    """One hospital's encoded vector, from its shares to all aggregators, in any order.

    Pieces that several aggregators hold must be the same bytes for all of them.
    """
    scheme = envelope.scheme(plan)
    pieces: dict[int, bytes] = {}
    for share in shares:
        claimed: ShareHeader = canonical.parse(
            ShareHeader, share.header.message.encode("ascii"), what="share header"
        )
        key = seal_keys[claimed.party - 1]
        opened = envelope.open_share(plan, claimed.party, share.header, share.sealed, seal_key=key)
        payload = b"".join(opened)
        for piece in scheme.held_by(claimed.party):
            size = keystream.SEED_BYTES if piece < scheme.pieces else len(payload)
            part, payload = payload[:size], payload[size:]
            assert pieces.setdefault(piece, part) == part
    assert len(pieces) == scheme.pieces
    ring_bits = plan.sharing_of(purpose).ring_bits
    total = np.zeros(VectorLayout.of(plan).vector_length(purpose), sharing.ring_dtype(ring_bits))
    sharing.add_vector(total, pieces.pop(scheme.pieces))
    sharing.add_seeds(total, list(pieces.values()))
    return total


def is_of(plan: Plan, purpose: Purpose, round_number: int, share: SealedShare) -> bool:
    """Whether a share belongs to this round of this plan."""
    try:
        claimed: ShareHeader = canonical.parse(
            ShareHeader, share.header.message.encode("ascii"), what="share header"
        )
    except InvalidMessage:
        return False
    wanted = (plan.hash, purpose, round_number)
    return (claimed.plan_hash, claimed.purpose, claimed.round) == wanted
