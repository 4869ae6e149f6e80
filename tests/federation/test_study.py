"""A study keeps what was paid for."""

import numpy as np
import pytest

from federation.study import Study
from syft_code import envelope
from syft_code.messages import Ticket
from tests.plans import Keys, plan


def test_a_round_whose_evaluation_finds_too_few_hospitals_keeps_its_training(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    keys = Keys()
    agreed = plan(keys)
    study = Study(agreed, hospitals=[], aggregators=[], key=keys.researcher)

    def ask_all(purpose: str, number: int, *rest: object) -> tuple[dict, dict]:
        if purpose == "evaluate":
            return {}, {hospital.name: "Not enough is left." for hospital in agreed.hospitals}
        ticket = Ticket(
            ticket="t",
            purpose="train",
            round=number,
            state="done",
            step=3,
            steps=3,
            epsilon=1.0,
            delta=1e-5,
        )
        return {hospital.name: (ticket, 10) for hospital in agreed.hospitals}, {}

    monkeypatch.setattr(study, "_ask_all", ask_all)
    monkeypatch.setattr(
        study, "_collect", lambda *a: np.ones(envelope.vector_length(agreed, "train"))
    )
    outcome = study.train()
    assert outcome.stopped == ""
    assert [record.round for record in outcome.rounds] == [1, 2, 3]
    assert outcome.rounds[-1].metrics == {} and outcome.rounds[-1].evaluated == ()
