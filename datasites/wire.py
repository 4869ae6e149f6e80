"""Typed, length-checked messages over a stream: how a hospital's processes talk.

One frame is a 4-byte header length, an 8-byte body length, a JSON header (a frozen
dataclass, named by its `kind`) and a body of raw bytes. Nothing is unpickled, and
nothing is read past the limits that the reader sets. Used on the vault's Unix socket
and on the pipes of its training process.
"""

import os
import socket
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Protocol

from pydantic import Field

from policies.rules import KnownParties
from policies.site_policy import Budget, SitePolicy
from syft_code import canonical, errors
from syft_code.errors import ConsiliumError, InvalidMessage, Unavailable
from syft_code.plans.messages import Signed, Ticket

MAX_HEADER_BYTES = 8 * 2**20
MAX_BODY_BYTES = 4 * 2**30
SOCKET_NAME = "vault.sock"
_LENGTHS = struct.Struct(">IQ")


@dataclass(frozen=True, slots=True, kw_only=True)
class AskHealth:
    """Front desk or owner: are you there?"""

    __pydantic_config__ = canonical.STRICT
    kind: Literal["ask_health"] = "ask_health"


@dataclass(frozen=True, slots=True, kw_only=True)
class StartRound:
    """Front desk: a researcher's signed round call; the body is the global weights."""

    __pydantic_config__ = canonical.STRICT
    call: Signed
    kind: Literal["start_round"] = "start_round"


@dataclass(frozen=True, slots=True, kw_only=True)
class AskTicket:
    """Front desk: how far is this ticket?"""

    __pydantic_config__ = canonical.STRICT
    ticket: str
    kind: Literal["ask_ticket"] = "ask_ticket"


@dataclass(frozen=True, slots=True, kw_only=True)
class FetchShare:
    """Front desk: the sealed share of a finished ticket for one aggregator (from 1)."""

    __pydantic_config__ = canonical.STRICT
    ticket: str
    party: int
    kind: Literal["fetch_share"] = "fetch_share"


@dataclass(frozen=True, slots=True, kw_only=True)
class OfferPlan:
    """Front desk: a plan (canonical JSON) that a standing approval may cover."""

    __pydantic_config__ = canonical.STRICT
    plan: str
    kind: Literal["offer_plan"] = "offer_plan"


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnerAct:
    """Owner or approver: a signed act of `datasites.acts`; the body is a publication's cohort.

    `name` is the act's class, `signer` the key (hex) of who signed it.
    """

    __pydantic_config__ = canonical.STRICT
    act: Signed
    name: str
    signer: str
    kind: Literal["owner_act"] = "owner_act"


