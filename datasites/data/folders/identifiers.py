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

from datasites.data.folders.reading import counted
from datasites.data.folders.safe_files import printable
from syft_code import canonical
from syft_code.errors import InvalidData, require

Difference = Literal["case", "leading_zeros", "scan_number"]
"""What two identifiers of one person may differ by."""

LONGEST = 200
LONGEST_PATTERN = 200
MISSING = frozenset(
    {"", "?", ".", "-", "--", "na", "n/a", "n.a.", "nan", "null", "none", "nil", "unknown", "missing", "not available",
     "#n/a", "#na", "#ref!", "#value!", "#name?", "#null!", "#div/0!"}
)  # fmt: skip
"""Words of a cell that says nothing, in small letters."""
_NOBODY = MISSING | {
    "tbd", "tba", "x", "xx", "xxx", "k.a.", "unbekannt", "leer", "(leer)", "inconnu", "desconocido", "sconosciuto",
    "(blank)", "blank", "<na>", "nat", "undefined", "not known", "anonymous", "anonym", "n.d.", "no id",
    "#nv", "#num!", "#zahl!", "#wert!", "#bezug!",
}  # fmt: skip
"""Also what spreadsheets and registries of other languages write in place of a name."""
_EXPONENT = re.compile(r"[+-]?(\d+([.,]\d+)?[eE]\+|\d+[.,]\d+[eE]-?)\d+")
_WHOLE = re.compile(r"([+-]?\d+)[.]0+")
_ZEROS = re.compile(r"(?<!\d)0+(?=\d)")
_DATE = r"\d{4}[-_. ]\d{1,2}[-_. ]\d{1,2}|\d{1,2}[-_. ]\d{1,2}[-_. ]\d{4}"
_WORDS = "scan|visit|ses|session|time|tp|fu|v|t"
_DATED = re.compile(
    rf"(?P<person>.+?)[-_. ]*[-_. (\[](?:{_WORDS})?[-_. ]*(?:{_DATE})[)\]]?", re.IGNORECASE
)
_SCAN = re.compile(
    rf"(?P<person>.*\d.*?|.+?(?=[-_. (\[]+(?:{_WORDS})))"
    rf"(?:[-_. ]+(?:{_WORDS})?[-_. ]*0*\d{{1,8}}|[-_. ]+(?:{_WORDS})[-_. ]*\d{{1,8}}[a-z]"
    rf"|[-_. ]*[(\[][-_. ]*(?:{_WORDS})?[-_. ]*\d{{1,8}}[)\]])",
    re.IGNORECASE,
)
_UNSEEN = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\ufe00-\ufe0f\U000e0100-\U000e01ef]"
)
"""Characters without a shape that Unicode does not call formats."""
_MARKS = frozenset("-_. ([")
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
    """One spelling: of characters that look alike one (NFKC), of dashes `-`, no unseen ones, 12 for 12.0.

    Space around is cut off, and within is one. Letters that only look alike, as those of two
    alphabets, stay two.

    >>> normal(" 12.0 "), normal("A  1"), normal("007"), normal("P\u20111")
    ('12', 'A 1', '007', 'P-1')
    """
    if not (text.isascii() and text.isprintable()):
        kept = map(_plain_character, _UNSEEN.sub("", unicodedata.normalize("NFKC", text)))
        text = unicodedata.normalize("NFC", "".join(kept))
    text = " ".join(text.split())
    whole = _WHOLE.fullmatch(text)
    return whole[1] if whole else text


def _plain_character(char: str) -> str:
    """A dash as `-`, a digit of any script as 0 to 9; nothing for a character without a shape."""
    match unicodedata.category(char):
        case "Pd":
            return "-"
        case "Nd":
            return str(unicodedata.decimal(char))
        case "Cf":
            return ""
        case "Cc":
            return " " if char.isspace() else ""
    return "-" if char == "\u2212" else char


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
    asked = [one for one in _SAID if one not in (*rule.same, *rule.different)]
    _require_apart(names, asked, where=where, mapping=mapping)
    return names


def remarks(identifiers: Sequence[str], found: Sequence[str], rule: PersonRule) -> tuple[str, ...]:
    """How many persons the owner's word has made of how many identifiers; private, as all counts are."""
    before, after = len(set(map(normal, identifiers))), len(set(found))
    if not (rule.same or rule.pattern) or after == before:
        return ()
    one, many = "{} person", "{} persons"
    return (f"{before:,} identifiers are {counted(after, one, many)} by [persons].",)


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
    return without(name, rule.same)


def _fault(name: str) -> str:
    """Why a text names nobody, as the end of a sentence."""
    if name.casefold() in _NOBODY or not any(map(str.isalnum, name)):
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
    asked: Sequence[Difference],
    *,
    where: Callable[[int], str],
    mapping: str,
) -> None:
    """Refuse names that are one but for what the owner has not spoken of, be it several things at once."""
    groups: dict[str, dict[str, int]] = {}
    for i, name in enumerate(names):
        groups.setdefault(without(name, asked), {}).setdefault(name, i)
    open_groups = [(key, group) for key, group in groups.items() if len(group) > 1]
    if not open_groups:
        return
    _key, group = open_groups[0]
    one, *others = group
    other = max(others, key=lambda name: len(_needed(one, name, asked)))
    needed = _needed(one, other, asked)
    listed = ", ".join(f'"{difference}"' for difference in needed)
    many = len(open_groups)
    raise InvalidData(
        f"{where(group[other])}: '{printable(one)}' and '{printable(other)}' differ by "
        f"{' and by '.join(_SAID[difference] for difference in needed)} alone ({many:,} such "
        f"{'group' if many == 1 else 'groups'}), and may be one person. Say which in {mapping}: [persons] same = "
        f"[{listed}] if each group is one person (here '{printable(without(one, needed))}'), different = [{listed}] "
        "if not."
    )


def _needed(one: str, other: str, asked: Sequence[Difference]) -> tuple[Difference, ...]:
    """The differences between two names, each of which alone would keep them apart."""
    needed = tuple(asked)
    for difference in asked:
        fewer = tuple(kept for kept in needed if kept != difference)
        if without(one, fewer) == without(other, fewer):
            needed = fewer
    return needed


def without(name: str, differences: Sequence[Difference]) -> str:
    """A normal name without them, in an order of our own: what is cut off last may have had leading zeros.

    >>> without("P-007_scan1", ("case", "leading_zeros", "scan_number"))
    'p-7'
    """
    if "case" in differences:
        name = name.casefold()
    if "leading_zeros" in differences and "0" in name:
        name = _ZEROS.sub("", name)
    # Millions of names: few of them can have a scan's number, and the pattern is slow.
    if "scan_number" in differences and _MARKS & {*name} and _may_count(name):
        found = _DATED.fullmatch(name) or _SCAN.fullmatch(name)
        name = found["person"] if found else name
    return name


def _may_count(name: str) -> bool:
    return name[-1] in ")]" or any(char.isdigit() for char in name[-2:])


def _compiled(pattern: str) -> re.Pattern[str]:
    try:
        return re.compile(pattern)
    except (re.error, OverflowError, RecursionError):
        raise InvalidData(
            f"persons: pattern must be a regular expression, got '{printable(pattern)}'."
        ) from None
