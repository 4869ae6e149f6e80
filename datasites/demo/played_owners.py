"""Owners who are played while a learner is alone with a federation: they approve what one of them approved.

Only for a federation whose owners are all the learner. Each step is said, and marked as played.
"""

import contextlib
import threading
from collections.abc import Callable, Iterator, Sequence

from datasites.owner.owner import Owner
from datasites.review.evidence import Evidence
from syft_code.errors import ConsiliumError
from syft_code.plans.plan import Plan

PAUSE_S = 2.0
Say = Callable[[str], None]


@contextlib.contextmanager
def following(leader: str, owners: Sequence[Owner], *, say: Say) -> Iterator[None]:
    """While the block lasts, all other owners approve what the owner of `leader` approved."""
    say(
        f"You are the owner of {leader}. The other owners are PLAYED: they approve what you approve "
        "there, a moment later, without your limits; what you take back they don't."
    )
    (led,) = [owner for owner in owners if owner.name == leader]
    others = [owner for owner in owners if owner.name != leader]
    ended = threading.Event()
    thread = threading.Thread(target=_follow, args=(led, others, say, ended), daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def _follow(led: Owner, others: Sequence[Owner], say: Say, ended: threading.Event) -> None:
    told: set[str] = set()
    while not ended.wait(PAUSE_S):
        for problem in follow_once(led, others, say=say):  # it is tried again
            if problem not in told:
                say(f"PLAYED owners wait: {problem}")
            told.add(problem)


def follow_once(led: Owner, others: Sequence[Owner], *, say: Say) -> list[str]:
    """Approve at the others what is in force at one and undecided there; gives what did not work, and why."""
    problems: list[str] = []
    approved = {plan.hash for _, plan in _of_state(led, "in force", problems)}
    for owner in others if approved else ():
        for evidence, plan in _of_state(owner, "undecided", problems):
            if plan.hash in approved:
                with _noted(problems):
                    owner.approve(evidence, anyway=True)
                    say(
                        f"PLAYED: the owner of {owner.name} approved study {plan.study}, as you did."
                    )
    return problems


def _of_state(owner: Owner, state: str, problems: list[str]) -> list[tuple[Evidence, Plan]]:
    """An owner's requests that the vault says this of."""
    with _noted(problems):
        return [
            (one, one.plan)
            for one in owner.requests()
            if one.plan is not None and one.state is not None and one.state.state == state
        ]
    return []


@contextlib.contextmanager
def _noted(problems: list[str]) -> Iterator[None]:
    """What goes wrong at one owner keeps no other from deciding."""
    try:
        yield
    except ConsiliumError as problem:
        problems.append(str(problem))
    except Exception as problem:
        problems.append(f"{type(problem).__name__}: {problem}")
