"""The audit log as anybody can check it: entries, their chain, and the anchors to it.

    entry n: number, time, kind, facts, salt, SHA-256 of entry n-1   ── signed by the party

A party (a hospital in `datasites`, an aggregator in `federation`) keeps its own log. Each share
that leaves a hospital carries the hash of the last entry of its log, so aggregators and
certificates hold anchors that a shortened or rewritten log can't meet.

    party     export   Signed ExportHeader │ Signed Entry 1 │ … │ Signed Entry N │ Signed LogHead
    anybody   verify   those lines, the party's key, anchors ─▶ Verdict

An export has one line of canonical JSON for each of them, and nothing else.
"""

import itertools
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Literal

from nacl.signing import SigningKey
from pydantic import Field

from syft_code import canonical
from syft_code.errors import InvalidInput, InvalidMessage, require
from syft_code.plans import messages
from syft_code.plans.messages import LAST_NUMBER, LogHead, Signed
from syft_code.plans.roster import HEX_KEY, NAME

START = "0" * 64
"""What stands in the first entry as the hash of the one before."""

MAX_LINE_BYTES = 1024 * 1024
"""No line of an export is longer: whoever adds an entry to a log keeps its facts far below."""

MAX_PROBLEMS = 100
FORMAT: Literal["consilium-audit-2"] = "consilium-audit-2"
HOUR_S = 3600
_SIGNATURE = re.compile(r"[0-9a-f]{128}")


@canonical.message
class Entry:
    """One line of a party's log; `facts` hold no patient's value, no key and no share.

    `at_unix_s` is the hour in which it was written: a log is exported, and a finer time would tell
    its readers how long a round's work took.

    `salt` is random: without it, whoever holds two anchors could try guesses at the entries
    between them, and so count them.
    """

    number: Annotated[int, Field(ge=1, le=LAST_NUMBER)]
    at_unix_s: Annotated[int, Field(ge=0, le=LAST_NUMBER)]
    kind: str
    facts: dict[str, str] = field(default_factory=dict)
    salt: Annotated[str, Field(pattern="^[0-9a-f]{32}$")]
    previous_sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


@canonical.message
class ExportHeader:
    """The first line of an export: whose log it says it is, and the key that signed it."""

    format: Literal["consilium-audit-2"] = FORMAT
    party: Annotated[str, Field(pattern=f"^{NAME.pattern}$")]
    verify_key: Annotated[str, Field(pattern=f"^{HEX_KEY.pattern}$")]


