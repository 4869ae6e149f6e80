"""What a researcher sees while a study trains: how far it is, what it costs, nobody who stayed away."""

from dataclasses import replace

import pytest

from federation.reporting import live_view
from federation.reporting.live_view import LiveView
from federation.researcher.relay import RoundProgress
from syft_code.privacy import epsilons


class Shown:
    """A notebook's display."""

    def __init__(self) -> None:
        self.pictures: list[str] = []

    def __call__(self, view: LiveView, *, display_id: bool) -> "Shown":
        assert display_id
        self.update(view)
        return self

    def update(self, view: LiveView) -> None:
        self.pictures.append(view._repr_html_())


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> Shown:
    found = Shown()
    monkeypatch.setattr(live_view, "display", found)
    return found


def test_a_study_is_seen_to_come_further(shown, skin_demo) -> None:
    now, told = [0.0], skin_demo.outcome
    view = LiveView(told.plan, clock=lambda: now[0])
    with view.shown():
        assert f"round 0 of {told.plan.rounds}" in shown.pictures[-1]
        now[0] = 10.0
        view.on_progress(
            RoundProgress(
                round=1,
                purpose="train",
                hospital="north",
                state="running",
                step=3,
                steps=8,
                epsilon=0.0,
            )
        )
        assert "north trains" in shown.pictures[-1] and "3 of 8 steps" in shown.pictures[-1]
        for record in told.rounds:
            now[0] += 10.0
            view.on_round(record, told.weights)
            assert "trains" not in shown.pictures[-1]
    last = shown.pictures[-1]
    spent = max(told.rounds[-1].epsilon.values())
    assert f"ε {epsilons.at_least(spent)} of the" in last and "<polyline" in last
    assert f"round {len(told.rounds)} of {told.plan.rounds}" in last
    assert f"epsilon {epsilons.at_least(spent)}" in repr(view)


def test_it_is_not_drawn_more_often_than_people_see(shown, skin_demo) -> None:
    told = skin_demo.outcome
    view = LiveView(told.plan, clock=lambda: 0.0)
    with view.shown():
        for step in range(1000):
            view.on_progress(
                RoundProgress(
                    round=1,
                    purpose="train",
                    hospital="north",
                    state="running",
                    step=step,
                    steps=1000,
                    epsilon=0.0,
                )
            )
    assert len(shown.pictures) == 2


def test_who_took_no_part_is_a_number_and_what_owners_let_be_read_is_said_once(
    shown, skin_demo
) -> None:
    told = skin_demo.outcome
    view = LiveView(told.plan, clock=lambda: 0.0)
    with view.shown():
        for _ in range(2):
            record = replace(told.rounds[0], absent=2, metrics={}, reasons=("Not <b>yet</b>.",))
            view.on_round(record, told.weights)
    assert "2 took no part" in shown.pictures[-1]
    assert shown.pictures[-1].count("Not &lt;b&gt;yet&lt;/b&gt;.") == 1
