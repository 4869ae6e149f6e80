"""One byte string for one value: canonical JSON, its SHA-256, and strict parsing.

Plans and signed messages are frozen dataclasses. `encode` writes one in the JSON
Canonicalization Scheme (RFC 8785), so that equal values have equal bytes on every machine and
in every language; `parse` reads such bytes back and refuses anything else.
"""

import dataclasses
import functools
import hashlib
import json
from collections.abc import Mapping
from typing import Annotated, Any, TypeVar, dataclass_transform, get_type_hints

import rfc8785
from pydantic import ConfigDict, Field, TypeAdapter, ValidationError

from syft_code.errors import InvalidInput, InvalidMessage, InvalidPlan

STRICT = ConfigDict(extra="forbid", allow_inf_nan=False, strict=True)
T = TypeVar("T")
ShortText = Annotated[str, Field(max_length=1000)]
"""A name, a key, an address: what it may be exactly is its owner's business."""


def at_most(items: int) -> Any:
    """How many items a tuple of a message may have; reading it ends at the first one that is wrong.

    Without that each wrong item is a problem of its own: some 100,000 of them in a plan take a
    second and 700 MiB.
    """
    return Field(max_length=items, fail_fast=True)


@dataclass_transform(
    frozen_default=True, kw_only_default=True, field_specifiers=(dataclasses.field,)
)
def message(kind: type[T]) -> type[T]:
    """Make a class a frozen dataclass that outside text may be parsed into, strictly."""
    kind.__pydantic_config__ = STRICT  # type: ignore[attr-defined]
    return dataclasses.dataclass(frozen=True, slots=True, kw_only=True)(kind)


@dataclass_transform(
    frozen_default=True, kw_only_default=True, field_specifiers=(dataclasses.field,)
)
def plan_part(kind: type[T]) -> type[T]:
    """The same for a part of a plan without rules of its own: its types are checked in Python too."""
    if "__post_init__" in vars(kind):
        raise TypeError(f"{kind.__name__} has rules of its own: make it a message.")
    kind.__post_init__ = require_types  # type: ignore[attr-defined]
    return message(kind)


LONGEST_PROBLEM = 400
MOST_PROBLEMS = 1000
_WHOLE = "the whole"
LARGEST_EXACT = 2**53
"""From here on a double may skip a whole number."""


@functools.cache
def _adapter(kind: Any) -> "TypeAdapter[Any]":
    """Making one costs far more than using it."""
    return TypeAdapter(kind)


def _plain(value: Any) -> Any:
    """Turn dataclasses and tuples into what JSON knows."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: _plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return [_plain(item) for item in value]
    return value


def encode(value: Any) -> bytes:
    """Write a value as canonical JSON; a NaN, an infinity or a number past 2^53 raises.

    Raises:
        ValueError: if JSON can't hold the value, or can't hold it exactly.
    Source: RFC 8785 (JCS), section 3.2.

    >>> encode({"b": (1, 2.0), "a": 0.5})
    b'{"a":0.5,"b":[1,2]}'
    """
    return rfc8785.dumps(_plain(value))


def text(value: Any) -> str:
    """The canonical JSON of a value as text."""
    return encode(value).decode("utf-8")


def loads(data: bytes) -> Any:
    """Read JSON as plain values that `encode` writes again; all numbers are doubles, as in RFC 8785.

    >>> loads(b"[1,100000000000000000]")
    [1, 1e+17]
    """
    return json.loads(data, parse_int=_whole_number)


def _whole_number(digits: str) -> int | float:
    number = float(digits)
    return int(digits) if abs(number) < LARGEST_EXACT else number


def sha256(data: bytes | bytearray | memoryview) -> str:
    """SHA-256 of some bytes, as 64 hexadecimal digits.

    >>> sha256(b"")[:8]
    'e3b0c442'
    """
    return hashlib.sha256(data).hexdigest()


def parse(kind: Any, data: bytes, *, what: str, error: type[InvalidInput] = InvalidMessage) -> Any:
    """Read JSON into a dataclass, or into one of a union of them; refuse anything else.

    The bytes must be the canonical ones: what is signed or hashed is what is read.

    Raises:
        InvalidInput: of the class `error`, naming the first field that is wrong.
    """
    try:
        value = _adapter(kind).validate_json(data, strict=True)
    except ValidationError as problem:
        raise error(f"A {what} must be well formed; in {first_problem(problem)}.") from None
    try:
        same = encode(value) == data
    except ValueError:  # a whole number past 2^53
        same = False
    if not same:
        raise error(
            f"A {what} must be in canonical form (RFC 8785, JCS): sorted keys, no spaces, numbers "
            "in their shortest form."
        )
    return value


def require_types(part: Any, *, error: type[InvalidInput] = InvalidPlan) -> None:
    """Raise `error`, in a sentence, unless each field of a dataclass has the type that it declares.

    Outside text is checked as it is read; this is for what is written in Python. A whole number
    may stand where a float belongs, nothing else is converted. Called first in `__post_init__`.
    """
    kind: Any = type(part)
    for name, adapter in _fields_of(kind):
        try:
            adapter.validate_python(getattr(part, name), strict=True)
        except ValidationError as problem:
            said = first_problem(problem).removeprefix(f"{_WHOLE}: ")
            got = type(getattr(part, name)).__name__
            raise error(
                f"{type(part).__name__} must have fields of the right types; in {name}, {said}, got "
                f"{got if got != 'type' else 'a class'}."
            ) from None


@functools.cache
def _fields_of(kind: Any) -> "tuple[tuple[str, TypeAdapter[Any]], ...]":
    hints = get_type_hints(kind, include_extras=True)
    return tuple((f.name, _adapter(hints[f.name])) for f in dataclasses.fields(kind))


def first_problem(found: ValidationError) -> str:
    """The first field that is wrong and what is wrong with it, without the value that it has."""
    if found.error_count() > MOST_PROBLEMS:  # to list them takes longer than to find them
        return f"{_WHOLE}: {found.error_count():,} problems"
    first = found.errors(include_url=False, include_input=False)[0]
    field = ".".join(str(part) for part in first["loc"]) or _WHOLE
    said = f"{field}: {first['msg'].removeprefix('Value error, ')}"
    return "".join(c for c in said if c.isprintable())[:LONGEST_PROBLEM]
