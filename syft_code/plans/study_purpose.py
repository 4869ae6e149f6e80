"""What a study is for and who answers for it: what an ethics board reads first."""

import re
from typing import Annotated

from syft_code import canonical
from syft_code.errors import require

MOST_PEOPLE = 20
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_BLANK = frozenset("\u115f\u1160\u3164\uffa0")
"""Letters by their kind that show nothing."""


@canonical.message
class StudyPurpose:
    """What a study is for, in the researcher's words.

    It is a part of the plan: the researcher's signature, each owner's approval and the certificate are on
    it too. `ethics_approval` is a number and who gave it, "" if there is none; `contact` is for
    questions on data protection. Nobody checks what it says.

    >>> StudyPurpose(aim="Tell melanoma early.", people=("Ada Lovelace",), institution="University of X",
    ...     ethics_approval="EK 1234/2026, Medical University of X", contact="privacy@x.example").people
    ('Ada Lovelace',)
    """

    aim: canonical.ShortText
    people: Annotated[tuple[canonical.ShortText, ...], canonical.at_most(MOST_PEOPLE)]
    institution: canonical.ShortText
    contact: canonical.ShortText
    ethics_approval: canonical.ShortText = ""

    def __post_init__(self) -> None:
        canonical.require_types(self)
        said = {
            "aim": [self.aim],
            "people": list(self.people) or [""],
            "institution": [self.institution],
            "contact": [self.contact],
        }
        lacking = [name for name, texts in said.items() if not all(map(_has_words, texts))]
        require(
            not lacking,
            f"A study's purpose must have words for aim, people, institution and contact, and has "
            f"none for {', '.join(lacking)}.",
        )
        everything = "".join((*said["aim"], *self.people, self.institution, self.contact))
        require(
            not _CONTROL.search(everything + self.ethics_approval),
            "A study's purpose must be plain text on one line each, without control characters.",
        )


def _has_words(text: str) -> bool:
    """Whether anybody can read something: a letter or a digit that shows."""
    return any(character.isalnum() and character not in _BLANK for character in text)
