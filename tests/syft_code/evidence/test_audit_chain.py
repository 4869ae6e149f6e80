"""An export of an audit log: a sound one is sound, and no other one passes for it."""

import dataclasses
import json
import random
from collections.abc import Callable, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nacl.signing import SigningKey

from syft_code import canonical
from syft_code.errors import InvalidInput, InvalidMessage
from syft_code.evidence import audit_chain
from syft_code.evidence.audit_chain import Anchor, Entry, ExportHeader, Verdict
from syft_code.plans import messages
from syft_code.plans.messages import LogHead, ShareHeader, Signed

KEY = SigningKey(b"k" * 32)
THIEF = SigningKey(b"t" * 32)
VERIFY_KEY = bytes(KEY.verify_key).hex()
COUNT = 8
QUICK = settings(max_examples=60)  # what a busy machine does in a second
SALT = "5a" * 16


def make_log(
    count: int = COUNT, *, key: SigningKey = KEY, first: int = 1, previous: str = audit_chain.START,
    word: str = "done",
) -> list[Signed]:  # fmt: skip
    log = []
    for number in range(first, first + count):
        entry = Entry(
            number=number,
            at_unix_s=1_800_000_000 + number,
            kind="round",
            facts={"plan": f"{number:064x}", "said": f'"{word}"'},
            salt=SALT,
            previous_sha256=previous,
        )
        log.append(messages.sign(entry, key))
        previous = audit_chain.entry_sha256(log[-1])
    return log


LOG = make_log()
SOUND = audit_chain.export("north", KEY, LOG)
LINES = SOUND.splitlines(keepends=True)  # the header, entry n at place n, the head


def head_of(log: Sequence[Signed]) -> LogHead:
    number = json.loads(log[-1].message)["number"]
    return LogHead(number=number, sha256=audit_chain.entry_sha256(log[-1]))


def line_of(signed: Signed) -> bytes:
    return canonical.encode(signed) + b"\n"


def with_lines(change: Callable[[list[bytes]], object]) -> bytes:
    lines = list(LINES)
    change(lines)
    return b"".join(lines)


def anchor_of(log: Sequence[Signed], source: str) -> Anchor:
    return Anchor(sha256=audit_chain.entry_sha256(log[-1]), source=source)


def unmet(source: str) -> str:
    return (
        f"No entry has the hash that {source} holds: the end was cut, the log was rewritten, or "
        "this export is older than the anchor."
    )


def problems(data: bytes, *anchors: Anchor) -> str:
    return "\n".join(audit_chain.verify(data, verify_key=VERIFY_KEY, anchors=anchors).problems)


# --- a sound log -----------------------------------------------------------------------------


def test_a_sound_log_has_no_problem_and_meets_its_anchors() -> None:
    anchors = [anchor_of(LOG[:n], f"party {n}") for n in range(1, COUNT + 1)]
    assert audit_chain.verify(SOUND, verify_key=VERIFY_KEY, anchors=anchors) == Verdict(
        party="north", verify_key=VERIFY_KEY, entries=COUNT, head=head_of(LOG), problems=(),
        anchored=COUNT,
    )  # fmt: skip
    assert audit_chain.verify(SOUND).problems == ()


def test_an_export_is_the_header_the_entries_and_the_head_one_a_line() -> None:
    header = ExportHeader(party="north", verify_key=VERIFY_KEY)
    assert LINES[0] == line_of(messages.sign(header, KEY))
    assert b"consilium-audit-2" in LINES[0]
    assert LINES[1:-1] == [line_of(signed) for signed in LOG]
    assert LINES[-1] == line_of(messages.sign(head_of(LOG), KEY))
    assert SOUND.isascii()


def test_the_entries_of_a_sound_export_can_be_read_and_those_of_another_cannot() -> None:
    entries = audit_chain.entries(SOUND)
    assert [entry.number for entry in entries] == list(range(1, COUNT + 1))
    assert entries[2] == canonical.parse(Entry, LOG[2].message.encode(), what="entry")
    with pytest.raises(InvalidMessage, match="Entry 3 is missing"):
        audit_chain.entries(with_lines(lambda lines: lines.pop(3)))


