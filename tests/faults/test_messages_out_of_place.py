"""Messages that are truncated, replayed, reordered, misdirected, forged or have a flipped bit.

Behind TLS, as only somebody with a connection of their own can send them: the methods of the wire
are called with bytes that no client of ours would send.
"""

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import grpc
import pytest
from nacl.signing import SigningKey

from federation.transport import aggregator_api
from syft_code import canonical
from syft_code.errors import ConsiliumError, InvalidMessage, Refused
from syft_code.plans import messages
from syft_code.plans.messages import SetChoice, ShareHeader, Signed
from syft_code.plans.plan import Plan
from syft_code.secret_sharing.envelope import SealedShare
from tests.faults.parties import (
    FOUR,
    HOSPITALS,
    LONG,
    THREE,
    Carrier,
    Party,
    call_for,
    make_plan,
    sealed,
)

Carry = Callable[..., Carrier]
STRANGER = SigningKey.generate()


class Wire:
    """The methods of one aggregator's wire, by name, for any bytes."""

    def __init__(self, party: Party) -> None:
        self._name = party.name
        credentials = grpc.ssl_channel_credentials(party.entry.certificate.encode())
        self._channel = grpc.secure_channel(party.line.address, credentials)

    def ask(self, method: str, request: bytes) -> bytes:
        """A method with one request and one answer."""
        call = self._channel.unary_unary(aggregator_api.method(method))
        return self._told(lambda: call(request, timeout=30))

    def submit(self, parts: Sequence[bytes]) -> aggregator_api.ReceivedBytes:
        """SubmitShare, with these messages in this order."""
        call = self._channel.stream_unary(aggregator_api.method("SubmitShare"))
        answer = self._told(lambda: call(iter(parts), timeout=30))
        received: aggregator_api.ReceivedBytes = canonical.parse(
            aggregator_api.ReceivedBytes, answer, what="answer"
        )
        return received

    def release(self, demand: aggregator_api.ReleaseSum) -> bytes:
        """Release: the sum's bytes, without their header."""
        call = self._channel.unary_stream(aggregator_api.method("Release"))
        stream = self._told(lambda: list(call(canonical.encode(demand), timeout=30)))
        return b"".join(stream[1:])

    def close(self) -> None:
        self._channel.close()

    def _told(self, ask: Callable[[], Any]) -> Any:
        try:
            return ask()
        except grpc.RpcError as problem:
            raise aggregator_api.error_of(self._name, problem) from None


@pytest.fixture
def raw(parties: list[Party]) -> Iterator[Wire]:
    """The wire of the third aggregator."""
    opened = Wire(parties[2])
    yield opened
    opened.close()


def upload(share: SealedShare, *, header: Signed | None = None, offset: int = 0) -> list[bytes]:
    first = canonical.encode(
        aggregator_api.UploadShare(header=header or share.header, offset=offset)
    )
    return [first, *aggregator_api.chunks(memoryview(share.sealed)[offset:])]


def flipped(data: bytes, place: int) -> bytes:
    changed = bytearray(data)
    changed[place] ^= 1
    return bytes(changed)


def resigned(share: SealedShare, *, by: SigningKey, **changes: object) -> Signed:
    """A share's header with other words, signed again: what somebody with a key can do."""
    told = canonical.parse(ShareHeader, share.header.message.encode(), what="header")
    return messages.sign(dataclasses.replace(told, **changes), by)  # type: ignore[arg-type]


# --- shares ---


def test_a_share_that_is_truncated_waits_for_its_rest(
    parties: list[Party], carrier: Carry, raw: Wire
) -> None:
    carried = carrier(make_plan(parties))
    carried.send(THREE)
    share = carried.share("vienna", 3)
    first, body = upload(share)
    half = len(body) // 2
    assert raw.submit([first, body[:half]]) == aggregator_api.ReceivedBytes(
        size_bytes=half, whole=False
    )
    with pytest.raises(Refused, match="All shares of the set must be here whole, and 3 of 4 are"):
        carried.clients[2].choose(call_for(carried.plan, FOUR))
    with pytest.raises(ConsiliumError, match=f"go on where it stopped: {half} bytes"):
        raw.submit([first, body])
    with pytest.raises(ConsiliumError, match="well formed"):
        raw.submit([first[:-1], body])
    with pytest.raises(ConsiliumError, match="well formed"):
        raw.submit([])
    carried.send(["vienna"])
    assert carried.gets_the_plain_sum(FOUR)


