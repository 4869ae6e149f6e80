"""The roster of a plan: who takes part, with which keys."""

import re
from collections.abc import Sequence
from typing import Annotated

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from pydantic import Field

from syft_code import canonical
from syft_code.errors import require

NAME = re.compile(r"[a-z][a-z0-9_-]{0,39}")
HEX_KEY = re.compile(r"[0-9a-f]{64}")
MOST_AGGREGATORS, MOST_HOSPITALS = 5, 10_000
MAX_CERTIFICATE = 2**14
WEIGHT_BITS = 24
MOST_PATIENTS = 2**WEIGHT_BITS - 1


@canonical.message
class Hospital:
    """One hospital of the roster.

    `verify_key` is its Ed25519 key (hex); `patients` is the number of training patients
    that its owner declared at publication, which is also its weight in the average.
    """

    name: canonical.ShortText
    verify_key: canonical.ShortText
    asset: canonical.ShortText
    asset_version: int
    patients: int

    def __post_init__(self) -> None:
        canonical.require_types(self)
        check_name("hospital", self.name)
        check_name("asset", self.asset)
        check_key(f"hospital {self.name}", self.verify_key)
        require(
            1 <= self.patients <= MOST_PATIENTS,
            f"hospital {self.name} must declare from 1 to {MOST_PATIENTS} patients, got "
            f"{self.patients}.",
        )


@canonical.message
class Aggregator:
    """One aggregator of the roster.

    `verify_key` is Ed25519 and `seal_key` X25519 (hex, 32 bytes each); `certificate` is its
    TLS certificate (PEM); `address` is host:port.
    """

    name: canonical.ShortText
    address: canonical.ShortText
    verify_key: canonical.ShortText
    seal_key: canonical.ShortText
    certificate: Annotated[str, Field(max_length=MAX_CERTIFICATE)]

    def __post_init__(self) -> None:
        canonical.require_types(self)
        check_name("aggregator", self.name)
        check_key(f"aggregator {self.name}", self.verify_key)
        check_key(f"aggregator {self.name}", self.seal_key)
        require(
            _can_seal_to(self.seal_key),
            f"The seal key of aggregator {self.name} must be an X25519 key, and nothing can be sealed "
            "to this one: take it from the aggregator's public.json.",
        )


def check_name(what: str, name: str) -> None:
    """Raise `InvalidPlan` unless a party or a study is named so that every system can hold it."""
    require(
        NAME.fullmatch(name) is not None,
        f"A {what} name must be 1 to 40 lower-case letters, digits, '-' or '_', got {name[:60]!r}.",
    )


def _can_seal_to(seal_key: str) -> bool:
    """Whether a key exchange with it gives a secret: with a point of low order it does not."""
    ours = X25519PrivateKey.from_private_bytes(bytes(range(32)))
    try:
        ours.exchange(X25519PublicKey.from_public_bytes(bytes.fromhex(seal_key)))
    except ValueError:
        return False
    return True


def check_key(what: str, key: str) -> None:
    """Raise `InvalidPlan` unless a key is written as plans write them."""
    require(
        HEX_KEY.fullmatch(key) is not None,
        f"The key of {what} must be 64 lower-case hexadecimal digits.",
    )


def check(
    hospitals: Sequence[Hospital], aggregators: Sequence[Aggregator], min_hospitals: int
) -> None:
    """Every party once, with its own key, and enough hospitals for a sum to hide one."""
    groups: tuple[Sequence[Hospital | Aggregator], ...] = (hospitals, aggregators)
    for group in groups:
        names = [party.name for party in group]
        keys = [party.verify_key for party in group]
        require(
            len(set(names)) == len(names) and len(set(keys)) == len(keys),
            "Each hospital and each aggregator must stand in the roster once, with a key of its own.",
        )
    seals = {aggregator.seal_key for aggregator in aggregators}
    require(len(seals) == len(aggregators), "Each aggregator must have a seal key of its own.")
    require(
        len(aggregators) >= 2,
        f"A plan must name 2 to {MOST_AGGREGATORS} aggregators, got {len(aggregators)}.",
    )
    require(
        3 <= min_hospitals <= len(hospitals),
        f"min_hospitals must be at least 3 (with two, one hospital and the researcher could "
        f"subtract the other out) and at most the {len(hospitals)} hospitals of the roster, "
        f"got {min_hospitals}.",
    )