def test_a_log_without_entries_is_not_exported() -> None:
    with pytest.raises(InvalidInput, match="at least one entry"):
        audit_chain.export("north", KEY, [])


def test_a_log_of_one_entry_is_sound() -> None:
    assert problems(audit_chain.export("north", KEY, make_log(1))) == ""


def test_an_entry_tells_the_hour_and_no_more() -> None:
    times = []
    for at_unix_s in (1_799_999_999, 1_800_000_000, 1_800_003_599):
        signed, _ = audit_chain.entry_after(
            None, kind="round", facts={}, at_unix_s=at_unix_s, salt=SALT, key=KEY
        )
        times.append(json.loads(signed.message)["at_unix_s"])
    assert times == [1_799_996_400, 1_800_000_000, 1_800_000_000]


def test_times_that_run_backwards_are_no_problem() -> None:
    entry = Entry(number=1, at_unix_s=9, kind="a", salt=SALT, previous_sha256=audit_chain.START)
    first = messages.sign(entry, KEY)
    sha256 = audit_chain.entry_sha256(first)
    after = Entry(number=2, at_unix_s=3, kind="b", salt=SALT, previous_sha256=sha256)
    assert problems(audit_chain.export("north", KEY, [first, messages.sign(after, KEY)])) == ""


# --- logs that were tampered with ------------------------------------------------------------


def changed_entry(place: int) -> bytes:
    return LINES[place].replace(b"done", b"gone")


def put(place: int, line: bytes) -> Callable[[list[bytes]], object]:
    return lambda lines: lines.__setitem__(place, line)


def cut(start: int, end: int | None) -> Callable[[list[bytes]], object]:
    return lambda lines: lines.__delitem__(slice(start, end))


def swap(one: int, other: int) -> Callable[[list[bytes]], object]:
    return lambda lines: lines.__setitem__(slice(one, other + 1), lines[one : other + 1][::-1])


def resigned(place: int, key: SigningKey = THIEF) -> bytes:
    entry = canonical.parse(Entry, LOG[place - 1].message.encode(), what="entry")
    return line_of(messages.sign(entry, key))


OTHER_KEY = bytes(THIEF.verify_key).hex().encode()
OTHERS = ExportHeader(party="north", verify_key=OTHER_KEY.decode())


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (put(3, changed_entry(3)), "Entry 3 (line 4) does not carry the party's signature"),
        (put(3, resigned(3)), "Entry 3 (line 4) does not carry the party's signature"),
        (put(COUNT, changed_entry(COUNT)), f"Entry {COUNT} (line {COUNT + 1}) does not carry"),
        (cut(3, 4), "Entry 3 is missing: removed."),
        (cut(3, 6), "Entries 3 to 5 are missing: removed."),
        (cut(1, 3), "Entries 1 to 2 are missing: the beginning was cut."),
        (cut(0, 1), "Line 1 must be the header of an export"),
        (cut(0, 3), "Line 1 must be the header of an export"),
        (cut(-1, None), "The head must be the last line and is missing"),
        (cut(-3, None), "The head must be the last line and is missing"),
        (cut(-3, -1), "The head names entry 8, and the last one here is entry 6"),
        (cut(1, None), "The head must be the last line and is missing"),
        (cut(1, -1), "The head names entry 8, and the last one here is entry 0"),
        (swap(3, 4), "Entry 3 stands after entry 4: the order was changed."),
        (swap(1, 2), "Entry 1 stands after entry 2: the order was changed."),
        (swap(COUNT, COUNT + 1), f"The head must be the last line, and line {COUNT + 2} follows."),
        (lambda lines: lines.insert(4, lines[3]), "Entry 3 is there twice, again in line 5."),
        (lambda lines: lines.insert(7, lines[3]), "Entry 3 is there twice, again in line 8."),
        (lambda lines: lines.append(lines[-1]), "The head must be the last line, and line 11"),
        (lambda lines: lines.append(b"\n"), "The head must be the last line, and line 11"),
        (lambda lines: lines.append(b"more"), "The head must be the last line, and line 11"),
        (put(3, b"\n"), "Line 4 is no signed entry: damaged, or added. Entry 3 or the head is"),
        (put(3, LINES[3][:-1] + b" \n"), "Line 4 is no signed entry"),
        (put(3, LINES[3][:-1] + b"\r\n"), "Line 4 is no signed entry"),
        (put(-1, LINES[-1][:-1]), "The file ends in the middle of line 10: the end was cut."),
        (put(3, b"7" * (audit_chain.MAX_LINE_BYTES + 1) + b"\n"), "Line 4 is longer than 1,048,576"),
        (put(3, LINES[3].replace(b'"signature":"', b'"signature":" ')), "Line 4 is no signed"),
        (put(-1, line_of(messages.sign(head_of(LOG), THIEF))), "The head (line 10) does not carry"),
        (put(-1, line_of(messages.sign(head_of(LOG[:6]), KEY))), "the head is an older one"),
        (put(0, LINES[0].replace(VERIFY_KEY.encode(), OTHER_KEY)), "Line 1 must be the header"),
        (put(0, LINES[0].replace(b"north", b"south")), "Line 1 must be the header"),
        (put(0, line_of(messages.sign(OTHERS, THIEF))), "The header names the key"),
        (put(0, LINES[0].replace(b"audit-2", b"audit-1")), "Line 1 must be the header"),
        (put(0, LINES[0].replace(b"north", b"\\u001b[2J")), "Line 1 must be the header"),
    ],
)  # fmt: skip
def test_whatever_was_done_to_a_log_is_named(
    change: Callable[[list[bytes]], object], sentence: str
) -> None:
    assert sentence in problems(with_lines(change))


