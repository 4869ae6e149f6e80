"""A plan that the owner's policy lets run without being asked about, and all others."""

import time
from collections.abc import Iterator
from dataclasses import replace

import pytest

from policies.site_policy import StandingApproval
from syft_code.local_training import local_round
from syft_code.plans import messages
from syft_code.plans.messages import RoundCall
from syft_code.plans.plan import Plan
from syft_code.runtime.quiet_imports import quiet_import
from tests.datasites.hospitals import POLICY
from tests.hostile.conftest import OurSite
from tests.plans import plan

with quiet_import():
    from syft.service.request.request import RequestStatus

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def covered(ours: OurSite) -> Iterator[Plan]:
    """A plan that nobody has submitted yet and that a standing approval names."""
    wanted = plan(ours.keys, study="standing", hospitals=ours.agreed.hospitals)
    standing = StandingApproval(
        plan_hash=wanted.hash,
        researcher="alice@example.org",
        asset_version=1,
        rounds=wanted.rounds,
        expires_unix_s=time.time() + 3600,
    )
    ours.owner.adopt_policy(replace(POLICY, standing=(standing,)))
    yield wanted
    ours.owner.adopt_policy(POLICY)


def status(ours: OurSite, wanted: Plan) -> RequestStatus:
    (found,) = [
        request
        for request in ours.alice._client.requests.get_all()
        if f'"{wanted.hash}"' in request.code.raw_code
    ]
    return found.status


def test_a_covered_plan_is_approved_when_it_is_submitted_and_runs(
    ours: OurSite, covered: Plan
) -> None:
    ours.alice.submit(covered)
    assert status(ours, covered) == RequestStatus.APPROVED
    weights = local_round.first_weights(covered)
    call = RoundCall(
        plan_hash=covered.hash,
        hospital="north",
        purpose="train",
        round=1,
        weights_sha256=ours.alice.bulk.upload(weights.astype("<f4").tobytes()),
    )
    ticket = ours.alice.start_round(covered, messages.sign(call, ours.keys.researcher))
    assert ticket.state in ("queued", "running", "done")


def test_a_plan_that_differs_in_one_figure_waits_for_the_owner(
    ours: OurSite, covered: Plan
) -> None:
    other = replace(covered, rounds=covered.rounds + 1)
    ours.alice.submit(other)
    assert status(ours, other) == RequestStatus.PENDING
