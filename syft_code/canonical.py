"""One byte string for one value: canonical JSON, its SHA-256, and strict parsing.

Plans and signed messages are frozen dataclasses. `encode` writes one as JSON with
sorted keys and no spaces, so that equal values have equal bytes on every machine;
`parse` reads such bytes back and refuses anything else.
"""

import dataclasses
import functools
import hashlib
import json
from collections.abc import Mapping
from typing import Any, TypeVar, dataclass_transform, get_type_hints

from pydantic import ConfigDict, TypeAdapter, ValidationError

from syft_code.errors import InvalidInput, InvalidMessage, InvalidPlan

STRICT = ConfigDict(extra="forbid", allow_inf_nan=False, strict=True)
T = TypeVar("T")


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
    kind.__post_init__ = require_types  # type: ignore[attr-defined]
    return message(kind)


LONGEST_PROBLEM = 400
_WHOLE = "the whole"
_FLOATS = (float, float | None)


@functools.cache
def _adapter(kind: Any) -> "TypeAdapter[Any]":
    """Making one costs far more than using it."""
    return TypeAdapter(kind)


def _plain(value: Any) -> Any:
    """Turn dataclasses and tuples into what JSON knows; a float field is written as a float."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = ((f, getattr(value, f.name)) for f in dataclasses.fields(value))
        return {f.name: _number(v) if f.type in _FLOATS else _plain(v) for f, v in fields}
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return [_plain(item) for item in value]
    return value


def _number(value: float | None) -> float | None:
    return None if value is None else float(value)


def encode(value: Any) -> bytes:
    """Write a value as canonical JSON: sorted keys, no spaces, ASCII, no NaN.

    >>> encode({"b": (1, 2), "a": 0.5})
    b'{"a":0.5,"b":[1,2]}'
    """
    text = json.dumps(
        _plain(value), sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False
    )
    return text.encode("ascii")


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
    if encode(value) != data:
        raise error(
            f"A {what} must be in canonical form: sorted keys, no spaces, floats as floats."
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
    first = found.errors(include_url=False, include_input=False)[0]
    field = ".".join(str(part) for part in first["loc"]) or _WHOLE
    said = f"{field}: {first['msg'].removeprefix('Value error, ')}"
    return "".join(c for c in said if c.isprintable())[:LONGEST_PROBLEM]
