"""What several tests share: lanes, the real data where it is, and one live federation."""

import os
import random
import signal
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from hypothesis import settings

from datasites.demo import stand_ins
from datasites.owner.owner import Owner
from federation.local import federation_file as federations
from federation.local import provisioning
from federation.local.federation_file import FederationConfig
from tests import lanes
from tests.datasites import templates

SHARED = Path(__file__).resolve().parents[1] / ".." / "shared" / "data"
LESIONS = 240
settings.register_profile("consilium", deadline=None)  # a machine may be busy: no example is timed
settings.load_profile("consilium")
if threading.current_thread() is threading.main_thread():
    # A shell's `&` has it ignored, here and in each process that a test starts and interrupts.
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(tryfirst=True)  # before pytest-xdist reads the groups
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put each test into its lane, and what shares servers into one worker, longest first."""
    for item in items:
        if lanes.starts_servers(item):
            item.add_marker(pytest.mark.servers)
        item.add_marker(pytest.mark.xdist_group(lanes.group(item)))
    items.sort(key=lanes.rank)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    """Refuse a server to each test that is not marked."""
    with lanes.guarded(item):
        return (yield)


@pytest.fixture(scope="session")
def ham10000() -> Path:
    """The folder with real HAM10000 images."""
    return _real("ham10000")


@pytest.fixture(scope="session")
def brats2013() -> Path:
    """The folder with real BraTS cases."""
    return _real("brats2013")


def _real(name: str) -> Path:
    folder = (SHARED / name).resolve()
    if not folder.is_dir():
        pytest.skip(f"there is no {name} beside the repository (../shared/data/{name})")
    return folder


@pytest.fixture(scope="session")
def shared_templates() -> Iterator[None]:
    """Ended with the session."""
    yield
    templates.end_all()


@pytest.fixture(name="templates")
def lent_templates(shared_templates: None) -> Iterator[None]:
    """Vaults in the test's own process take templates of earlier tests, and leave theirs to later ones."""
    with templates.lent():
        yield


PORTS = 2_500
"""To each worker its own, below those that the system gives to clients."""


_given: set[int] = set()


def free_ports(count: int) -> int:
    """The first of so many neighbouring ports that nobody listens on.

    No test is given what another was, until all have been given.
    """
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % 4
    lowest = 21_000 + worker * PORTS
    for _ in range(2):
        for first in random.sample(range(lowest, lowest + PORTS - count), PORTS - count):
            wanted = range(first, first + count)
            if _given.isdisjoint(wanted) and all(map(_is_free, wanted)):
                _given.update(wanted)
                return first
        _given.clear()
    raise RuntimeError("no free ports on this machine")


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


@dataclass(frozen=True, kw_only=True)
class Live:
    """A running federation: four hospitals with stand-ins, three aggregators."""

    config: FederationConfig
    state: Path

    @property
    def credentials(self) -> Path:
        return self.state / "researcher.json"

    @property
    def homes(self) -> list[Path]:
        return [self.state / "hospitals" / entry.name for entry in self.config.hospital]

    def owner(self, position: int) -> Owner:
        return Owner(self.homes[position])


@pytest.fixture(scope="session")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    """One live federation for all tests that want one; nothing in it is replaced."""
    state = tmp_path_factory.mktemp("federation")
    data = state / "data"
    stand_ins.write("ham10000", data, patients=LESIONS, seed=7)
    config = federations.default(first_port=free_ports(110), epsilon=30.0)
    config = replace(
        config, hospital=tuple(replace(entry, data=str(data)) for entry in config.hospital)
    )
    with provisioning.running_federation(config, state):
        provisioning.provision(config, state, say=lambda sentence: None)
        yield Live(config=config, state=state)
