"""Some hundred inputs to each parser; `python -m tests.fuzz` takes 100,000. And the fuzzer finds what is to be found."""

import os
import signal
import time
from random import Random

import pytest

from syft_code.errors import InvalidInput
from tests.fuzz import intake, messages, plans, readers, results, shares
from tests.fuzz.runner import LONGEST_SENTENCE, Parser, one_input, run

PARSERS = [p for kind in (messages, plans, shares, results, readers) for p in kind.parsers()]
INPUTS = 150


@pytest.mark.parametrize("parser", PARSERS, ids=lambda parser: parser.name)
def test_a_parser_answers_or_refuses_what_was_changed(parser: Parser) -> None:
    assert run(parser, inputs=INPUTS, seed=1).findings == []


@pytest.mark.slow
def test_the_front_desks_intake_answers_or_refuses_what_was_changed() -> None:
    (parser,) = intake.parsers()
    assert run(parser, inputs=5000, seed=1).findings == []


@pytest.mark.parametrize("parser", PARSERS[:6], ids=lambda parser: parser.name)
def test_an_input_follows_from_its_number(parser: Parser) -> None:
    assert one_input(parser, 1, 7) == one_input(parser, 1, 7)
    assert len({one_input(parser, 1, number) for number in range(20)}) > 10


def spin() -> None:
    end = time.monotonic() + 60
    while time.monotonic() < end:
        pass


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        (lambda: [][0], "IndexError at"),
        (lambda: bytes(2**32), "MemoryError at"),
        (lambda: os.kill(os.getpid(), signal.SIGSEGV), "the process ended: SIGSEGV"),
        (spin, "longer than 0.3 s"),
    ],
)
def test_the_fuzzer_finds_what_a_parser_must_not_do(
    monkeypatch: pytest.MonkeyPatch, bad, said
) -> None:
    """Input 3 of 6 is the bad one; those after it are tried all the same."""
    monkeypatch.setattr("tests.fuzz.runner.LIMIT_S", 0.3)
    third = Random("bad/0/3").randbytes(9)

    def parse(data: bytes) -> None:
        if data == third:
            bad()

    parser = Parser(name="bad", good=b"", make=lambda random: random.randbytes(9), parse=parse)
    (finding,) = run(parser, inputs=6).findings
    assert finding.number == 3 and said in finding.what


def test_an_error_that_is_expected_must_be_short() -> None:
    def parse(data: bytes) -> None:
        if data:
            raise InvalidInput("x" * (LONGEST_SENTENCE + 1))

    parser = Parser(name="long", good=b"", make=lambda _: b"x", parse=parse)
    assert [found.what for found in run(parser, inputs=1).findings] == ["2001 characters said"]
