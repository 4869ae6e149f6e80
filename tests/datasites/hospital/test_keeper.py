"""A process of a hospital kept by another: ready, restarted, and ended with whoever asked for it."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from datasites import site, site_processes
from datasites.site import Site, SiteSettings
from tests.other_users import ROOT

pytestmark = pytest.mark.servers
VAULT = "datasites.vault.vault_process"


@pytest.fixture
def made(tmp_path: Path) -> Site:
    return site.create(tmp_path / "north", SiteSettings(name="north", port=1))


@pytest.fixture
def keeper(made: Site) -> Iterator["subprocess.Popen[bytes]"]:
    process = begun(made)
    yield process
    process.kill()
    process.wait(timeout=20)
    for pipe in (process.stdin, process.stdout):
        assert pipe is not None
        pipe.close()


def begun(made: Site) -> "subprocess.Popen[bytes]":
    """As a shell starts it in the background: an interrupt from the terminal is ignored."""
    return subprocess.Popen(
        [
            sys.executable, "-m", "datasites.hospital.keeper", "--home", str(made.home),
            "--module", VAULT, "--start-timeout", "60",
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=ROOT,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_IGN),
    )  # fmt: skip


def told(keeper: "subprocess.Popen[bytes]") -> dict[str, object]:
    assert keeper.stdout is not None
    found: dict[str, object] = json.loads(keeper.stdout.readline())
    return found


def wait_until_ready(keeper: "subprocess.Popen[bytes]") -> psutil.Process:
    while not told(keeper)["ready"]:
        pass
    (kept,) = psutil.Process(keeper.pid).children()
    return kept


def test_it_says_when_what_it_keeps_answers_and_ends_it_when_nobody_asks_any_more(
    made: Site, keeper: "subprocess.Popen[bytes]"
) -> None:
    kept = wait_until_ready(keeper)
    assert site_processes.vault_is_healthy(made.home)
    assert keeper.stdin is not None
    keeper.stdin.close()
    assert keeper.wait(timeout=20) == 0
    assert not kept.is_running()


def test_what_ends_is_started_again(made: Site, keeper: "subprocess.Popen[bytes]") -> None:
    wait_until_ready(keeper).kill()
    said = [told(keeper)["sentence"]]
    while "ready again" not in str(said[-1]):
        said.append(told(keeper)["sentence"])
    assert site_processes.vault_is_healthy(made.home)


def test_what_it_keeps_ends_with_it_however_it_ends(keeper: "subprocess.Popen[bytes]") -> None:
    kept = wait_until_ready(keeper)
    os.kill(keeper.pid, signal.SIGKILL)
    give_up = time.monotonic() + 20
    while kept.is_running() and kept.status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < give_up
        time.sleep(0.05)


def test_what_can_not_start_is_one_sentence(made: Site) -> None:
    (made.vault / "key").write_bytes(b"short")
    with begun(made) as keeper:
        assert keeper.stdout is not None
        last = json.loads(keeper.stdout.read().splitlines()[-1])
        assert keeper.wait(timeout=60) == 1
    assert not last["ready"] and "ended with exit code" in last["sentence"]
