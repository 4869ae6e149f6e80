"""Parties for a plan that nobody will ever be asked about: names, and keys drawn from them."""

import hashlib
from collections.abc import Sequence

from nacl.public import PrivateKey

from federation.simulation.hospital_data import HospitalData
from syft_code.plans.plan_parts import Sharing
from syft_code.plans.roster import Aggregator, Hospital

LEAST_HOSPITALS = 3
AGGREGATORS = 3
_LEAST_BOUND = 4.0


def hospitals(people: HospitalData) -> tuple[Hospital, ...]:
    """The roster's entries, filled up with parties that never answer to the least that a plan takes."""
    declared = {name: people.declared(name) for name in people.names}
    for number in range(len(declared) + 1, LEAST_HOSPITALS + 1):
        declared[f"nobody-{number}"] = 1
    return tuple(
        Hospital(
            name=name,
            verify_key=_digest("hospital", name).hex(),
            asset="simulated",
            asset_version=1,
            patients=patients,
        )
        for name, patients in declared.items()
    )


def aggregators(count: int = AGGREGATORS) -> tuple[Aggregator, ...]:
    """The roster's aggregators."""
    return tuple(
        Aggregator(
            name=f"aggregator-{number}",
            address=f"127.0.0.1:{9000 + number}",
            verify_key=_digest("aggregator", number).hex(),
            seal_key=bytes(PrivateKey(_digest("seal", number)).public_key).hex(),
            certificate="-",
        )
        for number in range(1, count + 1)
    )


def fitting(sharing: Sharing, hospitals: int) -> Sharing:
    """The same ring with the largest bound that is no larger and that so many hospitals can't wrap.

    Under a bound of 4 the ring becomes one of 64 bits instead.

    >>> fitting(Sharing(), 4).bound, fitting(Sharing(), 1000).bound, fitting(Sharing(), 5000).ring_bits
    (64.0, 8.0, 64)
    """
    room = 2.0 ** (sharing.ring_bits - 1 - sharing.fraction_bits) / hospitals
    bound = sharing.bound
    while bound >= room:
        bound /= 2.0
    if bound >= min(_LEAST_BOUND, sharing.bound):
        return _with(sharing, sharing.ring_bits, bound)
    return _with(sharing, 64, sharing.bound)


def _with(sharing: Sharing, ring_bits: int, bound: float) -> Sharing:
    return Sharing(
        ring_bits=ring_bits,  # type: ignore[arg-type]  # one of the ring's own, or 64
        fraction_bits=sharing.fraction_bits,
        bound=bound,
        needed=sharing.needed,
    )


def _digest(*what: object) -> bytes:
    return hashlib.sha256(repr(("simulated", *what)).encode()).digest()


def names(count: int) -> Sequence[str]:
    """`hospital-1` and so on."""
    return tuple(f"hospital-{number}" for number in range(1, count + 1))