@dataclass(frozen=True, slots=True, kw_only=True)
class Anchor:
    """The hash of an entry of a party's log that somebody else holds; `source` says who."""

    sha256: str
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What a check found: the log is sound if `problems` is empty.

    `entries` counts those that carry the party's signature, each number once; `head` is that
    of the export, if its signature holds; `anchored` is the highest number of an entry that an
    anchor names, 0 if there is none; all text is fit to be printed.
    """

    party: str
    verify_key: str
    entries: int
    head: LogHead | None
    problems: tuple[str, ...]
    anchored: int = 0


def entry_sha256(signed: Signed) -> str:
    """The hash by which the next entry, and every anchor, names an entry."""
    return canonical.sha256(signed.message.encode())


def entry_after(
    last: LogHead | None,
    *,
    kind: str,
    facts: Mapping[str, str],
    at_unix_s: int,
    salt: str,
    key: SigningKey,
) -> tuple[Signed, LogHead]:
    """A party: the next entry of its log, signed, and the log's new head.

    `last` is the head as it stands, None of an empty log; `salt` is 32 random hexadecimal digits.
    The entry has the hour of `at_unix_s`.

    Raises:
        InvalidMessage: if the entry is too long for a line.
    """
    entry = Entry(
        number=last.number + 1 if last else 1,
        at_unix_s=at_unix_s - at_unix_s % HOUR_S,
        kind=kind,
        facts=dict(facts),
        salt=salt,
        previous_sha256=last.sha256 if last else START,
    )
    signed = messages.sign(entry, key)
    require(
        len(canonical.encode(signed)) < MAX_LINE_BYTES,
        f"A line of the audit log must be shorter than {MAX_LINE_BYTES:,} bytes; this act is too "
        "long to be kept: use a smaller plan.",
        error=InvalidMessage,
    )
    return signed, LogHead(number=entry.number, sha256=entry_sha256(signed))


def export(party: str, key: SigningKey, entries: Iterable[Signed]) -> bytes:
    """A party: write a log down for others, with its head signed at this moment.

    The entries are written as they are, from number 1: whether they are sound is `verify`'s to say.

    Raises:
        InvalidInput: if there is no entry, or the last one is none.
    """
    header = ExportHeader(party=party, verify_key=bytes(key.verify_key).hex())
    lines = [canonical.encode(messages.sign(header, key))]
    last: Signed | None = None
    for last in entries:
        lines.append(canonical.encode(last))
    if last is None:
        raise InvalidInput("A log must have at least one entry to be exported, and has none.")
    entry: Entry = canonical.parse(Entry, last.message.encode("utf-8", "replace"), what="log entry")
    head = LogHead(number=entry.number, sha256=entry_sha256(last))
    lines += [canonical.encode(messages.sign(head, key)), b""]
    return b"\n".join(lines)


def verify(
    data: bytes, *, verify_key: str | None = None, anchors: Sequence[Anchor] = ()
) -> Verdict:
    """Anybody: check an export against itself, the party's key, and anchors to the same log.

    `anchors` must be to the log of that key. Each problem is a sentence that names the entry.

    Guarantee: whoever lacks the party's key can't change, remove, add, repeat or reorder lines
    of an export unnoticed; whoever has it can't change or remove an entry up to the newest anchor
    unnoticed. No bytes make it raise; the time is linear in them.
    Does not protect: entries after the newest anchor: a thief of the key can sign another end, and
    anybody can show an older export for a newer one. Without `verify_key` the key is the header's
    own word: hold it against a plan's roster. What a party never wrote down, no check finds.
    Times are not compared: clocks are set back.
    """
    lines = _lines(data)
    try:
        header = _header(next(lines, b""))
    except InvalidMessage as problem:
        return Verdict(party="", verify_key="", entries=0, head=None, problems=(str(problem),))
    reading = _Reading(header.verify_key, anchors)
    if verify_key not in (None, header.verify_key):
        reading.problems.append(
            f"The header names the key {header.verify_key}, and the party's is {verify_key}: "
            "this is another party's log, or somebody signed it anew."
        )
    reading.read(lines)
    return Verdict(
        party=header.party,
        verify_key=header.verify_key,
        entries=len(reading.sha256),
        head=reading.head,
        problems=_bounded(reading.problems),
        anchored=reading.anchored,
    )


def entries(data: bytes) -> list[Entry]:
    """Anybody: the entries of a sound export, in order.

    Raises:
        InvalidMessage: with the first problem, if the export is not sound.
    """
    problems = verify(data).problems
    require(not problems, " ".join(problems[:1]), error=InvalidMessage)
    signed = [_signed(line, place) for place, line in enumerate(_lines(data), start=1) if place > 1]
    return [canonical.parse(Entry, one.message.encode(), what="log entry") for one in signed[:-1]]


class _Reading:
    """What is known of a log after some of its lines; every problem becomes a sentence.

    If there is no problem at the end, the numbers run from 1 without gaps, each entry names the
    hash of the one before, all are signed by one key, and the head names the last of them.
    """

    def __init__(self, key: str, anchors: Sequence[Anchor]) -> None:
        self._key = key
        self._anchors = anchors
        self._before = (0, START)  # number and hash of the last entry
        self._damaged: set[int] = set()  # numbers that a problem names already
        self._expected = 1
        self._highest = 0
        self._ended = False
        self.sha256: dict[int, str] = {}  # of every entry that is signed as it must be
        self.head: LogHead | None = None
        self.anchored = 0
        self.problems: list[str] = []

    def read(self, lines: Iterable[bytes]) -> None:
        """Take all lines after the header, then look at the whole."""
        for place, line in enumerate(lines, start=2):
            if self._ended:
                self.problems.append(f"The head must be the last line, and line {place} follows.")
                break
            if len(self.problems) > MAX_PROBLEMS:
                return
            try:
                self._take(place, _signed(line, place))
            except InvalidMessage as problem:
                expected = f"Entry {self._expected} or the head is expected there."
                self._damage(self._expected, f"{problem} {expected}")
        self._check_numbers()
        self._check_head()
        self._check_anchors()

    def _take(self, place: int, signed: Signed) -> None:
        try:
            entry = messages.verify(Entry, signed, self._key)
        except InvalidMessage:
            self._take_other(place, signed)
            return
        number, sha256 = entry.number, entry_sha256(signed)
        if number in self.sha256:
            self.problems.append(f"Entry {number} is there twice, again in line {place}.")
        elif number < self._highest:
            self.problems.append(
                f"Entry {number} stands after entry {self._highest}: the order was changed."
            )
        if number == self._before[0] + 1 and entry.previous_sha256 != self._before[1]:
            self.problems.append(
                f"Entry {number} does not follow on what stands before it: another entry stood "
                "there, or the log was put together from several."
            )
        self.sha256.setdefault(number, sha256)
        self._before = number, sha256
        self._highest = max(self._highest, number)
        self._expected = number + 1

    def _take_other(self, place: int, signed: Signed) -> None:
        """The head, or a line that the party's key did not sign as an entry."""
        claimed = _claimed(signed, place)
        if isinstance(claimed, Entry):
            self._damage(
                claimed.number,
                f"Entry {claimed.number} (line {place}) does not carry the party's signature: "
                "it was changed, or another key signed it.",
            )
            return
        self._ended = True
        try:
            self.head = messages.verify(LogHead, signed, self._key)
        except InvalidMessage:
            self.problems.append(
                f"The head (line {place}) does not carry the party's signature: it was "
                "changed, or another key signed it."
            )

    def _damage(self, number: int, problem: str) -> None:
        self.problems.append(problem)
        self._damaged.add(number)
        self._expected += 1

    def _check_numbers(self) -> None:
        damaged = {number for number in self._damaged if number < self._highest}
        known = sorted(self.sha256.keys() | damaged)
        for before, after in itertools.pairwise([0, *known]):
            first, last = before + 1, after - 1
            if first <= last:
                which = f"Entry {first} is" if first == last else f"Entries {first} to {last} are"
                how = "the beginning was cut" if first == 1 else "removed"
                self.problems.append(f"{which} missing: {how}.")

    def _check_head(self) -> None:
        head, highest = self.head, self._highest
        if head is None:
            if not self._ended:
                self.problems.append("The head must be the last line and is missing: cut off.")
        elif head.number > highest and head.number not in self._damaged:
            self.problems.append(
                f"The head names entry {head.number}, and the last one here is entry {highest}: "
                "the end was cut."
            )
        elif head.number < highest:
            self.problems.append(
                f"The head names entry {head.number} as the last, and the log goes on to entry "
                f"{highest}: the head is an older one."
            )
        elif head.sha256 != self.sha256.get(head.number, head.sha256):
            self.problems.append(
                f"Entry {head.number} is another one than the head names: it was replaced."
            )

    def _check_anchors(self) -> None:
        """Look for each anchor's entry; a source that holds others is named once."""
        numbers = {sha256: number for number, sha256 in self.sha256.items()}
        unmet: dict[str, None] = {}
        for anchor in self._anchors:
            number = numbers.get(anchor.sha256, 0)
            self.anchored = max(self.anchored, number)
            if not number:
                unmet[anchor.source] = None
        self.problems += [
            f"No entry has the hash that {source} holds: the end was cut, the log was rewritten, "
            "or this export is older than the anchor."
            for source in unmet
        ]


