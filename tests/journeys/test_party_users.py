"""A whole study over a federation whose parties are users of their own, and what each can read."""

import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from datasites.demo import stand_ins
from datasites.site_users import FIRST_USER, NUMBERS
from federation.researcher.session import Researcher
from syft_code.plans.plan_parts import DpSgd, Sgd
from tests.conftest import free_ports
from tests.other_users import ROOT, can_read, needs_root, open_folder, python_for_everybody
from tests.plans import TINY

pytestmark = [pytest.mark.timeout(600), pytest.mark.slow, needs_root]
NAMES = ("east", "north", "south")
PARTS = ("owner", "vault", "desk")
SECRETS = {
    "owner": ("owner/key", "owner/salt", "owner/password", "owner/account", "policy.toml"),
    "vault": ("vault/key", "vault/vault.db", "vault/cohorts", "vault/vault.log"),
    "desk": ("desk/key", "desk/syft.db", "desk/blobs"),
}
KEYS = ("identity/seal.key", "identity/sign.key", "state.sqlite")


def numbers_of(position: int) -> dict[str, int]:
    first = FIRST_USER + position * NUMBERS
    return {part: first + 1 + place for place, part in enumerate(PARTS)}


@contextmanager
def up(before: list[str], folder: Path, *options: str) -> Iterator[int]:
    """`up` until it has printed its table; gives its process."""
    output = folder / "out"
    command = [*before, sys.executable, "launch.py", "up", "--state", str(folder / "state")]
    command += ["--federation", str(folder / "federation.toml"), *options]
    with output.open("w") as out:
        process = subprocess.Popen(command, cwd=ROOT, stdout=out, stderr=out)
    try:
        deadline = time.monotonic() + 200
        while "Stop with Ctrl-C" not in output.read_text():
            assert process.poll() is None, output.read_text()
            assert time.monotonic() < deadline, output.read_text()
            time.sleep(0.2)
        yield process.pid
    finally:
        process.terminate()
        process.wait(timeout=60)


@pytest.fixture
def folder() -> Iterator[Path]:
    with open_folder() as made:
        data, first = made / "data", free_ports(20)
        stand_ins.write("ham10000", data, patients=60, seed=1)
        hospitals = "".join(
            f'[[hospital]]\nname = "{name}"\nport = {first + i}\ndata = "{data}"\npatients = 10\n'
            "epsilon = 8.0\ndelta = 1e-5\n"
            for i, name in enumerate(NAMES)
        )
        aggregators = "".join(
            f'[[aggregator]]\nname = "adder-{i}"\nport = {first + 10 + i}\n' for i in (1, 2)
        )
        (made / "federation.toml").write_text(hospitals + aggregators)
        yield made


def users_of_processes(state: Path) -> dict[str, int]:
    """The user of each party's process, by its command line."""
    found = {}
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            words = (entry / "cmdline").read_text().split("\0")
            if any(word.startswith(f"{state}/") for word in words) and "-m" in words:
                found[" ".join(words[2:5])] = entry.stat().st_uid
        except OSError:
            continue
    return found


def as_owner(before: list[str], folder: Path, name: str, *words: str) -> str:
    """What a command says to a hospital's owner, who is a user of their own and not root."""
    number = numbers_of(NAMES.index(name))["owner"]
    command = [
        *before, "setpriv", f"--reuid={number}", f"--regid={number}",
        f"--groups={FIRST_USER + NAMES.index(name) * NUMBERS}", sys.executable, "launch.py", *words,
        "--state", str(folder / "state"), "--hospital", name, "--json",
    ]  # fmt: skip
    environment = os.environ | {"HOME": str(folder / "state/hospitals" / name / "owner")}
    done = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def trained(folder: Path, before: list[str]) -> None:
    """One round that every owner approves as their own user."""
    researcher = Researcher.connect(folder / "state" / "researcher.json")
    study = researcher.study(
        study=f"users-{secrets.token_hex(4)}",
        asset="skin-lesions",
        recipe=TINY,
        dp_sgd=DpSgd(noise_multiplier=1.0, max_grad_norm=1.0, sample_rate=0.25, steps=2),
        optimizer=Sgd(learning_rate=0.5),
        rounds=1,
    )
    study.submit()
    for name in NAMES:
        told = as_owner(before, folder, name, "requests", "approve", study.plan.hash, "--yes")
        assert json.loads(told)["in_force"]
    study.wait_for_approval(timeout_s=30)
    outcome = study.train()
    researcher.close()
    assert [len(record.trained) for record in outcome.rounds] == [len(NAMES)]


def reads(folder: Path, *, own: bool) -> None:
    """Each party's process against every secret; with one user (`own` false) all of it is open."""
    state = folder / "state"
    for position, _ in enumerate(NAMES):
        group = FIRST_USER + position * NUMBERS
        for part, number in numbers_of(position).items():
            number, groups = (number, (group,)) if own else (0, ())
            for other, home in enumerate(NAMES):
                for whose, files in SECRETS.items():
                    mine = (other, whose) == (position, part)
                    for file in files:
                        path = state / "hospitals" / home / file
                        assert can_read(path, number, groups) == (mine or not own), (part, path)
            for adder in ("adder-1", "adder-2"):
                for file in KEYS:
                    path = state / "aggregators" / adder / file
                    assert can_read(path, number, groups) != own, (part, path)
            assert can_read(state / "researcher.json", number, groups) != own


@pytest.mark.skipif(shutil.which("setpriv") is None, reason="needs setpriv to act as an owner")
def test_a_study_runs_over_parties_that_are_users_of_their_own_and_none_reads_anothers_keys(
    folder: Path,
) -> None:
    before, state = python_for_everybody(folder / "aside"), folder / "state"
    with up(before, folder):
        processes = users_of_processes(state)
        wanted = {n for i in range(len(NAMES)) for n in list(numbers_of(i).values())[1:]}
        adders = {FIRST_USER + NUMBERS * len(NAMES) + i for i in range(2)}
        assert set(processes.values()) == wanted | adders, processes
        assert "Each process is a user of its own" in (folder / "out").read_text()
        reads(folder, own=True)
        trained(folder, before)
        vault = numbers_of(1)["vault"]
        (pid,) = (
            int(entry.name)
            for entry in Path("/proc").glob("[0-9]*")
            if entry.stat().st_uid == vault and "vault_process" in (entry / "cmdline").read_text()
        )
        os.kill(pid, signal.SIGKILL)
        deadline = time.monotonic() + 90
        while "north's vault: ready again" not in (folder / "out").read_text():
            assert time.monotonic() < deadline, (folder / "out").read_text()
            time.sleep(0.5)
        assert set(users_of_processes(state).values()) == wanted | adders, "restarted as the same"
        reads(folder, own=True)
    assert not users_of_processes(state), "no orphan"

    with up(before, folder, "--first-user", "0"):
        assert set(users_of_processes(state).values()) == {0}
        assert "All parties are one user, as you asked" in (folder / "out").read_text()
        reads(folder, own=False)
