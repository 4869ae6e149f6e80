"""Adding up: for each group of a round, the sum of each piece that an aggregator holds.

    payloads of a group ─ add_seeds, add_vector ─▶ one file and one signed SumHeader for each piece

Payloads and sums lie on disk and are worked through there: no vector has to fit into memory.
"""

import dataclasses
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from nacl.signing import SigningKey

from federation.aggregator.storage.upload_buffer import StudyRoom
from federation.aggregator.storage.vector_files import RoundKey, VectorFiles, sync, view
from syft_code.plans import messages
from syft_code.plans.messages import Purpose, Signed, SumHeader
from syft_code.plans.plan import Plan
from syft_code.secret_sharing import envelope, groups, keystream, sharing
from syft_code.secret_sharing.sharing import Scheme
from syft_code.secret_sharing.vector_layout import VectorLayout


@dataclass(frozen=True, slots=True, kw_only=True)
class Sum:
    """A sum that lies on disk: its header, plain and signed."""

    header: SumHeader
    signed: Signed


def sums_bytes(plan: Plan, purpose: Purpose, party: int) -> int:
    """What all sums of one round can take on an aggregator's disk."""
    count = plan.robust.groups if plan.robust and purpose == "train" else 1
    vector = VectorLayout.of(plan).vector_length(purpose) * plan.sharing_of(purpose).ring_bits // 8
    return count * len(envelope.scheme(plan).held_by(party)) * vector


def study_room(plan: Plan, party: int) -> StudyRoom:
    """What a study needs on an aggregator's disk, so that no share of it is refused for room."""
    purposes: tuple[Purpose, ...] = ("train", "evaluate")
    planned = [purpose for purpose in purposes if plan.rounds_of(purpose)]
    headers = [
        envelope.unsealed_header(plan, plan.hospitals[0].name, purpose, 1, party=party)
        for purpose in planned
    ]
    return StudyRoom(
        hospitals=len(plan.hospitals),
        sums_bytes=sum(len(plan.rounds_of(p)) * sums_bytes(plan, p, party) for p in planned),
        arriving_bytes=max(
            envelope.sealed_bytes(one) + envelope.payload_bytes(one) for one in headers
        ),
    )


def add_up(
    plan: Plan,
    round_key: RoundKey,
    hospitals: tuple[str, ...],
    *,
    party: int,
    files: VectorFiles,
    sign_key: SigningKey,
) -> list[Sum]:
    """Aggregator: put on disk all sums of a round key over the chosen set.

    What is done over again gives the same bytes.
    """
    files.require_room(sums_bytes(plan, round_key.purpose, party))
    found = []
    for header in _headers(plan, round_key, hospitals, party):
        payloads = [files.share(round_key, hospital) for hospital in header.hospitals]
        with files.zeros(header.length, header.ring_bits) as (passing, total):
            _add(envelope.scheme(plan), header, payloads, total)
            sync(passing)
            sha256 = hashlib.sha256(total.data).hexdigest()
            files.settle(passing, files.sum(round_key, header.group, header.piece))
        named = dataclasses.replace(header, sum_sha256=sha256)
        found.append(Sum(header=named, signed=messages.sign(named, sign_key)))
    return found


def _headers(
    plan: Plan, round_key: RoundKey, hospitals: tuple[str, ...], party: int
) -> Iterator[SumHeader]:
    """One header, still without its hash, for each sum that is to be worked out."""
    drawn = groups.groups(plan, round_key.purpose, round_key.round, hospitals)
    for group, members in enumerate(drawn, start=1):
        for piece in envelope.scheme(plan).held_by(party):
            yield SumHeader(
                plan_hash=round_key.plan_hash,
                purpose=round_key.purpose,
                round=round_key.round,
                party=party,
                piece=piece,
                group=group,
                hospitals=members,
                length=VectorLayout.of(plan).vector_length(round_key.purpose),
                ring_bits=plan.sharing_of(round_key.purpose).ring_bits,
                sum_sha256="",
            )


def _add(scheme: Scheme, header: SumHeader, payloads: list[Path], total: sharing.Ring) -> None:
    """Add each hospital's piece: a payload is the seeds that a party holds, then the vector."""
    seeds = scheme.seeds_of(header.party)
    if header.piece in seeds:
        start = seeds.index(header.piece) * keystream.SEED_BYTES
        end = start + keystream.SEED_BYTES
        sharing.add_seeds(total, [bytes(view(path)[start:end]) for path in payloads])
        return
    for path in payloads:
        sharing.add_vector(total, view(path)[len(seeds) * keystream.SEED_BYTES :])
