"""Sealed shares as an aggregator gets them: from a stranger, and from a hospital that cheats.

HPKE draws a key of its own each time, so that sealed bytes alone are not the same in each run.
"""

from dataclasses import replace
from random import Random

import numpy as np

from syft_code import canonical
from syft_code.errors import ConsiliumError
from syft_code.plans.messages import ShareHeader
from syft_code.secret_sharing import envelope, keystream
from syft_code.secret_sharing.envelope import MAGIC, SealedShare
from syft_code.secret_sharing.vector_layout import VectorLayout
from tests.fuzz.messages import PLAN, resigned
from tests.fuzz.mutation import changed_bytes, changed_json, some
from tests.fuzz.plans import KEYS
from tests.fuzz.runner import Parser

PARTY = 3
"""The one whose payload has a vector in it, not seeds alone."""


def _sealed() -> list[SealedShare]:
    pieces = envelope.scheme(PLAN).pieces
    return envelope.seal(
        PLAN,
        hospital="hospital-1",
        purpose="train",
        round_number=1,
        values=np.zeros(VectorLayout.of(PLAN).values_length("train")),
        hospital_key=KEYS.hospitals[0],
        statement=envelope.LONGEST_STATEMENT,
        seeds=[bytes([n]) * keystream.SEED_BYTES for n in range(pieces - 1)],
        content_keys=[bytes([n]) * envelope.KEY_BYTES for n in range(len(PLAN.aggregators))],
    )


def _whole(header: bytes, sealed: bytes) -> bytes:
    lengths = len(header).to_bytes(4, "little") + len(sealed).to_bytes(8, "little")
    return MAGIC + lengths + header + sealed


def _open(data: bytes) -> None:
    share = SealedShare.from_bytes(data)
    envelope.check_header(PLAN, PARTY, share.header)
    key = bytes(KEYS.seals[PARTY - 1])
    for _ in envelope.open_share(PLAN, PARTY, share.header, share.sealed, seal_key=key):
        pass


def parsers() -> list[Parser]:
    """One."""
    share = _sealed()[PARTY - 1]
    sealed, header = bytes(share.sealed), canonical.encode(share.header)
    said: ShareHeader = canonical.parse(ShareHeader, share.header.message.encode(), what="header")

    def cheating(random: Random) -> bytes:
        """Changed sealed bytes under a header that names them, signed."""
        other = changed_bytes(random, sealed)
        named = replace(said, sealed_sha256=canonical.sha256(other))
        return _whole(resigned(random, ShareHeader, named, KEYS.hospitals[0]), other)

    def make(random: Random) -> bytes:
        return some(
            random,
            cheating,
            lambda r: _whole(resigned(r, ShareHeader, said, KEYS.hospitals[0]), sealed),
            lambda r: _whole(changed_json(r, header), sealed),
            lambda r: changed_bytes(r, share.to_bytes()),
        )

    return [
        Parser(
            name="shares", good=share.to_bytes(), make=make, parse=_open, errors=(ConsiliumError,)
        )
    ]
