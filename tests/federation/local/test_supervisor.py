"""A party that ends is restarted alone, one that is silent is told of, and the others go on."""

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from federation.local import supervisor
from federation.local.supervisor import Supervisor
from syft_code.errors import Unavailable
from syft_code.runtime.process_spec import ProcessSpec

ONCE = ("-n", "1", "-r", "1")


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervisor, "BACKOFF_S", 0.0)
    monkeypatch.setattr(supervisor, "SILENT_S", 0.0)


def party(
    folder: Path, name: str, *, does: str = "import time; time.sleep(600)", healthy: object = None
) -> ProcessSpec:
    """A process that sleeps, or does something else; healthy unless a test says otherwise."""
    probe = healthy if callable(healthy) else lambda: True
    return ProcessSpec(
        name=name,
        module="timeit",
        arguments=(*ONCE, does),
        healthy=probe,
        log_path=folder / f"{name}.log",
    )


@pytest.fixture
def told() -> list[str]:
    return []


@pytest.fixture
def begin(told: list[str]) -> Iterator[Callable[..., Supervisor]]:
    """Start parties under a supervisor that looks only when a test has it look."""
    begun = []

    def start(*parties: ProcessSpec) -> Supervisor:
        begun.append(Supervisor(start_timeout_s=60, say=told.append))
        begun[-1].start(parties)
        return begun[-1]

    yield start
    for one in begun:
        one.stop()


def pids(watched: Supervisor) -> list[int]:
    return [one.process.pid for one in watched._parties]


def kill(watched: Supervisor, position: int) -> None:
    process = watched._parties[position].process
    os.kill(process.pid, signal.SIGKILL)
    process.wait()


def test_each_party_has_a_line_when_it_starts_and_when_it_is_ready(
    tmp_path: Path, told: list[str], begin: Callable[..., Supervisor]
) -> None:
    begin(party(tmp_path, "north"), party(tmp_path, "south"))
    assert told == ["north: starting", "south: starting", "north: ready", "south: ready"]


def test_a_party_that_ends_is_restarted_and_the_others_keep_running(
    tmp_path: Path, told: list[str], begin: Callable[..., Supervisor]
) -> None:
    watched = begin(party(tmp_path, "north"), party(tmp_path, "south"))
    before = pids(watched)
    kill(watched, 0)
    told.clear()
    watched.look()
    watched.look()
    after = pids(watched)
    assert after[0] != before[0] and after[1] == before[1]
    assert all(one.process.poll() is None for one in watched._parties)
    assert "north ended with exit code -9" in told[0]
    assert "It restarts in 0 s; the others keep running." in told[0]
    assert told[1:] == ["north: ready again"]


def test_a_party_that_ends_again_and_again_is_left_with_a_sentence(
    tmp_path: Path, told: list[str], begin: Callable[..., Supervisor]
) -> None:
    watched = begin(party(tmp_path, "north"), party(tmp_path, "south"))
    for _ in range(supervisor.MAX_RESTARTS + 1):
        kill(watched, 0)
        watched.look()
    last = told[-1]
    assert f"It ended {supervisor.MAX_RESTARTS + 1} times and stays down" in last
    watched.look()
    assert told[-1] is last, "once"
    assert watched._parties[1].process.poll() is None


def test_a_silent_party_is_named_and_nothing_is_stopped(
    tmp_path: Path, told: list[str], begin: Callable[..., Supervisor]
) -> None:
    answers = [True]
    watched = begin(party(tmp_path, "north", healthy=lambda: answers[0]))
    before = pids(watched)
    told.clear()
    answers[0] = False
    watched.look()
    watched.look()
    answers[0] = True
    watched.look()
    assert pids(watched) == before
    assert len(told) == 2, "a warning, once, and its end"
    assert "north has not answered" in told[0] and "may only be busy" in told[0]
    assert told[1] == "north: answers again"


def test_a_probe_that_fails_is_a_silence(
    tmp_path: Path, told: list[str], begin: Callable[..., Supervisor]
) -> None:
    fails = [False]

    def probe() -> bool:
        if fails[0]:
            raise Unavailable("The folder is gone.")
        return True

    watched = begin(party(tmp_path, "north", healthy=probe))
    fails[0] = True
    watched.look()
    assert "north has not answered" in told[-1]


def test_a_start_that_takes_too_long_says_who_and_what_to_do(tmp_path: Path) -> None:
    slow = party(tmp_path, "south", healthy=lambda: False)
    parties = (party(tmp_path, "north"), slow)
    with (
        pytest.raises(
            Unavailable, match=r"Not ready after 0\.3 s: south.*--start-timeout"
        ) as error,
        supervisor.running(parties, start_timeout_s=0.3),
    ):
        pass
    assert "north" not in str(error.value).replace(str(tmp_path), "")


def test_a_party_that_ends_while_it_starts_ends_the_start_with_its_last_line(
    tmp_path: Path,
) -> None:
    broken = party(tmp_path, "north", does="raise ValueError('no room')", healthy=lambda: False)
    with (
        pytest.raises(Unavailable, match=r"north ended with exit code 1.*ValueError: no room"),
        supervisor.running([broken]),
    ):
        pass


def test_signals_wait_while_copies_are_deleted() -> None:
    with supervisor.signals_ignored():
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            os.kill(os.getpid(), number)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_what_goes_wrong_with_one_party_ends_the_watch_over_no_other(
    tmp_path: Path,
    told: list[str],
    begin: Callable[..., Supervisor],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    watched = begin(party(tmp_path, "first"), party(tmp_path, "second"))
    (tmp_path / "first.log").unlink()  # its last line can't be read any more
    restart = watched._restart

    def full_disk(one: supervisor._Party) -> None:
        if one.spec.name == "first":
            raise OSError("No space left on device")
        restart(one)

    monkeypatch.setattr(watched, "_restart", full_disk)
    for pid in pids(watched):
        os.kill(pid, signal.SIGKILL)
    for one in watched._parties:
        one.process.wait()
    watched.look()
    watched.look()
    assert watched._parties[1].process.poll() is None, "the second one runs again"
    assert any("first could not be looked after: No space left" in line for line in told)


def test_a_log_that_is_gone_and_a_terminal_that_is_gone_stop_no_restart(
    tmp_path: Path, begin: Callable[..., Supervisor], monkeypatch: pytest.MonkeyPatch
) -> None:
    watched = begin(party(tmp_path, "only"))
    (tmp_path / "only.log").unlink()

    def gone(sentence: str) -> None:
        raise SystemExit(1)

    monkeypatch.setattr(watched, "_say", gone)
    os.kill(watched._parties[0].process.pid, signal.SIGKILL)
    watched._parties[0].process.wait()
    watched.look()
    watched.look()
    assert watched._parties[0].process.poll() is None


def test_a_probe_that_raises_anything_is_a_party_that_does_not_answer(
    tmp_path: Path, begin: Callable[..., Supervisor]
) -> None:
    watched = begin(party(tmp_path, "only"))
    broken = party(tmp_path, "only", healthy=lambda: 1 / 0)
    assert not supervisor._answers(broken)
    watched.look()
