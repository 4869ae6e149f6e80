"""Messages at sockets: the vault's requests and replies, an aggregator's calls, audit logs."""

import io
import json
import struct
from collections.abc import Callable
from random import Random

from nacl.signing import SigningKey

from datasites.protocol import framing, owner_actions, vault_api
from federation.aggregator import validation
from federation.aggregator.storage.vector_files import RoundKey
from federation.transport import aggregator_api
from syft_code import canonical
from syft_code.errors import ConsiliumError
from syft_code.evidence import audit_chain
from syft_code.plans import messages
from syft_code.plans.messages import OpenCall, ReleaseCall, RoundCall, SetChoice, Signed, Ticket
from syft_code.plans.plan import Plan
from syft_code.secret_sharing import envelope
from tests.fuzz.mutation import (
    Make,
    changed_bytes,
    changed_json,
    of_bytes,
    read_back,
    some,
    written,
)
from tests.fuzz.plans import KEYS
from tests.fuzz.runner import Parser
from tests.plans import plan, public

PLAN = plan(KEYS)
MOST_BODY = 2**16
_LENGTHS = struct.Struct(">IQ")


def frame(header: bytes, body: bytes = b"", *, announced: int | None = None) -> bytes:
    """A frame around any bytes; its body may be announced with another length."""
    size = len(body) if announced is None else announced
    return _LENGTHS.pack(len(header), size) + header + body


def resigned(random: Random, kind: type, message: object, key: SigningKey) -> bytes:
    """A signed message whose text was changed before it was signed, now and then after that."""
    text = changed_json(random, canonical.encode(message)) if random.random() < 0.8 else b"{}"
    return _signed(random, kind, text, key)


