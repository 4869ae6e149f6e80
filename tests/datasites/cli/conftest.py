"""Three hospitals, once for all tests of the owner's commands and pages."""

from collections.abc import Iterator

import pytest
from nacl.signing import SigningKey

from datasites import site_processes
from datasites.owner.owner import Owner
from federation.researcher.storage import joining
from federation.researcher.syft_client import HospitalClient
from syft_code.operation.supervisor import running
from tests.datasites.command_line import Ours, entry_of, place
from tests.plans import Keys, parties, plan


@pytest.fixture(scope="module", name="ours")
def three_hospitals(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ours]:
    state = tmp_path_factory.mktemp("state")
    north, south, _ = (place(state, name) for name in ("north", "south", "east"))
    with running(
        [*site_processes.parties(north), site_processes.parties(south)[0]], start_timeout_s=180
    ):
        owner = Owner(north.home)
        owner.adopt_policy()
        keys = Keys()
        template = plan(keys, hospitals=(entry_of(owner), *plan(keys).hospitals[1:]))
        for party in parties(template):
            owner.add_party(party, words=party.words)
        alice = HospitalClient(
            joining.accept(owner.invite("alice@example.org"), SigningKey.generate())
        )
        yield Ours(state=state, alice=alice, template=template)
        alice.close()