def _lines(data: bytes) -> Iterator[bytes]:
    """The lines with their ends; of one that is too long, only so much that it shows."""
    start = 0
    while start < len(data):
        end = data.find(b"\n", start) + 1 or len(data)
        yield data[start : min(end, start + MAX_LINE_BYTES + 1)]
        start = end


def _header(line: bytes) -> ExportHeader:
    """The header, if it is signed by the key that it names."""
    try:
        signed = _signed(line, 1)
        claimed: ExportHeader = canonical.parse(
            ExportHeader, signed.message.encode(), what="header"
        )
        return messages.verify(ExportHeader, signed, claimed.verify_key)
    except InvalidMessage:
        raise InvalidMessage(
            "Line 1 must be the header of an export, signed by the key that it names, and is not: "
            "the beginning was cut or changed, or this is another file. Nothing else was checked."
        ) from None


def _signed(line: bytes, place: int) -> Signed:
    """Read a line; its signature is not checked yet."""
    require(
        len(line) <= MAX_LINE_BYTES,
        f"Line {place} is longer than {MAX_LINE_BYTES:,} bytes: no entry is.",
        error=InvalidMessage,
    )
    require(
        line[-1:] == b"\n",
        f"The file ends in the middle of line {place}: the end was cut.",
        error=InvalidMessage,
    )
    try:
        signed: Signed = canonical.parse(Signed, line[:-1], what="line")
        signed.message.encode()
        require(_SIGNATURE.fullmatch(signed.signature) is not None, "", error=InvalidMessage)
    except (InvalidMessage, UnicodeEncodeError):
        raise InvalidMessage(f"Line {place} is no signed entry: damaged, or added.") from None
    return signed


def _claimed(signed: Signed, place: int) -> Entry | LogHead:
    """What a line says that it is."""
    try:
        claimed: Entry | LogHead = canonical.parse(
            Entry | LogHead, signed.message.encode(), what="line"
        )
    except InvalidMessage:
        raise InvalidMessage(
            f"Line {place} is neither an entry nor the head: damaged, or added."
        ) from None
    return claimed


def _bounded(problems: Sequence[str]) -> tuple[str, ...]:
    if len(problems) <= MAX_PROBLEMS:
        return tuple(problems)
    more = f"There are more than {MAX_PROBLEMS} problems; the others are not listed."
    return (*problems[:MAX_PROBLEMS], more)
