"""Three real aggregator processes: which shares, choices and calls they take, and what they give."""

import contextlib
import dataclasses
import itertools
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import grpc
import numpy as np
import pytest
from nacl.signing import SigningKey

from federation.aggregator.grpc_server import CARRIERS
from federation.transport import aggregator_api
from syft_code import canonical
from syft_code.errors import ConsiliumError, InvalidMessage, Refused
from syft_code.evidence import audit_chain
from syft_code.plans import messages
from syft_code.plans.messages import OpenCall, SetChoice, Signed
from syft_code.plans.plan import MAX_PLAN_BYTES
from syft_code.plans.plan_parts import Robust, Sharing
from syft_code.plans.shared_noise import SharedNoise
from syft_code.secret_sharing import envelope, groups, sharing
from tests.federation.live_aggregators import (
    HOSPITALS,
    LOG_SHA256,
    PATIENTS,
    RESEARCHER,
    THREE,
    TWO_OF_THREE,
    WIDE,
    Line,
    Party,
    aggregators,
    call_for,
    encoded_of,
    lines_to,
    make_plan,
    make_shares,
    open_and_submit,
    resign,
    total_of,
    unsharded,
    update_of,
)

FOUR = tuple(sorted(HOSPITALS))
OTHER_THREE = ("north", "south", "west")


@pytest.fixture(scope="module")
def parties(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Party]]:
    with aggregators(tmp_path_factory.mktemp("aggregators")) as started:
        yield started


@pytest.fixture(scope="module")
def lines(parties: list[Party]) -> Iterator[list[Line]]:
    with lines_to(parties) as opened:
        yield opened


def plain_sum(plan: object, hospitals: Sequence[str], purpose: str = "train") -> sharing.Ring:
    return sum(encoded_of(plan, name, purpose) for name in hospitals)  # type: ignore[arg-type, return-value]


# --- a whole round ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "rules",
    [
        WIDE,
        TWO_OF_THREE,
        Sharing(ring_bits=8, fraction_bits=2, bound=7.5),
        Sharing(ring_bits=16, fraction_bits=8, bound=16.0, needed=2),
        Sharing(),
    ],
    ids=["64", "64-two-of-three", "8", "16-two-of-three", "32"],
)
def test_four_hospitals_of_which_one_drops_out_give_the_exact_sum(
    parties: list[Party], lines: list[Line], rules: Sharing
) -> None:
    plan = make_plan(parties, f"whole-{rules.ring_bits}-{rules.needed or 3}", sharing=rules)
    open_and_submit(plan, lines, THREE)
    lines[0].submit(make_shares(plan, "west")[0])  # and then west is gone
    raw = total_of(plan, lines)
    assert np.array_equal(raw, plain_sum(plan, THREE))
    values, weight = envelope.read_sum(plan, "train", raw)
    assert weight == sum(PATIENTS[name] for name in THREE)
    exact = sum(update_of(plan, name) * PATIENTS[name] / 100 for name in THREE)
    assert np.abs(values - exact).max() <= 3 * 2.0 ** -(rules.fraction_bits + 1) + 1e-12


def test_an_evaluation_is_summed_in_its_own_ring_at_the_length_that_follows_from_the_plan(
    parties: list[Party], lines: list[Line]
) -> None:
    plan = make_plan(parties, "evaluation", sharing=Sharing())
    about = {"purpose": "evaluate", "round_number": 2}
    open_and_submit(plan, lines, THREE, **about)
    longer = resign(make_shares(plan, "west", **about)[0], by="west", length=1000)  # type: ignore[arg-type]
    with pytest.raises(InvalidMessage, match="as many elements"):
        lines[0].upload(longer)
    raw = total_of(plan, lines, purpose="evaluate", round=2)
    assert np.array_equal(raw, plain_sum(plan, THREE, "evaluate"))
    with pytest.raises(InvalidMessage, match="round that the plan names"):
        lines[0].upload(make_shares(plan, "west", purpose="evaluate")[0])


