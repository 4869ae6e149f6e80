"""What a study is for is said whole, and is a part of the plan's hash."""

from dataclasses import replace

import pytest

from syft_code.errors import InvalidPlan
from syft_code.plans.plan import Plan
from syft_code.plans.study_purpose import MOST_PEOPLE
from tests.plans import PURPOSE, Keys, plan


def test_a_plan_carries_it_through_its_bytes_and_its_hash() -> None:
    keys = Keys()
    silent, said = plan(keys), plan(keys, purpose=PURPOSE)
    assert Plan.decode(said.encode()) == said
    other = replace(said, purpose=replace(PURPOSE, ethics_approval="EK 1/2026"))
    assert len({silent.hash, said.hash, other.hash}) == 3


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"aim": " "}, "none for aim"),
        ({"people": ()}, "none for people"),
        ({"people": ("Ada", "")}, "none for people"),
        ({"institution": "", "contact": "\n"}, "none for institution, contact"),
        ({"aim": "\u3164", "people": ("\u200b",)}, "none for aim, people"),
        ({"aim": "a\x00b"}, "control characters"),
        ({"ethics_approval": "\x1b[31m"}, "control characters"),
        ({"aim": 7}, "aim"),
        ({"aim": "x" * 1001}, "aim"),
        ({"people": ("x",) * (MOST_PEOPLE + 1)}, "people"),
        ({"people": "Ada"}, "people"),
    ],
)
def test_what_says_nothing_is_refused_in_a_sentence(changes: dict[str, object], words: str) -> None:
    with pytest.raises(InvalidPlan, match=words):
        replace(PURPOSE, **changes)  # type: ignore[arg-type]