def test_a_share_with_a_flipped_bit_is_refused_and_the_right_one_taken(
    parties: list[Party], carrier: Carry, raw: Wire
) -> None:
    carried = carrier(make_plan(parties, **LONG))
    carried.send(THREE[1:])
    share = carried.share("berlin", 3)
    header, whole = share.header, bytes(share.sealed)
    words, mark = header.message.encode(), bytes.fromhex(header.signature)
    for place in (words.index(b"berlin"), words.index(b'"round":1') + 8, len(words) - 10):
        other = dataclasses.replace(header, message=flipped(words, place).decode())
        with pytest.raises(InvalidMessage):
            raw.submit(upload(share, header=other))
    for place in (0, 40, 63):
        other = dataclasses.replace(header, signature=flipped(mark, place).hex())
        with pytest.raises(InvalidMessage, match="must carry the signature"):
            raw.submit(upload(share, header=other))
    for place in (0, 40, 79, 80, len(whole) // 2, len(whole) - 1):
        changed = dataclasses.replace(share, sealed=flipped(whole, place))
        with pytest.raises(InvalidMessage, match="must arrive whole and unchanged"):
            raw.submit(upload(changed))
        assert carried.clients[2].received(header) == aggregator_api.ReceivedBytes(
            size_bytes=0, whole=False
        )
    with pytest.raises(InvalidMessage, match="must end where its header says"):
        raw.submit([*upload(share), b"\0"])
    carried.send(THREE[:1])
    assert carried.gets_the_plain_sum(THREE)


def test_a_bit_that_flips_on_the_line_costs_a_connection_and_no_more(
    parties: list[Party], carrier: Carry
) -> None:
    carried = carrier(make_plan(parties, **LONG))
    carried.send(THREE[1:])
    line = parties[2].line
    line.forget()
    for _ in range(3):
        line.after(4_000_000, "up", "flip")
    carried.send(THREE[:1])
    assert line.happened == ["flip"] * 3
    line.after(4_000_000, "down", "flip")
    assert carried.gets_the_plain_sum(THREE)
    assert line.happened == ["flip"] * 4


def test_a_share_for_another_place_is_refused(
    parties: list[Party], carrier: Carry, raw: Wire
) -> None:
    plan, other = make_plan(parties), make_plan(parties)
    carried = carrier(plan)
    carrier(other)
    share, north = carried.share("berlin", 3), HOSPITALS["berlin"]
    wrong = {
        "opened here first": upload(sealed(make_plan(parties), "berlin")[2]),
        "from a hospital of the plan's roster": upload(
            share, header=resigned(share, by=STRANGER, hospital="stranger")
        ),
        "must carry the signature": upload(share, header=resigned(share, by=STRANGER)),
        "be meant for this aggregator": upload(carried.share("berlin", 2)),
        "be for a round that the plan names": upload(
            share, header=resigned(share, by=north, round=4)
        ),
        "have as many elements as the plan asks": upload(
            share, header=resigned(share, by=north, length=7)
        ),
        "be made for as many aggregators": upload(
            share, header=resigned(share, by=north, needed=2)
        ),
    }
    for sentence, parts in wrong.items():
        with pytest.raises(ConsiliumError, match=sentence):
            raw.submit(parts)
    bound = {
        "another round": resigned(share, by=north, round=2),
        "another study": resigned(share, by=north, plan_hash=other.hash),
        "another hospital": resigned(share, by=HOSPITALS["oslo"], hospital="oslo"),
    }
    for header in bound.values():  # each of them is signed by whose it says it is
        with pytest.raises(InvalidMessage, match="sealed to this aggregator's key, under the"):
            raw.submit(upload(share, header=header))
    carried.send(THREE)
    assert carried.gets_the_plain_sum(THREE)


def test_a_share_that_is_replayed_changes_nothing(
    parties: list[Party], carrier: Carry, raw: Wire
) -> None:
    carried = carrier(make_plan(parties))
    carried.send(FOUR)
    share = carried.share("berlin", 3)
    for _ in range(3):
        assert raw.submit(upload(share)).whole
    fresh = sealed(carried.plan, "berlin")[2]
    with pytest.raises(Refused, match="a different one is here already"):
        raw.submit(upload(fresh))
    assert carried.gets_the_plain_sum(THREE)
    assert raw.submit(upload(share)).whole, "also after its round is over"
    with pytest.raises(Refused, match="a different one is here already"):
        raw.submit(upload(fresh))
    assert carried.gets_the_plain_sum(THREE)


def test_rounds_in_any_order_give_each_its_own_sum(parties: list[Party], carrier: Carry) -> None:
    carried = carrier(make_plan(parties))
    carried.send(THREE, round_number=3)
    carried.send(FOUR, purpose="evaluate", round_number=2)
    carried.send(FOUR, round_number=1)
    assert carried.gets_the_plain_sum(FOUR, purpose="evaluate", round_number=2)
    assert carried.gets_the_plain_sum(THREE, round_number=3)
    carried.send(FOUR[1:], round_number=2)
    assert carried.gets_the_plain_sum(FOUR[1:], round_number=2)
    assert carried.gets_the_plain_sum(FOUR, round_number=1)


def test_a_share_after_its_round_was_promised_is_too_late(
    parties: list[Party], carrier: Carry
) -> None:
    carried = carrier(make_plan(parties))
    carried.send(THREE)
    with pytest.raises(Refused, match="All shares of the set must be here whole, and 3 of 4 are"):
        carried.clients[0].choose(call_for(carried.plan, FOUR))
    for client in carried.clients:
        client.choose(call_for(carried.plan, THREE))
    with pytest.raises(Refused, match="must arrive before its round's set is chosen"):
        carried.send(["vienna"])
    assert carried.gets_the_plain_sum(THREE)
    with pytest.raises(Refused, match="must arrive before its round's set is chosen"):
        carried.send(["vienna"])


# --- choices and releases ---


def test_a_set_is_chosen_at_the_researchers_word_only(
    parties: list[Party], carrier: Carry, raw: Wire
) -> None:
    carried = carrier(make_plan(parties))
    plan = carried.plan
    carried.send(FOUR)
    right = call_for(plan, THREE)
    wrong = {
        "must carry the signature": call_for(plan, THREE, key=STRANGER),
        "at least 3 hospitals": call_for(plan, THREE[:2]),
        "of the plan's roster, each once": call_for(plan, ("berlin", "lisbon", "stranger")),
        "each once": call_for(plan, ("berlin", "berlin", "lisbon")),
        "for a round that the plan names": call_for(plan, THREE, round_number=9),
        "for a round that the plan": call_for(plan, THREE, purpose="evaluate", round_number=1),
        "in canonical form": dataclasses.replace(right, message=right.message + " "),
        "carry the signature of": dataclasses.replace(right, signature="00" * 64),
        "opened here first": call_for(make_plan(parties), THREE),
    }
    for sentence, call in wrong.items():
        with pytest.raises(ConsiliumError, match=sentence):
            raw.ask("Choose", canonical.encode(call))
    with pytest.raises(InvalidMessage, match="well formed"):
        raw.ask("Choose", canonical.encode(right)[:-1])
    assert carried.gets_the_plain_sum(FOUR), "none of them chose a set"


def test_a_sum_leaves_only_with_the_promises_of_enough_aggregators(
    parties: list[Party], carrier: Carry, raw: Wire
) -> None:
    carried = carrier(make_plan(parties))
    plan = carried.plan
    carried.send(FOUR)
    carried.send(FOUR, round_number=2)
    with pytest.raises(Refused, match="the one set that was chosen here"):
        raw.release(_demand(call_for(plan, THREE), ()))
    call, later = call_for(plan, THREE), call_for(plan, THREE, round_number=2)
    promises = tuple(client.choose(call)[1] for client in carried.clients)
    next_round = tuple(client.choose(later)[1] for client in carried.clients)
    forged = _promise(plan, party=1, by=STRANGER)
    wrong = {
        "agreed to by 3 aggregators, and this call brings the choices of 2": promises[1:],
        "brings the choices of 1:": (promises[2],) * 3,
        "brings the choices of 0:": (),
        "must carry the signature": (forged, *promises[1:]),
        "by an aggregator of the plan's roster": (
            _promise(plan, party=4, by=STRANGER),
            *promises[1:],
        ),
        "of the round and the set that are asked for": (next_round[0], *promises[1:]),
    }
    for sentence, choices in wrong.items():
        with pytest.raises(ConsiliumError, match=sentence):
            raw.release(_demand(call, choices))
    for bad, sentence in (
        ({"piece": 1}, "of a piece that this aggregator holds"),
        ({"group": 2}, "must be of a group of this round"),
        ({"offset": 10**9}, "from a byte on that it has"),
        ({"call": call_for(plan, FOUR)}, "the one set that was chosen here"),
        ({"call": call_for(plan, THREE, key=STRANGER)}, "must carry the signature"),
    ):
        with pytest.raises(ConsiliumError, match=sentence):
            raw.release(dataclasses.replace(_demand(call, promises), **bad))
    assert carried.gets_the_plain_sum(THREE)


def _demand(call: Signed, choices: tuple[Signed, ...]) -> aggregator_api.ReleaseSum:
    return aggregator_api.ReleaseSum(call=call, choices=choices, piece=3, group=1, offset=0)


def _promise(plan: Plan, *, party: int, by: SigningKey) -> Signed:
    choice = SetChoice(
        plan_hash=plan.hash, purpose="train", round=1, party=party, hospitals=tuple(sorted(THREE))
    )
    return messages.sign(choice, by)
