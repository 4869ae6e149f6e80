"""The three answers that a rule can give."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Approve:
    """Nothing in the rules stands against it."""


@dataclass(frozen=True, slots=True)
class Deny:
    """The rules forbid it; the sentence says what would pass."""

    reason: str


@dataclass(frozen=True, slots=True)
class AskOwner:
    """The rules leave it to the owner; the sentence says what to weigh."""

    question: str


Decision = Approve | Deny | AskOwner
