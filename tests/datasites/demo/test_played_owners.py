"""Owners who are played approve what one of them approved, nothing else, and say so."""

from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

from datasites.demo import played_owners
from syft_code.errors import NotApproved, Unavailable
from tests.waiting import until


@dataclass
class Played:
    """An owner with requests by plan hash: what the vault says of each."""

    name: str
    states: dict[str, str]
    away: bool = False
    refuses: str = ""
    broken: bool = False
    approved: list[str] = field(default_factory=list)

    def requests(self) -> list[Any]:
        if self.broken:
            raise ValueError("broken")
        if self.away:
            raise Unavailable(f"The front desk of {self.name} is away.")
        return [
            SimpleNamespace(
                plan=None
                if state == "no plan"
                else SimpleNamespace(hash=hash_, study=f"of-{hash_}"),
                state=None if state == "no plan" else SimpleNamespace(state=state),
            )
            for hash_, state in self.states.items()
        ]

    def approve(self, evidence: Any, *, anyway: bool) -> None:
        if evidence.plan.hash == self.refuses:
            raise NotApproved("The policy forbids it.")
        self.approved.append(evidence.plan.hash)
        self.states[evidence.plan.hash] = "in force"


def test_the_others_approve_what_is_in_force_at_the_first_and_undecided_at_them() -> None:
    led = Played("a", {"1": "in force", "2": "undecided", "3": "denied", "4": "no plan"})
    one = Played("b", {"1": "undecided", "2": "undecided", "3": "undecided", "4": "no plan"})
    two = Played("c", {"1": "denied"})
    said: list[str] = []
    for _ in range(2):
        played_owners.follow_once(led, [one, two], say=said.append)  # type: ignore[arg-type, list-item]
    assert (one.approved, two.approved) == (["1"], [])
    assert said == ["PLAYED: the owner of b approved study of-1, as you did."]


def test_what_one_owner_can_not_sign_keeps_nobody_else_from_signing() -> None:
    led = Played("a", {"bad": "in force", "good": "in force"})
    one = Played("b", {"bad": "undecided", "good": "undecided"}, refuses="bad")
    broken = Played("c", {"good": "undecided"}, broken=True)
    two = Played("d", {"bad": "undecided", "good": "undecided"})
    said: list[str] = []
    problems = played_owners.follow_once(led, [one, broken, two], say=said.append)  # type: ignore[arg-type, list-item]
    assert (one.approved, two.approved) == (["good"], ["bad", "good"])
    assert problems == ["The policy forbids it.", "ValueError: broken"]


def test_somebody_who_is_away_is_waited_for_and_said_once(monkeypatch: Any) -> None:
    monkeypatch.setattr(played_owners, "PAUSE_S", 0.01)
    led, one = Played("a", {"1": "in force"}), Played("b", {"1": "undecided"}, away=True)
    said: list[str] = []
    with played_owners.following("a", [led, one], say=said.append):  # type: ignore[list-item]
        until(lambda: len(said) == 2)
        one.away = False
        until(lambda: one.approved == ["1"])
    assert "PLAYED" in said[0] and "is away" in said[1] and len(said) == 3