Request = Annotated[
    AskHealth | StartRound | AskTicket | FetchShare | OfferPlan | OwnerAct,
    Field(discriminator="kind"),
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Healthy:
    """The vault is there; its public key."""

    __pydantic_config__ = canonical.STRICT
    verify_key: str
    kind: Literal["healthy"] = "healthy"


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """A sealed share is in the body."""

    __pydantic_config__ = canonical.STRICT
    kind: Literal["share"] = "share"


@dataclass(frozen=True, slots=True, kw_only=True)
class Accepted:
    """An act is recorded; `missing` people must still sign it before it takes force.

    `version` is that of a published asset, else 0.
    """

    __pydantic_config__ = canonical.STRICT
    version: int = 0
    missing: int = 0
    kind: Literal["accepted"] = "accepted"


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """What the ledger says of one asset, to the owner.

    `events` are all that count for its patients, those of `sharing` assets among them.
    """

    __pydantic_config__ = canonical.STRICT
    asset: str
    spent_epsilon: float
    budget: Budget
    events: tuple[str, ...]
    sharing: tuple[str, ...]
    in_force: tuple[str, ...]
    kind: Literal["account"] = "account"


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanState:
    """What the vault says of one plan, to the owner; `sentence` says the state in words.

    `verdict` and `weighed` are the policy's answer. Units: epsilons at the asset's delta, of
    the whole plan and of everything with it. `signers` are the names of those whose approval
    stands; `last_approved` is the newest other plan (canonical JSON) that was approved here,
    empty if there is none.
    """

    __pydantic_config__ = canonical.STRICT
    state: Literal["undecided", "waiting", "in force", "not in force", "denied", "revoked"]
    sentence: str
    verdict: Literal["approve", "deny", "ask owner"]
    weighed: str
    study_epsilon: float
    after_epsilon: float
    signers: tuple[str, ...] = ()
    signatures_needed: int = 1
    expires_unix_s: float = 0.0
    rounds_called: int = 0
    last_approved: str = ""
    kind: Literal["plan_state"] = "plan_state"


@dataclass(frozen=True, slots=True, kw_only=True)
class House:
    """The rules of one hospital as they are in force, to the owner.

    `approvers` are (key, name); `waiting` are (act, subject, signer's key) of what lacks a
    signature; `assets` are the names that were ever published, oldest first.
    """

    __pydantic_config__ = canonical.STRICT
    policy: SitePolicy | None
    approvers: tuple[tuple[str, str], ...]
    known: KnownParties
    waiting: tuple[tuple[str, str, str], ...]
    assets: tuple[str, ...] = ()
    kind: Literal["house"] = "house"


@dataclass(frozen=True, slots=True, kw_only=True)
class LogFile:
    """The audit log is in the body."""

    __pydantic_config__ = canonical.STRICT
    kind: Literal["log_file"] = "log_file"


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """The answer is no; `error` names a class of `syft_code.errors`."""

    __pydantic_config__ = canonical.STRICT
    error: str
    sentence: str
    kind: Literal["failure"] = "failure"


Reply = Annotated[
    Healthy | Ticket | Share | Accepted | Account | PlanState | House | LogFile | Failure,
    Field(discriminator="kind"),
]


class Readable(Protocol):
    """A buffered stream to read from: `read` returns fewer bytes at its end only."""

    def read(self, size: int, /) -> bytes:
        """Read exactly so many bytes, or all that are left."""


class Writable(Protocol):
    """A buffered stream to write to."""

    def write(self, data: bytes | memoryview, /) -> int:
        """Write all of the data."""

    def flush(self) -> None:
        """Let the other side see it."""


def send(stream: Writable, header: object, body: bytes | memoryview = b"") -> None:
    """Write one frame."""
    data = canonical.encode(header)
    stream.write(_LENGTHS.pack(len(data), len(body)))
    stream.write(data)
    stream.write(body)
    stream.flush()


def _any_body(header: object) -> int:
    return MAX_BODY_BYTES


def receive(
    stream: Readable, kinds: Any, *, max_body_bytes: Callable[[Any], int] = _any_body
) -> tuple[Any, bytes]:
    """Read one frame whose header is one of the given dataclasses.

    `max_body_bytes` says from the header how long a body may be, before any of it is read.

    Raises:
        EOFError: if the stream ends before a frame begins.
        InvalidMessage: if the frame is cut, too long or not of these kinds.
    """
    lengths = stream.read(_LENGTHS.size)
    if not lengths:
        raise EOFError
    header_bytes, body_bytes = _LENGTHS.unpack(_whole(lengths, _LENGTHS.size))
    errors.require(
        header_bytes <= MAX_HEADER_BYTES,
        f"A message may have {MAX_HEADER_BYTES} header bytes, this one announces {header_bytes}.",
        error=InvalidMessage,
    )
    data = _whole(stream.read(header_bytes), header_bytes)
    header = canonical.parse(kinds, data, what="message between the hospital's processes")
    most = max_body_bytes(header)
    errors.require(
        body_bytes <= most,
        f"This message may have {most} body bytes, it announces {body_bytes}.",
        error=InvalidMessage,
    )
    return header, _whole(stream.read(body_bytes), body_bytes)


def _whole(data: bytes, expected: int) -> bytes:
    if len(data) != expected:
        raise InvalidMessage(f"A message was cut after {len(data)} of {expected} bytes.")
    return data


def ask(vault_home: Path, request: object, body: bytes = b"") -> tuple[Any, bytes]:
    """Send one request to a vault's socket and wait for the answer.

    Raises:
        ConsiliumError: what the vault answered, as the class that it named.
        Unavailable: if nobody listens.
    """
    try:
        with _connected(vault_home) as stream:
            send(stream, request, body)
            reply, data = receive(stream, Reply)
    except (OSError, EOFError):
        raise Unavailable(
            "The hospital's vault does not answer: ask the data owner to see whether it runs."
        ) from None
    if isinstance(reply, Failure):
        raise as_error(reply)
    return reply, data


def as_error(failure: Failure) -> ConsiliumError:
    """A refusal as an error of the class that it names."""
    return (errors.named(failure.error) or ConsiliumError)(failure.sentence)


@contextmanager
def _connected(vault_home: Path) -> Iterator[Any]:
    """A connection by way of the folder's descriptor: socket paths are limited to 107 bytes."""
    folder = os.open(vault_home, os.O_RDONLY | os.O_DIRECTORY)
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
            client.connect(f"/proc/self/fd/{folder}/{SOCKET_NAME}")
            with client.makefile("rwb") as stream:
                yield stream
    finally:
        os.close(folder)