def test_one_removed_or_moved_entry_is_one_problem() -> None:
    changes = [
        cut(3, 4), swap(3, 4), put(3, b"\n"), put(3, changed_entry(3)), put(3, resigned(3)),
        put(COUNT, changed_entry(COUNT)), lambda lines: lines.insert(4, b"\n"),
    ]  # fmt: skip
    for change in changes:
        assert len(audit_chain.verify(with_lines(change)).problems) == 1


def test_an_upper_case_signature_is_not_taken_for_the_same() -> None:
    signature = LOG[2].signature
    line = LINES[3].replace(signature.encode(), signature.upper().encode())
    assert "Line 4 is no signed entry" in problems(with_lines(put(3, line)))


def test_a_message_of_another_kind_is_no_entry() -> None:
    header = ShareHeader(
        plan_hash="00", hospital="north", purpose="train", round=1, party=1, parties=3, needed=3,
        length=1, ring_bits=64, weights_sha256="11" * 32, epsilon=1.0, epsilon_alone=1.0, delta=1e-5,
        log_sha256=head_of(LOG).sha256, sealed_sha256="00",
    )  # fmt: skip
    line = line_of(messages.sign(header, KEY))
    assert "Line 4 is neither an entry nor the head" in problems(with_lines(put(3, line)))
    as_entry = Signed(message=LOG[2].message, signature=messages.sign(header, KEY).signature)
    assert "Entry 3 (line 4) does not carry" in problems(with_lines(put(3, line_of(as_entry))))


def test_a_log_of_another_key_is_another_hospitals() -> None:
    stolen = audit_chain.export("north", THIEF, make_log(key=THIEF))
    assert audit_chain.verify(stolen).problems == ()
    (problem,) = audit_chain.verify(stolen, verify_key=VERIFY_KEY).problems
    assert "another party's log, or somebody signed it anew" in problem


def test_entries_of_two_histories_do_not_follow_on_each_other() -> None:
    """With the hospital's own key: only the chain can tell."""
    data = audit_chain.export("north", KEY, [*LOG[:4], *make_log(word="other")[4:]])
    assert problems(data).startswith("Entry 5 does not follow on what stands before it")
    (entry,) = make_log(1, previous="ab" * 32)
    assert problems(audit_chain.export("north", KEY, [entry])).startswith("Entry 1 does not follow")


