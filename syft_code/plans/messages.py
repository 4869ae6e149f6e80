"""The signed messages between the parties, and how they are signed and checked.

A message is a frozen dataclass; what is signed is a domain tag and the message's
canonical JSON, with Ed25519. The tag keeps a signature over one kind of message from
passing as a signature over another.

| message      | who signs  | who checks                  |
|--------------|------------|-----------------------------|
| RoundCall    | researcher | vault                       |
| ShareHeader  | hospital   | aggregator                  |
| OpenCall     | researcher | aggregator                  |
| ReleaseCall  | researcher | aggregator                  |
| SetChoice    | aggregator | researcher, aggregators     |
| SumHeader    | aggregator | researcher                  |
"""

import re
from typing import Annotated, Literal, TypeVar, get_args

from nacl.exceptions import BadSignatureError
from nacl.signing import SigningKey, VerifyKey
from pydantic import Field

from syft_code import canonical
from syft_code.errors import InvalidMessage
from syft_code.plans.roster import MOST_AGGREGATORS, MOST_HOSPITALS

T = TypeVar("T")
Purpose = Literal["train", "evaluate"]
PURPOSES: tuple[Purpose, ...] = get_args(Purpose)
LAST_NUMBER = 2**53 - 1
"""No log has more entries: every reader of JSON and every database holds such a number."""
State = Literal["queued", "running", "done", "failed"]
NO_PART = "This hospital takes no part in this round."
"""All that a hospital says to a round it refuses, unless its owner lets researchers read why."""
HospitalNames = Annotated[tuple[str, ...], canonical.at_most(MOST_HOSPITALS)]
_SIGNATURE = re.compile("[0-9a-f]{128}")


@canonical.message
class RoundCall:
    """One round that a researcher asks one hospital for, with the weights named by hash."""

    plan_hash: str
    hospital: str
    purpose: Purpose
    round: int
    weights_sha256: str


@canonical.message
class Ticket:
    """Where a round stands at one hospital: steps and epsilon, never a loss or a metric.

    `epsilon` is what this study has spent here, this round included, at the asset's `delta`, as sums
    show it, and `epsilon_alone` the same by the hospital's own noise alone;
    `shares` are the SHA-256 of the sealed shares, in the aggregators' order, once done;
    `sentence` says why a round failed, in words that are fit for a researcher.
    """

    ticket: str
    purpose: Purpose
    round: int
    state: State
    step: int
    steps: int
    epsilon: float
    epsilon_alone: float
    delta: float
    shares: Annotated[tuple[str, ...], canonical.at_most(MOST_AGGREGATORS)] = ()
    sentence: str = ""
    kind: Literal["ticket"] = "ticket"


@canonical.message
class LogHead:
    """How many entries a hospital's audit log has, and the SHA-256 of the last one.

    It ends an export. It goes into no share: the number tells how busy a hospital was.
    """

    number: Annotated[int, Field(ge=1, le=LAST_NUMBER)]
    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


@canonical.message
class RoundStatement:
    """What a hospital states of a round in the header of each of its shares.

    `weights_sha256` names the broadcast that it worked on; `epsilon` is what the study has spent
    there at `delta` by its ledger, this round included, as a sum shows it, and `epsilon_alone` the
    same by the hospital's own noise alone; `log_sha256` is the hash of the last entry of its audit
    log when it sealed: an anchor.
    """

    weights_sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
    epsilon: Annotated[float, Field(ge=0)]
    epsilon_alone: Annotated[float, Field(ge=0)]
    delta: Annotated[float, Field(gt=0, lt=1)]
    log_sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


@canonical.message
class ShareHeader(RoundStatement):
    """What one sealed share is: the hospital's word to one aggregator, and in a certificate.

    `party` counts from 1 to `parties`, and any `needed` of them open a sum; `length` is the number
    of ring elements of the shared vector.

    Guarantee: nobody can tell from it how many entries the log has, or what stands in them: each
    entry holds a random salt.
    """

    plan_hash: str
    hospital: str
    purpose: Purpose
    round: int
    party: int
    parties: int
    needed: int
    length: int
    ring_bits: int
    sealed_sha256: str


@canonical.message
class OpenCall:
    """The researcher's wish that an aggregator takes part in a study."""

    plan_hash: str


@canonical.message
class ReleaseCall:
    """The researcher's demand for a round's sum, over these hospitals and no others."""

    plan_hash: str
    purpose: Purpose
    round: int
    hospitals: HospitalNames


@canonical.message
class SetChoice:
    """An aggregator's promise: for this round it will never sum another set than this one."""

    plan_hash: str
    purpose: Purpose
    round: int
    party: int
    hospitals: HospitalNames


@canonical.message
class SumHeader:
    """What the sum of one piece is: the aggregator's word to the researcher.

    `hospitals` are those of the group with this number, all of the chosen set if there is one group.
    """

    plan_hash: str
    purpose: Purpose
    round: int
    party: int
    piece: int
    group: int
    hospitals: HospitalNames
    length: int
    ring_bits: int
    sum_sha256: str


@canonical.message
class Signed:
    """A message's canonical JSON (text) with its signature (hex)."""

    message: str
    signature: str


def sign(message: object, key: SigningKey) -> Signed:
    """Sign a message with the key of the party that sends it."""
    data = canonical.encode(message)
    signature = key.sign(_tagged(type(message), data)).signature
    return Signed(message=data.decode(), signature=signature.hex())


def verify(kind: type[T], signed: Signed, verify_key: str) -> T:
    """Check a signature and read the message; `verify_key` is 64 hexadecimal digits.

    Raises:
        InvalidMessage: if the signature is not by that key over exactly such a message.
    """
    try:
        data = signed.message.encode()
        if not _SIGNATURE.fullmatch(signed.signature):  # one text for one signature
            raise ValueError
        VerifyKey(bytes.fromhex(verify_key)).verify(
            _tagged(kind, data), bytes.fromhex(signed.signature)
        )
    except (BadSignatureError, ValueError, TypeError):
        raise InvalidMessage(
            f"A {kind.__name__} must carry the signature of the key that the plan names; "
            "this one does not. Send it again from the party that holds the key."
        ) from None
    message: T = canonical.parse(kind, data, what=kind.__name__)
    return message


def claimed(kind: type[T], signed: Signed) -> T:
    """What a signed message says, to find out whose signature it must have.

    Guarantee: none; `verify` is what tells who said it.

    Raises:
        InvalidMessage: if it is no such message.
    """
    data = signed.message.encode("utf-8", "replace")
    message: T = canonical.parse(kind, data, what=kind.__name__)
    return message


def _tagged(kind: type, data: bytes) -> bytes:
    return f"consilium/{kind.__name__}/1\n".encode("ascii") + data
