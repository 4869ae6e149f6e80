"""An aggregator that nobody needs can't hold a round up."""

import numpy as np
import pytest

from federation.researcher import hospital_round, study
from federation.strategy.server_optimizer import ServerState
from syft_code.errors import NotApproved
from syft_code.plans.messages import NO_PART
from syft_code.plans.plan_parts import DpSgd, Sharing
from syft_code.plans.shared_noise import SharedNoise
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


def test_partners_that_drop_out_below_m_leave_no_sum_of_a_shared_noise() -> None:
    """The round ends in a sentence, no aggregator has chosen a set, and the study goes on from none."""
    parties = federation(
        dp_sgd=DpSgd(noise_multiplier=2.0, max_grad_norm=1.0, sample_rate=0.5, steps=1),
        sharing=Sharing(ring_bits=64, fraction_bits=32),
        shared_noise=SharedNoise(colluding=1),
        evaluation=None,
    )
    for name in ("oslo", "vienna"):
        parties.hospitals[name].raises = {("train", 2): NotApproved(NO_PART)}
    outcome = parties.study.train()
    assert [record.round for record in outcome.rounds] == [1]
    assert "Round 2 needs 3 hospitals and 2 took part" in outcome.stopped
    for aggregator in parties.aggregators:
        assert set(aggregator.choices) == {("train", 1)}
        assert aggregator.held["train", 2].keys() <= {"berlin", "lisbon"}
