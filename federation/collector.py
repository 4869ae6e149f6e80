"""The researcher's side of the wire: carries shares to the aggregators and adds up their sums.

    clients = [AggregatorClient(a) for a in plan.aggregators]
    for client in clients: client.open_study(plan)
    for share, client in zip(shares, clients): client.submit(share)
    vector, raw = collect(plan, clients, purpose="train", round_number=1, ...)

Every call may be repeated: an aggregator answers the same way again.
"""

import math
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import grpc
import numpy as np
from nacl.signing import SigningKey
from numpy.typing import NDArray

from federation import wire
from syft_code import canonical, envelope, messages, sharing
from syft_code.envelope import SealedShare
from syft_code.errors import InvalidMessage, SharingError, require
from syft_code.messages import Purpose, ReleaseCall, ShareHeader, Signed, SumHeader
from syft_code.plan import Aggregator, Plan
from syft_code.recipes import MAX_PARAMETERS

T = TypeVar("T")
CONNECT_S = 5.0
LARGEST_SUM_BYTES = (MAX_PARAMETERS + 1) * 8
RETRY_S = 0.1
_RECONNECT = (
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 5000),  # how long one attempt to connect may take
    ("grpc.max_reconnect_backoff_ms", 1000),
)


class AggregatorClient:
    """One aggregator of a plan's roster, spoken to over TLS with the certificate named there.

    Raises (every method):
        Refused, InvalidMessage: as the aggregator says.
        Unavailable: if it can't be reached, or has another certificate.
    """

    def __init__(self, aggregator: Aggregator, *, connect_timeout_s: float = CONNECT_S) -> None:
        self.aggregator = aggregator
        self._connect_timeout_s = connect_timeout_s
        self._channel = grpc.secure_channel(
            aggregator.address,
            grpc.ssl_channel_credentials(aggregator.certificate.encode("ascii")),
            options=[*wire.LIMITS, *_RECONNECT],
        )

    def health(self) -> Aggregator:
        """Ask whether it serves; returns the entry that it gives of itself."""
        answer = self._call(lambda: self._unary("Health", b""))
        entry: Aggregator = canonical.parse(Aggregator, answer, what="aggregator's entry")
        return entry

    def open_study(self, plan: Plan) -> None:
        """Tell it about a plan; once more does nothing."""
        self._call(lambda: self._unary("OpenStudy", plan.encode()))

    def submit(self, share: SealedShare) -> None:
        """Hand it a share; the same share again is accepted and changes nothing."""

        def stream() -> Iterator[bytes]:
            yield canonical.encode(share.header)
            yield from wire.chunks(share.sealed)

        submit = self._channel.stream_unary(wire.method("SubmitShare"))
        timeout_s = wire.deadline_s(len(share.sealed))
        self._call(lambda: submit(stream(), timeout=timeout_s))

    def release(
        self, call: Signed, *, limit_bytes: int = LARGEST_SUM_BYTES
    ) -> tuple[SumHeader, bytes]:
        """Ask for a partial sum; checks the aggregator's signature, the length and the hash."""
        answer = self._call(lambda: self._stream("Release", canonical.encode(call), limit_bytes))
        signed = envelope.read_signed(answer[0] if answer else b"", what="sum header")
        header = messages.verify(SumHeader, signed, self.aggregator.verify_key)
        data = b"".join(answer[1:])
        require(
            len(data) == header.length * header.ring_bits // 8
            and canonical.sha256(data) == header.sum_sha256,
            f"The sum of aggregator {self.aggregator.name} must arrive whole and unchanged, and "
            "it did not: ask again.",
            error=InvalidMessage,
        )
        return header, data

    def anchors(self, verify_key: str) -> list[str]:
        """The hashes that it holds of the audit log of the hospital with this key.

        They are in the order in which their shares arrived.

        Guarantee: the hospital signed each of them. Does not protect: against an aggregator that
        keeps some to itself; ask several.

        Raises:
            InvalidMessage: if one is not the hospital's word, or there are too many.
        """
        limit_bytes = wire.MAX_ANCHORS * envelope.MAX_HEADER_BYTES
        answer = self._call(
            lambda: self._stream("Anchors", verify_key.encode("ascii", "replace"), limit_bytes)
        )
        require(
            len(answer) <= wire.MAX_ANCHORS,
            f"Aggregator {self.aggregator.name} must give at most {wire.MAX_ANCHORS} anchors and "
            f"gave {len(answer)}: don't use them.",
            error=InvalidMessage,
        )
        return [self._anchor(data, verify_key) for data in answer]

    def close(self) -> None:
        """Let go of the connection."""
        self._channel.close()

    def _anchor(self, data: bytes, verify_key: str) -> str:
        try:
            signed = envelope.read_signed(data, what="share header")
            return messages.verify(ShareHeader, signed, verify_key).log_sha256
        except InvalidMessage:
            raise InvalidMessage(
                f"Aggregator {self.aggregator.name} must give share headers that the hospital "
                "signed, and one is not: don't use its anchors."
            ) from None

    def _unary(self, name: str, request: bytes) -> bytes:
        call = self._channel.unary_unary(wire.method(name))
        answer: bytes = call(request, timeout=wire.deadline_s(len(request)))
        return answer

    def _stream(self, name: str, request: bytes, limit_bytes: int) -> list[bytes]:
        call = self._channel.unary_stream(wire.method(name))
        answer: list[bytes] = []
        size_bytes = 0
        stream = call(request, timeout=wire.deadline_s(limit_bytes))
        for chunk in stream:
            size_bytes += len(chunk)
            if size_bytes > limit_bytes + envelope.MAX_HEADER_BYTES:
                stream.cancel()
                raise InvalidMessage(
                    f"The answer of aggregator {self.aggregator.name} must have the length that "
                    "was asked for; it is longer."
                )
            answer.append(chunk)
        return answer

    def _call(self, call: Callable[[], T]) -> T:
        """Call, and for a while again if the connection is lost: every call may be repeated."""
        give_up_s = math.inf
        while True:
            try:
                return call()
            except grpc.RpcError as problem:
                give_up_s = min(give_up_s, time.monotonic() + self._connect_timeout_s)
                lost = problem.code() is grpc.StatusCode.UNAVAILABLE
                if not lost or time.monotonic() >= give_up_s:
                    raise wire.error_of(self.aggregator.name, problem) from None
            time.sleep(RETRY_S)


