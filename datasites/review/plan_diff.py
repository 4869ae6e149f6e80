"""What differs between the plan that is asked for and the one that was approved before.

The traveller's text follows from a plan's hash, so its two lines of difference say only
*that* a plan changed. What changed stands here, field by field.

Guarantee: two plans with different hashes have at least one row, and no row shows the same
    words on both sides.
"""

import difflib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from syft_code import canonical
from syft_code.plans.plan import Plan
from syft_code.plans.roster import HEX_KEY

ABSENT = "(not there)"
SHORT_KEY = 16
"""So many digits of a key or hash are shown where all 64 would hide the rest."""
MAX_TEXT = 80


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One field of a plan, in words: as it was approved, and as it is asked for now."""

    field: str
    before: str
    after: str


def of_plans(before: Plan, after: Plan) -> tuple[Change, ...]:
    """Every field in which two plans differ, the roster's members by name."""
    return tuple(_changes("", json.loads(before.encode()), json.loads(after.encode())))


def of_code(before: str, after: str) -> str:
    """The unified diff of two texts, empty if they are the same.

    >>> print(of_code("a\\nb", "a\\nc"))
    --- approved before
    +++ asked for now
    @@ -1,2 +1,2 @@
     a
    -b
    +c
    """
    lines = difflib.unified_diff(
        before.split("\n"), after.split("\n"), "approved before", "asked for now", lineterm=""
    )
    return "\n".join(lines)


def short(key: str) -> str:
    """A key as a person compares it; all of it stands in the evidence's JSON.

    >>> short("ab" * 32)
    'abababababababab…'
    """
    return f"{key[:SHORT_KEY]}…"


def _changes(path: str, before: Any, after: Any) -> Iterator[Change]:
    if before == after:
        return
    if _same_kind(before, after):
        for name in dict.fromkeys((*after, *before)):
            inner = f"{path}.{name}" if path else name
            yield from _changes(inner, before.get(name), after.get(name))
    elif _named(before) and _named(after):
        yield from _members(path, before, after)
    elif _listed(before) and _listed(after) and len(before) == len(after):
        for number, (old, new) in enumerate(zip(before, after, strict=True), start=1):
            yield from _changes(f"{path}.{number}", old, new)
    else:
        yield _change(path, before, after)


def _members(path: str, before: list[Any], after: list[Any]) -> Iterator[Change]:
    """Who joined, who left, who changed; and the order, if those who stayed stand in another."""
    olds = {member["name"]: member for member in before}
    news = {member["name"]: member for member in after}
    for name in dict.fromkeys((*news, *olds)):
        old, new = olds.get(name), news.get(name)
        if old is None or new is None:
            yield _change(f"{path}.{name}", old, new)
        else:
            yield from _changes(f"{path}.{name}", old, new)
    stayed = [name for name in olds if name in news]
    now = [name for name in news if name in olds]
    if stayed != now:
        yield Change(
            field=f"order of {path}",
            before=", ".join(stayed),
            after=", ".join(now),
        )


def _same_kind(before: Any, after: Any) -> bool:
    """Two objects of one kind; a convolution and a pooling are not compared by their fields."""
    return (
        isinstance(before, dict)
        and isinstance(after, dict)
        and before.get("kind") == after.get("kind")
    )


def _listed(value: Any) -> bool:
    """A list of objects, such as layers; numbers are read better in one row."""
    return isinstance(value, list) and all(isinstance(item, dict) for item in value)


def _named(value: Any) -> bool:
    return _listed(value) and all("name" in item for item in value)


def _change(path: str, before: Any, after: Any) -> Change:
    """Both sides in short words, or in full where the short ones do not differ."""
    old, new = _words(before), _words(after)
    if old == new:
        old, new = json.dumps(before), json.dumps(after)
    return Change(field=path, before=old, after=new)


def _words(value: Any) -> str:
    match value:
        case None:
            return ABSENT
        case dict():
            return ", ".join(f"{name} {_words(item)}" for name, item in value.items())
        case list():
            return "; ".join(_words(item) for item in value) or "none"
        case str() if HEX_KEY.fullmatch(value):
            return short(value)
        case str() if len(value) > MAX_TEXT:
            return f"{len(value)} characters, SHA-256 {short(canonical.sha256(value.encode()))}"
        case str():
            return value
        case _:
            return json.dumps(value)
