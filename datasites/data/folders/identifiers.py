"""The unit of privacy is a person, and a person is what an identifier says, not how it is spelt.

    text ─ normal ─▶ one spelling ─ pattern ─▶ the part that names a person ─ same ─▶ a person

Where two identifiers differ only by something that a registry might have added or lost (capital
letters, leading zeros, the number of a scan), nobody but the owner knows whether they are one
person: the owner says so in the mapping, and until then nothing is read.
"""

import re
import unicodedata
from collections.abc import Callable, Sequence
from functools import partial
from typing import Literal

from datasites.data.folders.safe_files import printable
from syft_code import canonical
from syft_code.errors import InvalidData, require

Difference = Literal["case", "leading_zeros", "scan_number"]
"""What two identifiers of one person may differ by."""

LONGEST = 200
LONGEST_PATTERN = 200
_MISSING = frozenset(
    {
        "na",
        "n/a",
        "n.a.",
        "nan",
        "null",
        "none",
        "nil",
        "unknown",
        "missing",
        "not available",
        "tbd",
        "x",
        "xx",
        "xxx",
    }
) | frozenset({"#n/a", "#na", "#ref!", "#value!", "#name?", "#null!", "#div/0!"})
_EXPONENT = re.compile(r"[+-]?\d+([.,]\d+)?[eE]\+\d+")
_WHOLE = re.compile(r"([+-]?\d+)[.]0+")
_ZEROS = re.compile(r"(?<!\d)0+(?=\d)")
_SCAN = re.compile(
    r"(?P<person>.*\d.*?|.+?(?=[-_. ]+(?:scan|visit|ses|session|time|tp|fu|v|t)))"
    r"[-_. ]+(?:scan|visit|ses|session|time|tp|fu|v|t)?[-_. ]*\d{1,8}",
    re.IGNORECASE,
)
_SAID: dict[Difference, str] = {
    "case": "capital letters",
    "leading_zeros": "leading zeros",
    "scan_number": "a number at the end, as of a scan or a visit",
}


@canonical.message
class PersonRule:
    """The owner's word on who is who: `[persons]` of a mapping.

    `same` names differences that do not make two people: identifiers that differ by them alone
    are one person. `different` names those that do. `pattern` is a regular expression with a
    group `person`, which must match all of an identifier; the group alone is the identifier.
    """

    same: tuple[Difference, ...] = ()
    different: tuple[Difference, ...] = ()
    pattern: str = ""

    def __post_init__(self) -> None:
        require(
            not {*self.same} & {*self.different},
            "persons: a difference can't be both same and different.",
            error=InvalidData,
        )
        if self.pattern:
            require(
                len(self.pattern) <= LONGEST_PATTERN
                and "person" in _compiled(self.pattern).groupindex,
                "persons: pattern must be a regular expression of at most "
                f"{LONGEST_PATTERN} characters with a group (?P<person>...).",
                error=InvalidData,
            )


def normal(text: str) -> str:
    """One spelling: composed characters (NFC), no space around, one space within, 12 for 12.0.

    >>> normal(" 12.0 "), normal("A  1"), normal("007")
    ('12', 'A 1', '007')
    """
    text = " ".join(
        unicodedata.normalize("NFC", text).replace("\u200b", "").replace("\ufeff", "").split()
    )
    whole = _WHOLE.fullmatch(text)
    return whole[1] if whole else text


def persons(
    identifiers: Sequence[str],
    rule: PersonRule,
    *,
    where: Callable[[int], str],
    mapping: str,
) -> list[str]:
    """The person of each identifier.

    `where(i)` says where the owner finds identifier i; `mapping` is the file that holds `rule`.

    Raises:
        InvalidData: naming the first text that names nobody, or two identifiers of which the
            owner must say whether they are one person.
    """
    names = [_person(text, rule, where=partial(where, i)) for i, text in enumerate(identifiers)]
    for difference in _SAID:
        if difference not in (*rule.same, *rule.different):
            _require_apart(names, difference, where=where, mapping=mapping)
    return names


def _person(text: str, rule: PersonRule, *, where: Callable[[], str]) -> str:
    name = normal(text)
    if fault := _fault(name):
        raise InvalidData(f"{where()}: must name a person{fault}")
    if rule.pattern:
        match = _compiled(rule.pattern).fullmatch(name)
        if match is None or not match["person"]:
            raise InvalidData(
                f"{where()}: '{printable(name)}' must match the pattern of [persons], and does not. Mend the "
                "name or the pattern."
            )
        name = match["person"]
    for difference in rule.same:
        name = _without(name, difference)
    return name


def _fault(name: str) -> str:
    """Why a text names nobody, as the end of a sentence."""
    if name.casefold() in _MISSING or not any(map(str.isalnum, name)):
        return f", and '{printable(name)}' is what stands for a missing value. Fill it in or remove it."
    if _EXPONENT.fullmatch(name):
        return (
            f", and '{printable(name)}' is a number that a spreadsheet has rounded: different people may "
            "have become one. Export the column as text again."
        )
    if len(name) > LONGEST:
        return f" in {LONGEST} characters at most, and has {len(name):,}. Mend it."
    return ""


def _require_apart(
    names: Sequence[str],
    difference: Difference,
    *,
    where: Callable[[int], str],
    mapping: str,
) -> None:
    first: dict[str, tuple[str, int]] = {}
    pairs: dict[str, tuple[int, int]] = {}
    for i, name in enumerate(names):
        found, at = first.setdefault(_without(name, difference), (name, i))
        if found != name:
            pairs.setdefault(_without(name, difference), (at, i))
    if not pairs:
        return
    one, other = next(iter(pairs.values()))
    raise InvalidData(
        f"{where(other)}: '{printable(names[one])}' and '{printable(names[other])}' differ by {_SAID[difference]} "
        f"alone ({len(pairs):,} such {'group' if len(pairs) == 1 else 'groups'}), and may be one person. Say "
        f'which in {mapping}: [persons] same = ["{difference}"] if each group is one person, '
        f'different = ["{difference}"] if not.'
    )


def _without(name: str, difference: Difference) -> str:
    match difference:
        case "case":
            return name.casefold()
        case "leading_zeros":
            return _ZEROS.sub("", name)
        case "scan_number":
            found = _SCAN.fullmatch(name)
            return found["person"] if found else name


def _compiled(pattern: str) -> re.Pattern[str]:
    try:
        return re.compile(pattern)
    except (re.error, OverflowError, RecursionError):
        raise InvalidData(
            f"persons: pattern must be a regular expression, got '{printable(pattern)}'."
        ) from None
