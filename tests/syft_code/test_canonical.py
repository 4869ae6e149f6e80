"""One byte string for one value, and problems in words that print on one line."""

from dataclasses import dataclass, field

import pytest
from pydantic import Field, TypeAdapter, ValidationError

from syft_code import canonical
from syft_code.errors import InvalidInput, InvalidMessage, InvalidPlan


@canonical.message
class Inner:
    """A part of a part."""

    count: int = 1


@canonical.message
class Example:
    """A part with a field of most kinds."""

    number: float
    maybe: float | None = None
    names: tuple[str, ...] = ()
    inner: Inner = field(default_factory=Inner)

    def __post_init__(self) -> None:
        canonical.require_types(self)


def problem_of(text: bytes) -> str:
    with pytest.raises(ValidationError) as found:
        TypeAdapter(Example).validate_json(text, strict=True)
    return canonical.first_problem(found.value)


def test_control_characters_of_a_field_that_was_sent_are_not_in_the_problem() -> None:
    """A field's name comes from outside: no escape sequence, line break or bell may pass."""
    said = problem_of(b'{"number": 1.0, "\\u001b[2J\\r\\nok\\u0007\\u202e\\u0000": 1}')
    assert said.isprintable()
    assert said == "[2Jok: Unexpected keyword argument"


def test_a_problem_has_an_end() -> None:
    said = problem_of(b'{"number": 1.0, "' + b"x" * 5000 + b'": 1}')
    assert len(said) == canonical.LONGEST_PROBLEM


def test_a_problem_never_holds_the_value() -> None:
    assert "secret" not in problem_of(b'{"number": "secret"}')


def test_a_message_with_control_characters_is_refused_in_one_line() -> None:
    with pytest.raises(InvalidMessage) as refused:
        canonical.parse(Example, b'{"\\u001b[31m\\n": 1}', what="note")
    assert str(refused.value).isprintable()


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"number": "1"}, "number"),
        ({"number": None}, "number"),
        ({"number": True}, "number"),
        ({"number": 1.0, "maybe": "x"}, "maybe"),
        ({"number": 1.0, "names": ["a"]}, "names"),
        ({"number": 1.0, "names": (1,)}, "names"),
        ({"number": 1.0, "inner": {"count": 1}}, "inner"),
    ],
)
def test_a_field_of_another_type_is_named_in_a_sentence(
    fields: dict[str, object], named: str
) -> None:
    with pytest.raises(InvalidPlan, match=f"Example must have fields .* in {named}"):
        Example(**fields)  # type: ignore[arg-type]


def test_a_whole_number_may_stand_for_a_float_and_not_the_other_way_round() -> None:
    assert canonical.encode(Example(number=1)) == canonical.encode(Example(number=1.0))
    assert Example(number=float("nan")).number != 0, "whether a number is finite is another rule"

    @dataclass(frozen=True, slots=True, kw_only=True)
    class Counted:
        __pydantic_config__ = canonical.STRICT
        count: int = Field(default=0)

    with pytest.raises(InvalidInput):
        canonical.require_types(Counted(count=1.0), error=InvalidInput)  # type: ignore[arg-type]
