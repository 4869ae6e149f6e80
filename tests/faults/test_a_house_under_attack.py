"""A whole federation on one machine, whose parties fall silent and end while a demo trains."""

import contextlib
import json
import os
import re
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.conftest import free_ports
from tests.faults.strangers import strangers
from tests.waiting import until

ROOT = Path(__file__).parents[2]
STOPPED_S = 30.0
LOAD = 8
HOSPITALS = ("cleveland", "hungarian", "switzerland", "va")
WAIT_S = 240.0


@dataclass(frozen=True, slots=True, kw_only=True)
class House:
    """A demo that runs, and what it has said."""

    process: "subprocess.Popen[str]"
    said_path: Path
    out: Path

    @property
    def said(self) -> str:
        return self.said_path.read_text()

    def says(self, pattern: str, *, times: int = 1) -> None:
        """Wait until it has said so."""

        def so() -> bool:
            assert self.process.poll() is None, self.said
            return len(re.findall(pattern, self.said)) >= times

        until(so, within_s=WAIT_S)

    def address(self, name: str) -> str:
        """Where a hospital's front desk answers."""
        (settings,) = self.out.glob(f"*/federation/hospitals/{name}/site.json")
        return f"127.0.0.1:{json.loads(settings.read_text())['port']}"

    def pids(self) -> dict[tuple[str, str], int]:
        """The process of each party, by its module and its folder or file."""
        found = {}
        for entry in Path("/proc").iterdir():
            with contextlib.suppress(OSError):
                words = (entry / "cmdline").read_text().split("\0") if entry.name.isdigit() else []
                if "--end-with-starter" in words and str(self.out) in words[4]:
                    found[words[2].rpartition(".")[2], Path(words[4]).stem] = int(entry.name)
        return found


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    out, said = tmp_path / "runs", tmp_path / "said"
    command = [sys.executable, "launch.py", "demo", "--study", "heart", "--out", str(out)]
    command += ["--first-port", str(free_ports(110))]
    with said.open("w") as file:
        process = subprocess.Popen(command, cwd=ROOT, stdout=file, stderr=file, text=True)
    try:
        yield House(process=process, said_path=said, out=out)
    finally:
        process.terminate()
        process.wait(timeout=60)


@contextlib.contextmanager
def load(busy: int) -> Iterator[None]:
    """So many processes that want a core for themselves."""
    loop = [sys.executable, "-c", "while True: pass"]
    processes = [subprocess.Popen(loop) for _ in range(busy)]
    try:
        yield
    finally:
        for one in processes:
            one.kill()
            one.wait()


@contextlib.contextmanager
def full_disk(process: int) -> Iterator[None]:
    """No byte can be written, as on a disk that is full."""
    before = resource.prlimit(process, resource.RLIMIT_FSIZE)
    resource.prlimit(process, resource.RLIMIT_FSIZE, (0, before[1]))
    try:
        yield
    finally:
        resource.prlimit(process, resource.RLIMIT_FSIZE, before)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_demo_trains_to_its_end_whatever_befalls_one_party_after_the_other(house: House) -> None:
    house.says("Training 50 rounds")
    before = house.pids()
    assert len(before) == 11
    cut, stopped, killed, full = HOSPITALS
    with load(LOAD):
        with strangers(house.address(cut), before["desk_process", cut]):
            house.says("Round 3/50")
        os.kill(before["desk_process", stopped], signal.SIGSTOP)
        time.sleep(STOPPED_S)
        os.kill(before["desk_process", stopped], signal.SIGCONT)
        house.says(f"{stopped}'s front desk: answers again")
        assert "took no part" not in house.said, "strangers and a silence cost time"
        os.kill(before["vault_process", killed], signal.SIGKILL)
        house.says(f"{killed}'s vault: ready again")
    with full_disk(before["vault_process", full]):
        house.says("1 took no part")
    house.says(r"took no part\n(?:.*\n)*?Round \d+/50(?:(?!took no part).)*\n")
    changed = {one for one, pid in house.pids().items() if before[one] != pid}
    assert changed == {("vault_process", killed)}
    house.says("Round 50/50")
    assert f"{killed}'s vault ended with exit code -9. Its log" in house.said.replace("\n", " ")
    assert f"{stopped}'s front desk has not answered" in house.said
    assert house.said.count("ended with exit code") == 1


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_parties_that_end_before_a_demo_trains_are_waited_for(house: House) -> None:
    house.says("Each owner publishes")
    before = house.pids()
    ended = {("vault_process", HOSPITALS[0]), ("desk_process", HOSPITALS[1])}
    for party in ended:
        os.kill(before[party], signal.SIGKILL)
    house.says("4 of 4 hospitals have approved")
    assert {one for one, pid in house.pids().items() if before[one] != pid} == ended
