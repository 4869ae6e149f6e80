"""Three aggregators for all tests of this folder; each test finds them running, their lines whole."""

from collections.abc import Callable, Iterator

import pytest

from syft_code.plans.plan import Plan
from tests.faults.parties import Carrier, Party, aggregators


@pytest.fixture(scope="session")
def started(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Party]]:
    with aggregators(tmp_path_factory.mktemp("aggregators")) as parties:
        yield parties


@pytest.fixture
def parties(started: list[Party]) -> Iterator[list[Party]]:
    for party in started:
        party.line.forget()
    yield started
    for party in started:
        party.line.forget()
        party.line.go_on()
        party.resume()
        if party.process is None:
            party.start()


@pytest.fixture
def carrier(parties: list[Party]) -> Iterator[Callable[..., Carrier]]:
    """Makes a researcher who carries shares to the aggregators of a plan, and opens the study."""
    made: list[Carrier] = []

    def make(plan: Plan, *, patience_s: float = 60.0, opened: bool = True) -> Carrier:
        made.append(Carrier(plan, patience_s=patience_s))
        if opened:
            made[-1].collector.open()
        return made[-1]

    yield make
    for one in made:
        one.close()