def test_the_head_must_be_of_the_last_entry() -> None:
    other = messages.sign(dataclasses.replace(head_of(LOG), sha256="ab" * 32), KEY)
    sentence = problems(with_lines(put(-1, line_of(other))))
    assert sentence == "Entry 8 is another one than the head names: it was replaced."


def test_a_forged_number_does_not_make_the_rest_of_the_numbers_missing() -> None:
    entry = canonical.parse(Entry, LOG[2].message.encode(), what="entry")
    far = dataclasses.replace(entry, number=audit_chain.LAST_NUMBER)
    found = problems(with_lines(put(3, line_of(messages.sign(far, THIEF)))))
    assert f"Entry {audit_chain.LAST_NUMBER} (line 4) does not carry" in found
    assert "Entry 3 is missing: removed." in found
    assert found.count("missing") == 1


def test_problems_are_listed_up_to_a_hundred() -> None:
    log = make_log(300, key=THIEF)
    data = audit_chain.export("north", KEY, log)
    found = audit_chain.verify(data).problems
    assert len(found) == audit_chain.MAX_PROBLEMS + 1
    assert "more than 100 problems" in found[-1]


# --- anchors ---------------------------------------------------------------------------------


def test_a_thief_of_the_key_can_shorten_a_log_and_only_an_anchor_tells() -> None:
    shorter = audit_chain.export("north", KEY, LOG[:5])
    assert problems(shorter) == ""
    anchors = [anchor_of(LOG[:3], "aggregator-1"), anchor_of(LOG, "aggregator-1")]
    verdict = audit_chain.verify(shorter, anchors=anchors)
    assert verdict.problems == (unmet("aggregator-1"),)
    assert verdict.anchored == 3


def test_a_thief_of_the_key_can_rewrite_a_log_and_only_an_anchor_tells() -> None:
    rewritten = audit_chain.export("north", KEY, [*LOG[:4], *make_log(6, first=5, word="other",
                             previous=audit_chain.entry_sha256(LOG[3]))])  # fmt: skip
    assert problems(rewritten) == ""
    source = "the certificate of study lesions"
    assert problems(rewritten, anchor_of(LOG[:4], source)) == ""
    assert problems(rewritten, anchor_of(LOG[:6], source)) == unmet(source)


def test_a_log_that_was_forked_cannot_meet_the_anchors_of_both_ends() -> None:
    """A copy of the hospital's folder, put back: aggregators hold hashes of two histories."""
    fork = [
        *LOG[:4],
        *make_log(4, first=5, word="other", previous=audit_chain.entry_sha256(LOG[3])),
    ]
    anchors = [anchor_of(LOG, "aggregator-1"), anchor_of(fork, "aggregator-1")]
    for log in (LOG, fork):
        data = audit_chain.export("north", KEY, log)
        assert problems(data) == ""
        assert problems(data, *anchors) == unmet("aggregator-1")


def test_an_anchor_to_an_entry_that_was_removed_says_so() -> None:
    found = problems(with_lines(cut(3, 4)), anchor_of(LOG[:3], "aggregator-2"))
    assert unmet("aggregator-2") in found


def test_each_source_speaks_once_of_all_its_anchors() -> None:
    other = make_log(word="other")
    anchors = [
        anchor_of(log, source)
        for source in ("a", "b")
        for log in [other[:n] for n in (4, 2, 3)] + [make_log(n) for n in (20, 5, 25)]
    ]
    verdict = audit_chain.verify(SOUND, anchors=anchors)
    assert verdict.problems == (unmet("a"), unmet("b"))
    assert verdict.anchored == 5


# --- anything at all -------------------------------------------------------------------------


def assert_found(data: bytes) -> None:
    """Whatever is not the sound log is found."""
    problems = audit_chain.verify(data, verify_key=VERIFY_KEY).problems
    assert (problems == ()) == (data == SOUND)


PLACES = st.integers(0, len(LINES) - 1)


