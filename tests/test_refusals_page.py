"""`docs/refusals.md` answers every sentence by which a party says no, and no other."""

import re
from pathlib import Path

import pytest

from tests import error_sentences

PAGE = Path(__file__).parents[1] / "docs" / "refusals.md"
ITEMS = re.findall(r"^- (.*)$", PAGE.read_text(encoding="utf-8"), re.M)
REFUSALS = error_sentences.refusals()


def test_every_refusal_of_the_code_stands_on_the_page() -> None:
    missing = [f"{one.file}: {one.words}" for one in REFUSALS if one.words not in ITEMS]
    assert not missing, "write each under its topic in docs/refusals.md"


def test_the_page_has_no_refusal_that_the_code_does_not_say() -> None:
    assert sorted(set(ITEMS) - {one.words for one in REFUSALS}) == []
    assert len(REFUSALS) > 180


@pytest.mark.parametrize(
    "topic",
    PAGE.read_text(encoding="utf-8").split("\n## ")[1:],
    ids=lambda topic: topic.split(chr(10))[0],
)
def test_each_topic_says_what_to_do_before_its_sentences(topic: str) -> None:
    what_to_do = topic.split("\n- ")[0]
    assert len(what_to_do.split()) > 30, "a title and some sentences"