@pytest.mark.parametrize("needed", [2, 3])
def test_each_group_is_summed_alone_and_no_other_sum_is_given(
    parties: list[Party], lines: list[Line], needed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    for n in range(5):
        monkeypatch.setitem(HOSPITALS, f"more-{n}", SigningKey.generate())
        monkeypatch.setitem(PATIENTS, f"more-{n}", 50 + n)
    names = tuple(sorted(HOSPITALS))
    plan = make_plan(
        parties,
        f"groups-{needed}",
        robust=Robust(rule="median", groups=3),
        sharing=dataclasses.replace(WIDE, needed=needed),
    )
    open_and_submit(plan, lines, names)
    call = call_for(plan, names)
    choices = [line.choose(call) for line in lines]
    drawn = groups.groups(plan, "train", 1, names)
    assert [len(group) for group in drawn] == [3, 3, 3]
    for number, members in enumerate(drawn, start=1):
        raw = unsharded(plan, lines[3 - needed :], call, choices, group=number)
        assert np.array_equal(raw, plain_sum(plan, members))
    header, _ = lines[0].release(call, choices, piece=1, group=2)
    assert (header.group, header.hospitals) == (2, drawn[1])
    for piece, group in ((1, 0), (1, 4), (0, 1), (3, 1) if needed == 2 else (2, 1), (9, 1)):
        with pytest.raises(InvalidMessage, match="a group of this round and of a piece"):
            lines[0].release(call, choices, piece=piece, group=group)


def test_any_two_of_three_aggregators_open_the_sum_and_one_does_not(
    parties: list[Party], lines: list[Line]
) -> None:
    plan = make_plan(parties, "two-of-three", sharing=TWO_OF_THREE)
    open_and_submit(plan, lines, THREE)
    call = call_for(plan)
    for pair in itertools.combinations(lines, 2):
        choices = [line.choose(call) for line in pair]
        assert np.array_equal(unsharded(plan, pair, call, choices), plain_sum(plan, THREE))
    for line in lines:
        with pytest.raises(Refused, match=r"agreed to by 2 aggregators.*the choices of 1"):
            line.release(call, [line.choose(call)] * 2, piece=3 if line is lines[2] else 1)


def test_health_tells_the_entry_of_the_roster(parties: list[Party], lines: list[Line]) -> None:
    expected = [canonical.encode(party.entry) for party in parties]
    assert [line.unary("Health", b"") for line in lines] == expected


# --- studies ---------------------------------------------------------------------------------


def test_a_study_is_opened_by_its_own_researchers_call(
    parties: list[Party], lines: list[Line]
) -> None:
    plan, other = make_plan(parties, "mine"), make_plan(parties, "other-plan")
    with pytest.raises(InvalidMessage, match="signature of the key"):
        lines[0].open_study(plan, key=HOSPITALS["north"])
    call = messages.sign(OpenCall(plan_hash=other.hash), RESEARCHER)
    asked = aggregator_api.OpenStudy(call=call, plan=plan.encode().decode())
    with pytest.raises(InvalidMessage, match="for the plan that comes with it"):
        lines[0].unary("OpenStudy", canonical.encode(asked))
    with pytest.raises(Refused, match="opened here first"):
        lines[0].received(make_shares(plan, "north")[0])


def test_a_plan_that_does_not_name_this_aggregator_is_refused(
    parties: list[Party], lines: list[Line]
) -> None:
    plan = make_plan(parties[1:], "without-the-first")
    with pytest.raises(Refused, match="with its own keys"):
        lines[0].open_study(plan)
    stolen = dataclasses.replace(parties[0].entry, seal_key="0f" * 32)
    roster = (stolen, *make_plan(parties, "stolen").aggregators[1:])
    with pytest.raises(Refused, match="with its own keys"):
        lines[0].open_study(dataclasses.replace(plan, aggregators=roster))


# --- shares that must not be taken -----------------------------------------------------------


def test_shares_that_are_forged_or_out_of_place_are_refused(
    parties: list[Party], lines: list[Line]
) -> None:
    plan = make_plan(parties, "hostile")
    lines[0].open_study(plan)
    share, second, _ = make_shares(plan, "north")
    sealed = bytes(share.sealed)
    flipped = bytes([sealed[0] ^ 1]) + sealed[1:]
    wrong = {
        "signature of the key": resign(share, by="south"),
        "roster": resign(share, hospital="stranger"),
        "round that the plan names": resign(share, round=3),
        "meant for this aggregator": second,
        "as many aggregators": resign(share, needed=2),
        "whole and unchanged": dataclasses.replace(share, sealed=flipped),
        "end where its header says": dataclasses.replace(share, sealed=sealed + b"\0"),
        "under the header that it carries": resign(share, round=2),
        "well formed": dataclasses.replace(share, header=Signed(message="{}", signature="00")),
    }
    for sentence, bad in wrong.items():
        with pytest.raises(InvalidMessage, match=sentence):
            lines[0].upload(bad)
        assert parties[0].files("incoming") == []
    assert lines[0].upload(share).whole, "none of them took its place"


def test_a_captured_share_is_not_opened_for_a_study_made_up_around_it(
    parties: list[Party], lines: list[Line]
) -> None:
    """Without the digest inside the seal, this would give the researcher one hospital's update."""
    plan, trap = make_plan(parties, "honest"), make_plan(parties, "trap")
    captured = make_shares(plan, "north")
    for line, share in zip(lines, captured, strict=True):
        line.open_study(trap)
        with pytest.raises(InvalidMessage, match="under the header that it carries"):
            line.upload(resign(share, by="east", hospital="east", plan_hash=trap.hash))


def test_a_share_for_another_study_is_refused(parties: list[Party], lines: list[Line]) -> None:
    unopened, other = make_plan(parties, "unopened"), make_plan(parties, "other")
    lines[0].open_study(other)
    with pytest.raises(Refused, match="opened here first"):
        lines[0].upload(make_shares(unopened, "north")[0])
    with pytest.raises(InvalidMessage, match="under the header that it carries"):
        lines[0].upload(resign(make_shares(unopened, "north")[0], plan_hash=other.hash))


def test_the_same_share_again_is_accepted_and_a_different_one_refused(
    parties: list[Party], lines: list[Line]
) -> None:
    plan = make_plan(parties, "duplicates")
    shares = open_and_submit(plan, lines, THREE)
    for line, share in zip(lines, shares["north"], strict=True):
        assert line.upload(share).whole
        with ThreadPoolExecutor(4) as pool:
            assert all(received.whole for received in pool.map(line.upload, [share] * 4))
    different = make_shares(plan, "north")[0]
    for ask in (lines[0].upload, lines[0].received):
        with pytest.raises(Refused, match="different one is here already"):
            ask(different)
    assert np.array_equal(total_of(plan, lines), plain_sum(plan, THREE))
    assert lines[0].upload(shares["north"][0]).whole, "still true after the release"


def test_of_different_shares_at_once_one_is_taken(parties: list[Party], lines: list[Line]) -> None:
    plan = make_plan(parties, "race-of-shares")
    lines[0].open_study(plan)
    rivals = [make_shares(plan, "north")[0] for _ in range(6)]

    def taken(share: envelope.SealedShare) -> bool:
        try:
            return lines[0].upload(share).whole
        except Refused:
            return False

    with ThreadPoolExecutor(6) as pool:
        assert sum(pool.map(taken, rivals)) == 1
    assert parties[0].files("incoming") == []


def test_a_share_after_the_choice_is_too_late(parties: list[Party], lines: list[Line]) -> None:
    plan = make_plan(parties, "late")
    open_and_submit(plan, lines, THREE)
    late = make_shares(plan, "west")[0]
    lines[0].upload(late, 0, 50)
    assert len(parties[0].files("incoming")) == 1
    before = lines[0].choose(call_for(plan))
    assert parties[0].files("incoming") == [], "what is too late is not kept"
    for ask in (lines[0].upload, lines[0].received):
        with pytest.raises(Refused, match="too late"):
            ask(late)
    assert lines[0].choose(call_for(plan)) == before


# --- one set for a round ---------------------------------------------------------------------


def test_a_set_is_chosen_once_and_for_ever(parties: list[Party], lines: list[Line]) -> None:
    plan = make_plan(parties, "one-choice")
    open_and_submit(plan, lines, FOUR)
    before = [line.choose(call_for(plan)) for line in lines]
    for party in parties:
        party.restart()
    for other in (THREE, FOUR, OTHER_THREE, ("south", "north", "east")):
        assert [line.choose(call_for(plan, other)) for line in lines] == before
    assert lines[0].chosen(call_for(plan, FOUR)) == THREE


def test_the_sum_comes_with_the_same_bytes_again_and_from_any_byte_on(
    parties: list[Party], lines: list[Line]
) -> None:
    plan = make_plan(parties, "same-bytes", features=900)
    open_and_submit(plan, lines, THREE)
    call = call_for(plan)
    choices = [line.choose(call) for line in lines]
    header, data = lines[2].release(call, choices, piece=3)
    assert len(data) > aggregator_api.CHUNK_BYTES
    parties[2].restart()
    assert lines[2].release(call, choices, piece=3) == (header, data)
    for offset in (1, aggregator_api.CHUNK_BYTES, len(data) - 1, len(data)):
        assert lines[2].release(call, choices, piece=3, offset=offset) == (header, data[offset:])
    with pytest.raises(InvalidMessage, match=f"it has {len(data)}"):
        lines[2].release(call, choices, piece=3, offset=len(data) + 1)


def test_of_two_sets_at_once_one_is_chosen(parties: list[Party], lines: list[Line]) -> None:
    plan = make_plan(parties, "race-of-sets")
    open_and_submit(plan, lines[:1], FOUR)
    sets = [THREE, OTHER_THREE, FOUR, ("east", "south", "west")]
    with ThreadPoolExecutor(8) as pool:
        chosen = set(pool.map(lambda one: lines[0].chosen(call_for(plan, one)), sets * 4))
    assert len(chosen) == 1


@pytest.mark.parametrize("needed", [2, pytest.param(3, marks=pytest.mark.slow)])
def test_sums_of_two_overlapping_sets_are_never_both_released(
    parties: list[Party], lines: list[Line], needed: int
) -> None:
    """Every way of asking three aggregators for two sets first, and every set of choices."""
    rules = dataclasses.replace(WIDE, needed=needed)
    for number, firsts in enumerate(itertools.product((THREE, OTHER_THREE), repeat=3)):
        plan = make_plan(parties, f"overlap-{needed}-{number}", sharing=rules)
        open_and_submit(plan, lines, FOUR)
        for line, first in zip(lines, firsts, strict=True):
            assert line.chosen(call_for(plan, first)) == first
        opened = set()
        for wanted in (THREE, OTHER_THREE):
            call = call_for(plan, wanted)
            choices = [line.choose(call) for line in lines]
            for size, line, piece in itertools.product((1, 2, 3), lines, (1, 2, 3)):
                for some in itertools.combinations(choices, size):
                    with contextlib.suppress(ConsiliumError):
                        header, _ = line.release(call, some, piece=piece)
                        opened.add(header.hospitals)
        agreeing = max(firsts.count(one) for one in firsts)
        assert len(opened) == (1 if agreeing >= needed else 0)


def test_choices_that_do_not_agree_or_are_forged_open_nothing(
    parties: list[Party], lines: list[Line]
) -> None:
    plan = make_plan(parties, "quorum")
    open_and_submit(plan, lines, FOUR)
    open_and_submit(plan, lines, FOUR, round_number=2)
    call = call_for(plan)
    ours = [line.choose(call) for line in lines[:2]]
    other = lines[2].choose(call_for(plan, OTHER_THREE))
    promise = SetChoice(plan_hash=plan.hash, purpose="train", round=1, party=3, hospitals=THREE)
    forged = messages.sign(promise, RESEARCHER)
    stranger = messages.sign(dataclasses.replace(promise, party=4), RESEARCHER)
    next_round = lines[2].choose(call_for(plan, round=2))
    wrong: list[tuple[list[Signed], type[ConsiliumError], str]] = [
        ([], Refused, "the choices of 0"),
        (ours, Refused, "agreed to by 3 aggregators.*the choices of 2"),
        ([*ours, ours[0]], Refused, "the choices of 2"),
        ([*ours, other], Refused, "two sets can't both be summed"),
        ([*ours, next_round], Refused, "the round and the set"),
        ([*ours, forged], InvalidMessage, "signature of the key"),
        ([*ours, stranger], InvalidMessage, "of the plan's roster"),
        ([*ours, call], InvalidMessage, "well formed"),
        ([ours[0]] * 6, InvalidMessage, "at most 5"),
    ]
    for choices, error, sentence in wrong:
        with pytest.raises(error, match=sentence):
            lines[0].release(call, choices, piece=1)
    with pytest.raises(Refused, match="asks for another"):
        lines[2].release(call, [*ours, other], piece=3)
    for party in parties:
        assert not any("quorum" in path.name for path in party.files("sums"))
        assert not any(plan.hash in str(path) for path in party.files("sums"))


def test_sets_that_no_plan_allows_are_not_chosen(parties: list[Party], lines: list[Line]) -> None:
    plan = make_plan(parties, "refusals")
    open_and_submit(plan, lines, THREE)
    choose = lines[0].choose
    with pytest.raises(Refused, match="at least 3 hospitals"):
        choose(call_for(plan, ("north", "south")))
    with pytest.raises(InvalidMessage, match="each once"):
        choose(call_for(plan, ("north", "south", "south")))
    with pytest.raises(InvalidMessage, match="each once"):
        choose(call_for(plan, ("north", "south", "stranger")))
    with pytest.raises(Refused, match="3 of 4 are"):
        choose(call_for(plan, FOUR))
    with pytest.raises(Refused, match="0 of 3 are"):
        choose(call_for(plan, round=2))
    with pytest.raises(InvalidMessage, match="round that the plan names"):
        choose(call_for(plan, round=3))
    with pytest.raises(Refused, match="opened here first"):
        choose(call_for(make_plan(parties, "never-opened")))
    with pytest.raises(InvalidMessage, match="signature of the key"):
        choose(call_for(plan, key=HOSPITALS["north"]))
    with pytest.raises(Refused, match="asks for another"):
        lines[0].release(call_for(plan), [], piece=1)
    assert lines[0].chosen(call_for(plan)) == THREE, "no refusal chose a set"


def test_a_sum_of_too_few_parts_of_a_shared_noise_is_never_opened(
    parties: list[Party], lines: list[Line]
) -> None:
    """Two of four are left, and each has a part of the noise that three need: nobody sees a sum."""
    plan = make_plan(
        parties,
        "shared-noise",
        sharing=Sharing(ring_bits=64, fraction_bits=36),
        shared_noise=SharedNoise(colluding=1),
    )
    open_and_submit(plan, lines, ("north", "south"))
    lines[0].submit(make_shares(plan, "east")[0])  # and then east is gone
    for line in lines:
        for names in (("north", "south"), ("north",)):
            with pytest.raises(Refused, match="at least 3 hospitals"):
                line.choose(call_for(plan, names))
        for piece in (1, 2, 3):
            with pytest.raises(Refused):
                line.release(call_for(plan, ("north", "south")), [], piece=piece)
    assert lines[0].chosen(call_for(plan, ("east", "north", "south"))), "here the three are"
    for line in lines[1:]:
        with pytest.raises(Refused, match="2 of 3 are"):
            line.choose(call_for(plan, ("east", "north", "south")))
    for party in parties:
        assert not any(plan.hash in str(path) for path in party.files("sums"))


def test_a_share_that_is_not_whole_is_in_no_set(parties: list[Party], lines: list[Line]) -> None:
    plan = make_plan(parties, "not-whole")
    open_and_submit(plan, lines[:1], THREE)
    share = make_shares(plan, "west")[0]
    assert not lines[0].upload(share, 0, len(share.sealed) - 1).whole
    with pytest.raises(Refused, match="3 of 4 are"):
        lines[0].choose(call_for(plan, FOUR))
    assert lines[0].upload(share, len(share.sealed) - 1).whole
    assert lines[0].chosen(call_for(plan, FOUR)) == FOUR


# --- anchors of the hospitals' audit logs ----------------------------------------------------


@pytest.fixture
def north(monkeypatch: pytest.MonkeyPatch) -> SigningKey:
    """A hospital that no aggregator has met."""
    key = SigningKey.generate()
    monkeypatch.setitem(HOSPITALS, "north", key)
    return key


def hex_of(key: SigningKey) -> str:
    return bytes(key.verify_key).hex()


def make_log(count: int, key: SigningKey) -> list[Signed]:
    log: list[Signed] = []
    for number in range(1, count + 1):
        before = audit_chain.entry_sha256(log[-1]) if log else audit_chain.START
        entry = audit_chain.Entry(
            number=number, at_unix_s=0, kind="round", salt="5a" * 16, previous_sha256=before
        )
        log.append(messages.sign(entry, key))
    return log


def test_an_aggregator_holds_the_anchors_of_a_hospital_over_all_studies(
    parties: list[Party], lines: list[Line], north: SigningKey
) -> None:
    plans = [make_plan(parties, f"anchors-{n}") for n in (1, 2)]
    for plan in plans:
        lines[0].open_study(plan)
    assert lines[0].anchors(hex_of(north)) == []
    hashes = [f"{n:064x}" for n in (7, 3, 2**40)]  # in the order in which they arrive
    lines[0].submit(make_shares(plans[1], "north", log_sha256=hashes[0], round_number=2)[0])
    lines[0].submit(make_shares(plans[1], "north", log_sha256=hashes[1])[0])
    lines[0].submit(make_shares(plans[0], "north", log_sha256=hashes[2])[0])
    lines[0].submit(make_shares(plans[0], "south")[0])  # another hospital's
    lines[0].upload(make_shares(plans[0], "north", round_number=2)[0], 0, 50)  # not taken yet
    assert lines[0].anchors(hex_of(north)) == hashes
    parties[0].restart()
    assert lines[0].anchors(hex_of(north)) == hashes
    assert lines[1].anchors(hex_of(north)) == [], "of what it holds itself"


def test_anchors_stay_after_the_release_and_find_a_log_that_was_cut(
    parties: list[Party], lines: list[Line], north: SigningKey
) -> None:
    plan = make_plan(parties, "anchors-of-a-cut-log")
    log = make_log(9, north)
    open_and_submit(plan, lines, THREE, log_sha256=audit_chain.entry_sha256(log[-1]))
    total_of(plan, lines)
    (anchor,) = lines[0].anchors(hex_of(north))
    anchors = [audit_chain.Anchor(sha256=anchor, source="agg-1")]
    for count, problems in ((9, 0), (8, 1)):
        data = audit_chain.export("north", north, log[:count])
        verdict = audit_chain.verify(data, verify_key=hex_of(north), anchors=anchors)
        assert len(verdict.problems) == problems
        assert all("No entry has the hash that agg-1 holds" in text for text in verdict.problems)


@pytest.mark.parametrize("key", ["", "ab" * 31, "AB" * 32, "é" * 64, "0" * 65, "a b" * 32])
def test_anchors_are_asked_for_by_a_whole_key(lines: list[Line], key: str) -> None:
    with pytest.raises(InvalidMessage, match="64 hexadecimal digits"):
        lines[0].anchors(key)


def test_a_strangers_anchors_tell_nothing_else_of_a_share(
    lines: list[Line], parties: list[Party], north: SigningKey
) -> None:
    plan = make_plan(parties, "anchors-alone")
    open_and_submit(plan, lines[:1], THREE)
    (told,) = lines[0].stream("Anchors", hex_of(north).encode())
    assert told == LOG_SHA256.encode()


def test_headers_are_the_researchers_alone(lines: list[Line], parties: list[Party]) -> None:
    """Epsilon, delta and the weights' hash stand in them; any set, also none, asks for all."""
    plan = make_plan(parties, "headers-alone")
    lines[0].open_study(plan)
    shares = open_and_submit(plan, lines[:1], FOUR)
    for hospitals in ((), THREE):
        told = lines[0].headers(call_for(plan, hospitals))
        assert {one.message for one in told} == {s[0].header.message for s in shares.values()}
    assert lines[0].headers(call_for(plan, (), round=2)) == []
    with pytest.raises(InvalidMessage, match="round that the plan names"):
        lines[0].headers(call_for(plan, (), round=3))
    for key in (HOSPITALS["north"], SigningKey.generate()):
        with pytest.raises(InvalidMessage, match="signature of the key"):
            lines[0].headers(call_for(plan, key=key))
    with pytest.raises(Refused, match="opened here first"):
        lines[0].headers(call_for(make_plan(parties, "never-opened")))


# --- the wire --------------------------------------------------------------------------------


def test_calls_that_could_hold_a_worker_or_fill_its_memory_are_refused(
    lines: list[Line],
) -> None:
    channel = lines[0].channel
    health = channel.unary_unary(aggregator_api.method("Health"))
    for timeout_s in (None, 100_000):
        with pytest.raises(grpc.RpcError) as caught:
            health(b"", timeout=timeout_s)
        assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    huge = aggregator_api.OpenStudy(
        call=Signed(message="", signature=""), plan="x" * (MAX_PLAN_BYTES + 1)
    )
    garbage = (b"", b"\0" * 100, b'{"a":' * 2000)
    for name in ("OpenStudy", "Received", "Choose", "Release", "Headers", "Anchors"):
        for request in (*garbage, canonical.encode(huge)):
            with pytest.raises(InvalidMessage):
                lines[0].stream(name, request)
    too_long = bytes(aggregator_api.CHUNK_BYTES + 70_000)
    with pytest.raises(ConsiliumError):
        lines[0].unary("OpenStudy", too_long)
    for parts in ([], [b""], [b"{}", b"x" * 100]):
        with pytest.raises(InvalidMessage):
            lines[0].send(iter(parts))


def test_short_calls_are_answered_however_many_uploads_hang(
    parties: list[Party], lines: list[Line]
) -> None:
    """One connection opens more calls than there are workers, and sends nothing."""
    with contextlib.closing(Hanging(parties[0], 40)):
        assert lines[0].unary("Health", b"")
        with pytest.raises(InvalidMessage):  # no carrier is taken before a share says what it is
            lines[0].send(iter([b"{}"]), timeout_s=5)
    assert lines[0].unary("Health", b"")


@pytest.mark.parametrize("name", ["SubmitShare", "Health"])
def test_connections_that_begin_calls_and_say_nothing_hold_no_worker(
    parties: list[Party], lines: list[Line], name: str
) -> None:
    """Three connections together begin more calls than there are workers, of any kind."""
    with contextlib.ExitStack() as hanging:
        for _ in range(3):
            hanging.enter_context(contextlib.closing(Hanging(parties[0], 16, name=name)))
        for _ in range(3):
            began_s = time.monotonic()
            call = lines[0].channel.unary_unary(aggregator_api.method("Health"))
            assert call(b"", timeout=5)
            assert time.monotonic() - began_s < 2


def test_bare_connections_do_not_keep_anybody_waiting(
    parties: list[Party], lines: list[Line]
) -> None:
    host, port = parties[0].address.split(":")
    with contextlib.ExitStack() as idle:
        for _ in range(200):
            idle.enter_context(socket.create_connection((host, int(port))))
        assert lines[0].unary("Health", b"")


def test_a_share_of_no_open_study_is_told_so_while_every_carrier_is_taken(
    parties: list[Party], lines: list[Line]
) -> None:
    """Whoever has no share to give can't keep carriers from those who have one."""
    plans = [make_plan(parties, f"carried-{number}") for number in range(CARRIERS // 4)]
    for plan in plans:
        lines[0].open_study(plan)
    shares = [make_shares(plan, name)[0] for plan in plans for name in HOSPITALS]
    firsts = [
        canonical.encode(aggregator_api.UploadShare(header=share.header, offset=0))
        for share in shares
    ]
    honest = make_shares(plans[0], "north", round_number=2)[0]
    unopened = make_shares(make_plan(parties, "carried-by-nobody"), "north")[0]
    with contextlib.closing(Hanging(parties[0], CARRIERS, firsts)):
        with pytest.raises(aggregator_api.Busy):
            lines[0].upload(honest)
        with pytest.raises(InvalidMessage, match="signature of the key"):
            lines[0].upload(resign(honest, by="south"))
        with pytest.raises(Refused, match="opened here first") as refused:
            lines[0].upload(unopened)
        assert not isinstance(refused.value, aggregator_api.Busy)


class Hanging:
    """Uploads that say who they are, if told so, and then nothing."""

    def __init__(
        self, party: Party, count: int, firsts: Sequence[bytes] = (), *, name: str = "SubmitShare"
    ) -> None:
        self._line = Line(party.entry)
        submit = self._line.channel.stream_unary(aggregator_api.method(name))
        self._stop = [threading.Event() for _ in range(count)]
        parts = [firsts[i : i + 1] for i in range(count)]
        self._calls = [
            submit.future(self._silence(stop, said), timeout=60)
            for stop, said in zip(self._stop, parts, strict=True)
        ]
        time.sleep(1)

    def close(self) -> None:
        for stop, call in zip(self._stop, self._calls, strict=True):
            stop.set()
            call.cancel()
        self._line.close()

    @staticmethod
    def _silence(stop: threading.Event, said: Sequence[bytes]) -> Iterator[bytes]:
        yield from said
        stop.wait()