@QUICK
@given(st.permutations(LINES))
def test_lines_in_another_order_are_found(lines: list[bytes]) -> None:
    assert_found(b"".join(lines))


@QUICK
@given(st.lists(st.sampled_from(LINES), max_size=2 * len(LINES)))
def test_lines_that_are_repeated_or_left_out_are_found(lines: list[bytes]) -> None:
    assert_found(b"".join(lines))


@QUICK
@given(st.sets(PLACES))
def test_lines_that_are_left_out_are_found(left_out: set[int]) -> None:
    assert_found(b"".join(line for n, line in enumerate(LINES) if n not in left_out))


@QUICK
@given(st.lists(st.tuples(st.integers(0, len(SOUND) - 1), st.integers(0, 255)), max_size=3))
def test_bytes_that_are_changed_are_found(changes: list[tuple[int, int]]) -> None:
    data = bytearray(SOUND)
    for place, value in changes:
        data[place] = value
    assert_found(bytes(data))


@QUICK
@given(st.integers(0, len(SOUND)), st.integers(0, len(SOUND)), st.binary(max_size=20))
def test_a_cut_and_an_insertion_are_found(one: int, other: int, new: bytes) -> None:
    start, end = sorted((one, other))
    assert_found(SOUND[:start] + new + SOUND[end:])


@QUICK
@given(st.randoms(use_true_random=False))
def test_lines_of_another_log_are_found(choice: random.Random) -> None:
    other = audit_chain.export("north", KEY, make_log(word="other")).splitlines(keepends=True)
    assert_found(b"".join(choice.choice(pair) for pair in zip(LINES, other, strict=True))
                 .replace(b"".join(other), SOUND))  # fmt: skip


SIGNED = st.builds(
    Signed,
    message=st.one_of(st.text(), st.sampled_from([signed.message for signed in LOG])),
    signature=st.one_of(st.text(), st.binary(min_size=64, max_size=64).map(bytes.hex)),
).map(canonical.encode)
ANCHORS = st.builds(
    Anchor,
    sha256=st.sampled_from(["0" * 64, "x"]),
    source=st.text(),
)


@settings(max_examples=200)
@given(
    st.one_of(
        st.binary(),
        st.lists(st.one_of(st.binary(), SIGNED, st.sampled_from(LINES))).map(b"\n".join),
        st.lists(st.one_of(st.binary(), SIGNED)).map(lambda l: LINES[0] + b"\n".join(l)),  # noqa: E741
    ),
    st.lists(ANCHORS, max_size=3),
)
def test_no_bytes_make_it_raise(data: bytes, anchors: list[Anchor]) -> None:
    verdict = audit_chain.verify(data, verify_key=VERIFY_KEY, anchors=anchors)
    assert verdict.problems or data == SOUND


@pytest.mark.parametrize(
    "line",
    [
        canonical.encode(Signed(message="é", signature="0" * 128)),
        b"[" * 100_000,
        b'{"a":' * 100_000,
        b'{"message":"\\ud800","signature":"' + b"0" * 128 + b'"}',
        b'{"message":"{\\"number\\":' + b"9" * 5000 + b'}","signature":"' + b"0" * 128 + b'"}',
        b'{"message":"' + b"[" * 50_000 + b'","signature":"' + b"0" * 128 + b'"}',
    ],
)
def test_lines_that_strain_a_parser_are_problems_like_others(line: bytes) -> None:
    assert "Line 4 is" in problems(with_lines(put(3, line + b"\n")))


def test_a_hostile_file_is_given_up_early(monkeypatch: pytest.MonkeyPatch) -> None:
    signed, read = audit_chain._signed, []

    def noting(line: bytes, place: int) -> Signed:
        read.append(place)
        return signed(line, place)

    monkeypatch.setattr(audit_chain, "_signed", noting)
    problems = audit_chain.verify(LINES[0] + b"\n" * 20_000_000).problems
    assert len(problems) == audit_chain.MAX_PROBLEMS + 1
    assert len(read) <= audit_chain.MAX_PROBLEMS + 2
