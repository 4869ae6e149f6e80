"""An aggregator that nobody needs can't hold a round up."""

import numpy as np
import pytest

from federation.researcher import hospital_round, study
from federation.strategy.server_optimizer import ServerState
from syft_code.errors import NotApproved
from syft_code.plans.messages import NO_PART
from syft_code.plans.plan_parts import Sharing
from tests.federation.stand_in_parties import federation

PROMISED = ("berlin", "lisbon", "oslo")


@pytest.fixture(autouse=True)
def without_a_network(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hospital_round, "POLL_S", 0.001)
    monkeypatch.setattr(study, "ASK_AGAIN_S", 0.01)


@pytest.mark.parametrize("liar", [0, 1, 2])
def test_one_aggregator_that_is_not_needed_pins_no_study_to_a_set(liar: int) -> None:
    """It claims a set that can't be had; the other two have promised nothing, and are enough."""
    parties = federation(sharing=Sharing(needed=2), evaluation=None)
    parties.aggregators[liar].choose_for_good(("train", 1), PROMISED)
    parties.hospitals["berlin"].raises = {("train", 1): NotApproved(NO_PART)}
    outcome = parties.study.train()
    assert outcome.stopped == ""
    assert outcome.rounds[0].trained == ("lisbon", "oslo", "vienna")
    assert [record.absent for record in outcome.rounds] == [1, 0, 0]
    first = ServerState.first(outcome.plan).weights
    np.testing.assert_allclose(outcome.weights, first + 3, atol=1e-4)