def collect(
    plan: Plan,
    clients: Sequence[AggregatorClient],
    *,
    purpose: Purpose,
    round_number: int,
    hospitals: Sequence[str],
    researcher_key: SigningKey,
) -> tuple[NDArray[np.float64], sharing.Ring]:
    """Researcher: get all k partial sums, in parallel, and put them together.

    Returns the decoded sum (float64 `[n]`) and the raw ring sum. The set of hospitals is
    final with the first aggregator that releases: if one of them fails, ask again for the
    same set, after sending the shares that it misses.

    Raises:
        Refused, Unavailable: as the first aggregator that failed says.
        InvalidMessage, SharingError: if a sum is forged, or the sums don't belong together.
    """
    call = ReleaseCall(
        plan_hash=plan.hash,
        purpose=purpose,
        round=round_number,
        hospitals=tuple(sorted(hospitals)),
    )
    signed = messages.sign(call, researcher_key)
    ordered = _in_roster_order(plan, clients)
    limit_bytes = envelope.vector_length(plan, purpose) * plan.sharing.ring_bits // 8
    with ThreadPoolExecutor(len(ordered)) as pool:
        answers = list(pool.map(lambda c: c.release(signed, limit_bytes=limit_bytes), ordered))
    headers = [header for header, _ in answers]
    for party, header in enumerate(headers, start=1):
        _check_sum(plan, header, call=call, party=party)
    dtype = sharing.ring_dtype(plan.sharing.ring_bits)
    total = sharing.unshard([np.frombuffer(data, dtype) for _, data in answers])
    return sharing.decode(total, plan.sharing), total


def _in_roster_order(plan: Plan, clients: Sequence[AggregatorClient]) -> list[AggregatorClient]:
    by_key = {client.aggregator.verify_key: client for client in clients}
    keys = [aggregator.verify_key for aggregator in plan.aggregators]
    require(
        len(clients) == len(keys) and set(by_key) == set(keys),
        f"There must be one client for each of the plan's {len(keys)} aggregators.",
        error=SharingError,
    )
    return [by_key[key] for key in keys]


def _check_sum(plan: Plan, header: SumHeader, *, call: ReleaseCall, party: int) -> None:
    """A partial sum must be what was asked for, and one that the others can be added to."""
    fits = (
        (header.plan_hash, call.plan_hash),
        (header.purpose, call.purpose),
        (header.round, call.round),
        (header.hospitals, call.hospitals),
        (header.party, party),
        (header.length, envelope.vector_length(plan, call.purpose)),
        (header.ring_bits, plan.sharing.ring_bits),
    )
    require(
        all(got == wanted for got, wanted in fits),
        f"The sum of aggregator {plan.aggregators[party - 1].name} must be for the round, the "
        "set and the length that were asked for; it is not, and can't be used.",
        error=SharingError,
    )