def _signed(random: Random, kind: type, text: bytes, key: SigningKey) -> bytes:
    tagged = f"consilium/{kind.__name__}/1\n".encode() + text
    table = {
        "message": text.decode("utf-8", "replace"),
        "signature": key.sign(tagged).signature.hex(),
    }
    data = json.dumps(table, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
    return changed_json(random, data) if random.random() < 0.2 else data


def _within(field: str, signed: Callable[[Random], bytes], around: object) -> Make:
    """A message with a field that is such a signed one."""

    def make(random: Random) -> bytes:
        table = json.loads(canonical.encode(around))
        table[field] = read_back(signed(random))
        data = written(table)
        return changed_json(random, data) if random.random() < 0.3 else data

    return make


CALL = RoundCall(
    plan_hash=PLAN.hash, hospital="hospital-1", purpose="train", round=1, weights_sha256="0" * 64
)
DENIAL = owner_actions.DenyPlan(
    plan_hash=PLAN.hash, reason="No.", tell_researcher=False, action_id="0" * 32, at_unix_s=1.0
)


def _requests() -> Make:
    signed = messages.sign(CALL, KEYS.researcher)
    action = messages.sign(DENIAL, KEYS.researcher)
    asked = [
        vault_api.GetHealth(),
        vault_api.StartRound(call=signed),
        vault_api.GetTicket(ticket="0" * 32),
        vault_api.GetShare(ticket="0" * 32, party=1),
        vault_api.OfferPlan(plan=PLAN.encode().decode()),
        vault_api.GetPlanInForce(plan_hash=PLAN.hash),
        vault_api.OwnerActionRequest(
            action=action, name="DenyPlan", signer=public(KEYS.researcher)
        ),
    ]
    return _frames([canonical.encode(one) for one in asked], (
        _within("call", lambda r: resigned(r, RoundCall, CALL, KEYS.researcher), asked[1]),
        _within(
            "action", lambda r: resigned(r, owner_actions.DenyPlan, DENIAL, KEYS.researcher), asked[6]
        ),
    ))  # fmt: skip


def _frames(headers: list[bytes], deeper: tuple[Make, ...] = ()) -> Make:
    def whole(random: Random) -> bytes:
        return frame(changed_json(random, random.choice(headers)), b"0" * random.choice((0, 0, 9)))

    def torn(random: Random) -> bytes:
        announced = random.choice((0, 1, 2**20, 2**32, 2**63))
        return frame(random.choice(headers), b"0" * 9, announced=announced)

    ways = [whole, torn, of_bytes([frame(header, b"12345678") for header in headers])]
    return lambda random: some(
        random, *ways, *(lambda r, make=make: frame(make(r)) for make in deeper)
    )


def _vault(data: bytes) -> None:
    """As far as a request gets before a database is asked."""
    request, _ = framing.receive(
        io.BytesIO(data),
        vault_api.Request,
        max_header_bytes=vault_api.MAX_REQUEST_BYTES,
        max_body_bytes=lambda _: MOST_BODY,
    )
    match request:
        case vault_api.StartRound():
            messages.claimed(RoundCall, request.call)
            messages.verify(RoundCall, request.call, PLAN.researcher_key)
        case vault_api.OfferPlan():
            Plan.decode(request.plan.encode("utf-8", "replace"))
        case vault_api.OwnerActionRequest():
            kind = owner_actions.ACTIONS.get(request.name, owner_actions.DenyPlan)
            messages.verify(kind, request.action, request.signer)


def _replies() -> Make:
    said = [
        vault_api.Healthy(verify_key="0" * 64),
        vault_api.Share(),
        vault_api.Accepted(),
        vault_api.PlanInForce(in_force=True),
        vault_api.Failure(error="Refused", sentence="No."),
        Ticket(
            ticket="0" * 32, purpose="train", round=1, state="done", step=3, steps=3, epsilon=1.0,
            epsilon_alone=1.0, delta=1e-5, shares=("0" * 64,) * 3,
        ),
    ]  # fmt: skip
    return _frames([canonical.encode(one) for one in said])


def _reply(data: bytes) -> None:
    reply, _ = framing.receive(
        io.BytesIO(data), vault_api.Reply, max_body_bytes=lambda _: MOST_BODY
    )
    if isinstance(reply, vault_api.Failure):
        raise vault_api.as_error(reply)


RELEASE = ReleaseCall(
    plan_hash=PLAN.hash, purpose="train", round=1, hospitals=tuple(h.name for h in PLAN.hospitals)
)


def _choice(party: int) -> SetChoice:
    return SetChoice(
        plan_hash=PLAN.hash, purpose="train", round=1, party=party, hospitals=RELEASE.hospitals
    )


def _calls() -> Make:
    """One byte for the method, then its request."""
    opening = aggregator_api.OpenStudy(
        call=messages.sign(OpenCall(plan_hash=PLAN.hash), KEYS.researcher),
        plan=PLAN.encode().decode(),
    )
    choices = tuple(
        messages.sign(_choice(n), key) for n, key in enumerate(KEYS.aggregators, start=1)
    )
    release = aggregator_api.ReleaseSum(
        call=messages.sign(RELEASE, KEYS.researcher), choices=choices, piece=1, group=1, offset=0
    )

    def one_choice(random: Random) -> bytes:
        table = json.loads(canonical.encode(release))
        place = random.randrange(3)
        changed = resigned(random, SetChoice, _choice(place + 1), KEYS.aggregators[place])
        table["choices"][place] = read_back(changed)
        return written(table)

    def as_release(random: Random) -> bytes:
        return some(
            random,
            lambda r: changed_json(r, canonical.encode(release)),
            lambda r: resigned(r, ReleaseCall, RELEASE, KEYS.researcher),
            _within("call", lambda r: resigned(r, ReleaseCall, RELEASE, KEYS.researcher), release),
            one_choice,
        )

    def as_opening(random: Random) -> bytes:
        return changed_json(random, canonical.encode(opening))

    return lambda random: some(
        random, lambda r: b"o" + as_opening(r), lambda r: b"r" + as_release(r),
        lambda r: b"c" + resigned(r, ReleaseCall, RELEASE, KEYS.researcher),
        of_bytes([b"o" + canonical.encode(opening), b"r" + canonical.encode(release)]),
    )  # fmt: skip


def _aggregator(data: bytes) -> None:
    """As far as a call gets before anything is stored."""
    method, request = data[:1], data[1:]
    if method == b"o":
        asked = canonical.parse(aggregator_api.OpenStudy, request, what="OpenStudy")
        agreed = Plan.decode(asked.plan.encode("utf-8", "replace"))
        messages.verify(OpenCall, asked.call, agreed.researcher_key)
        return
    if method == b"c":
        _allowed(envelope.read_signed(request, what="release call"))
        return
    released = canonical.parse(aggregator_api.ReleaseSum, request, what="Release")
    call, hospitals = _allowed(released.call)
    validation.check_choices(PLAN, RoundKey.of(call), hospitals, released.choices)


def _allowed(signed: Signed) -> tuple[ReleaseCall, tuple[str, ...]]:
    validation.named_plan(ReleaseCall, signed)
    call = validation.signed_call(PLAN, signed)
    return call, validation.allowed_set(PLAN, call)


def _log() -> list[bytes]:
    key, last, entries = KEYS.hospitals[0], None, []
    for number in range(5):
        signed, last = audit_chain.entry_after(
            last, kind="round", facts={"n": str(number)}, at_unix_s=number, salt="0" * 32, key=key
        )
        entries.append(signed)
    return audit_chain.export("north", key, entries).splitlines(keepends=True)


def _logs() -> Make:
    key, lines = KEYS.hospitals[0], _log()

    def by_line(random: Random) -> bytes:
        changed = list(lines)
        place = random.randrange(len(changed))
        changed[place] = some(
            random,
            lambda r: changed_json(r, lines[place]) + b"\n",
            lambda r: random.choice(lines) * random.choice((0, 2, 40)),
            lambda r: resigned(r, audit_chain.Entry, json.loads(json.loads(lines[2])["message"]), key) + b"\n",
        )  # fmt: skip
        return b"".join(changed)

    return lambda random: some(random, by_line, lambda r: changed_bytes(r, b"".join(lines)))


def parsers() -> list[Parser]:
    """Four of them; an audit log is judged, whatever it is, and never raises."""
    call = canonical.encode(messages.sign(RELEASE, KEYS.researcher))
    started = vault_api.StartRound(call=messages.sign(CALL, KEYS.researcher))
    return [
        Parser(
            name="vault-requests", good=frame(canonical.encode(started)), make=_requests(),
            parse=_vault, errors=(ConsiliumError, EOFError),
        ),
        Parser(
            name="vault-replies", good=frame(canonical.encode(vault_api.Share())), make=_replies(),
            parse=_reply, errors=(ConsiliumError, EOFError),
        ),
        Parser(name="aggregator-calls", good=b"c" + call, make=_calls(), parse=_aggregator),
        Parser(
            name="audit-logs", good=b"".join(_log()), make=_logs(), parse=audit_chain.verify, errors=(),
        ),
    ]  # fmt: skip
