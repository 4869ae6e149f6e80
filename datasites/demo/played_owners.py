"""Owners who are played while a learner is alone with a federation: they approve what one of them approved.

Only for a federation whose owners are all the learner. Each step is said, and marked as played.
"""

import contextlib
import threading
from collections.abc import Callable, Iterator, Sequence

from datasites.owner.owner import Owner
from syft_code.errors import ConsiliumError

PAUSE_S = 2.0
Say = Callable[[str], None]


@contextlib.contextmanager
def following(leader: str, owners: Sequence[Owner], *, say: Say) -> Iterator[None]:
    """While the block lasts, all other owners approve what the owner of `leader` approved."""
    say(
        f"You are the owner of {leader}. The other owners are PLAYED: they approve what you approve "
        "there, a moment later."
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
        try:
            follow_once(led, others, say=say)
        except ConsiliumError as problem:  # somebody is away: it is tried again
            if str(problem) not in told:
                say(f"PLAYED owners wait: {problem}")
            told.add(str(problem))


def follow_once(led: Owner, others: Sequence[Owner], *, say: Say) -> None:
    """Approve at the others what is in force at one and undecided there."""
    approved = {
        one.plan.hash
        for one in led.requests()
        if one.plan is not None and one.state is not None and one.state.state == "in force"
    }
    for owner in others if approved else ():
        for evidence in owner.requests():
            plan, state = evidence.plan, evidence.state
            if plan and state and plan.hash in approved and state.state == "undecided":
                owner.approve(evidence, anyway=True)
                say(f"PLAYED: the owner of {owner.name} approved study {plan.study}, as you did.")
