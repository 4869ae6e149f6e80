"""One byte string for one value, and problems in words that print on one line."""

import math
import struct
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field, TypeAdapter, ValidationError

from syft_code import canonical
from syft_code.errors import InvalidInput, InvalidMessage, InvalidPlan
from syft_code.plans.messages import Signed
from tests.vectors import second


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


@pytest.mark.parametrize(
    ("bits", "text"),
    [
        ("0000000000000000", "0"),
        ("8000000000000000", "0"),
        ("0000000000000001", "5e-324"),
        ("7fefffffffffffff", "1.7976931348623157e+308"),
        ("4340000000000000", "9007199254740992"),
        ("4430000000000000", "295147905179352830000"),
        ("44b52d02c7e14af5", "9.999999999999997e+22"),
        ("44b52d02c7e14af6", "1e+23"),
        ("444b1ae4d6e2ef4e", "999999999999999700000"),
        ("444b1ae4d6e2ef50", "1e+21"),
        ("3eb0c6f7a0b5ed8c", "9.999999999999997e-7"),
        ("3eb0c6f7a0b5ed8d", "0.000001"),
        ("41b3de4355555557", "333333333.33333343"),
        ("becbf647612f3696", "-0.0000033333333333333333"),
    ],
)
def test_a_number_is_written_as_in_appendix_b_of_rfc_8785(bits: str, text: str) -> None:
    (number,) = struct.unpack(">d", bytes.fromhex(bits))
    assert canonical.text(number) == text == second.number(number)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(1 - 2**53, 2**53 - 1) | st.text()
    | st.floats(allow_nan=False, allow_infinity=False),
    lambda part: st.lists(part) | st.dictionaries(st.text(), part),
)  # fmt: skip


@given(value=JSON)
def test_what_is_read_as_plain_values_is_written_again(value: object) -> None:
    data = canonical.encode(value)
    assert canonical.encode(canonical.loads(data)) == data


@given(value=JSON)
def test_two_implementations_write_the_same_bytes(value: object) -> None:
    assert canonical.encode(value) == second.canonical(value)


def test_text_is_utf8_and_only_what_json_must_escape_is_escaped() -> None:
    assert canonical.text({"é": 'ß"\\\n\x1f\x7f'}) == '{"é":"ß\\"\\\\\\n\\u001f\x7f"}'
    names = {"\U0001f600": 1, "\ufb33": 2}
    assert list(names) == sorted(names, reverse=True), "in code points the other way round"
    assert canonical.text(names).index("\U0001f600") < canonical.text(names).index("\ufb33")


@pytest.mark.parametrize("value", [math.nan, math.inf, 2**53, "\ud800", b"", {1, 2}])
def test_what_json_cannot_hold_exactly_is_refused(value: object) -> None:
    with pytest.raises(ValueError):
        canonical.encode([value])


@pytest.mark.parametrize(
    "data",
    [
        b'{"inner":{"count":1},"maybe":null,"names":[],"number":1.0}',
        b'{"inner":{"count":1},"maybe":null,"names":[],"number":1e0}',
        b'{"inner":{"count":1},"maybe":null,"names":[],"number":-0}',
        b'{"inner":{"count":1},"maybe":null,"names":[],"number": 1}',
        b'{"inner":{"count":1},"maybe":null,"names":["\\u00e9"],"number":1}',
        b'{"inner":{"count":1},"number":1,"maybe":null,"names":[]}',
        b'{"inner":{"count":9007199254740993},"maybe":null,"names":[],"number":1}',
        b'{"inner":{"count":1},"maybe":null,"names":[],"number":NaN}',
        b'{"inner":{"count":1},"maybe":null,"names":[],"number":1,"more":1}',
        b'{"number":1}',
    ],
)
def test_other_bytes_than_the_canonical_ones_are_refused(data: bytes) -> None:
    good = b'{"inner":{"count":1},"maybe":null,"names":["\xc3\xa9"],"number":1}'
    assert canonical.parse(Example, good, what="note") == Example(number=1.0, names=("é",))
    with pytest.raises(InvalidMessage):
        canonical.parse(Example, data, what="note")


def test_of_very_many_problems_only_their_number_is_told() -> None:
    """To list a million of them took longer, and more memory, than to find them."""
    text = b"{" + b",".join(b'"%x":0' % number for number in range(2000)) + b"}"
    with pytest.raises(InvalidMessage, match=r"in the whole: 2,\d+ problems"):
        canonical.parse(Signed, text, what="message")


def test_a_plan_part_with_rules_of_its_own_is_a_message() -> None:
    """`plan_part` would put them aside."""
    with pytest.raises(TypeError, match="has rules of its own: make it a message"):

        @canonical.plan_part
        class Part:
            number: int

            def __post_init__(self) -> None:
                raise InvalidPlan("never asked")
