"""A party that ends is restarted alone, one that is silent is told of, and the others go on."""

import os
import re
import shutil
import signal
import threading
import time
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from syft_code.errors import Unavailable
from syft_code.operation import supervisor
from syft_code.operation.process_spec import ProcessSpec
from syft_code.operation.supervisor import Supervisor

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


def look(watched: Supervisor) -> None:
    """Look at each party once."""
    for one in watched._parties:
        watched.look(one)


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
    look(watched)
    look(watched)
    after = pids(watched)
    assert after[0] != before[0] and after[1] == before[1]
    assert all(one.process.poll() is None for one in watched._parties)
    assert "north ended with exit code -9" in told[0]
    assert "north restarts in 0 s; the others keep running." in told[0]
    assert told[1:] == ["north: ready again"]


def test_a_party_that_ends_again_and_again_is_never_given_up(
    tmp_path: Path,
    told: list[str],
    begin: Callable[..., Supervisor],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = [time.monotonic()]
    watched = begin(party(tmp_path, "north"), party(tmp_path, "south"))
    monkeypatch.setattr(supervisor, "BACKOFF_S", 1.0)
    monkeypatch.setattr(supervisor.time, "monotonic", lambda: now[0])
    pauses = [1, 2, 4, 8, 16, 32, 64, 64, 64]
    for pause_s in pauses:
        kill(watched, 0)
        look(watched)
        now[0] += pause_s - 0.1
        look(watched)
        assert watched._parties[0].process.poll() is not None, "not yet"
        now[0] += 0.2
        look(watched)
        assert watched._parties[0].process.poll() is None
    waits = [re.search(r"restarts in (\d+) s", line) for line in told]
    assert [int(found[1]) for found in waits if found] == pauses
    assert watched._parties[1].process.poll() is None


def test_the_last_lines_of_a_log_are_shown_as_a_terminal_may_show_them(
    tmp_path: Path, told: list[str], begin: Callable[..., Supervisor]
) -> None:
    watched = begin(party(tmp_path, "north"))
    with (tmp_path / "north.log").open("wb") as log:
        log.truncate(2**32)
        log.seek(0, os.SEEK_END)
        log.write(b"\nfirst\nsecond\n\x1b[31mthird\xff\nMemoryError\n")
    kill(watched, 0)
    tracemalloc.start()
    look(watched)
    assert tracemalloc.get_traced_memory()[1] < 2**20, "a log may be longer than the memory"
    tracemalloc.stop()
    assert "    second\n    \\x1b[31mthird\ufffd\n    MemoryError\n" in told[-1]
    assert "first" not in told[-1]


def test_a_party_whose_probe_hangs_delays_nobody_elses_restart(
    tmp_path: Path, told: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervisor, "WATCH_S", 0.01)
    hangs, hung = threading.Event(), threading.Event()

    def probe() -> bool:
        if hangs.is_set():
            hung.set()
            time.sleep(600)
        return True

    parties = (party(tmp_path, "stopped", healthy=probe), party(tmp_path, "struck"))
    with supervisor.running(parties, say=told.append) as watched:
        hangs.set()
        assert hung.wait(10)
        kill(watched, 1)
        give_up = time.monotonic() + 10
        while "struck: ready again" not in told:
            assert time.monotonic() < give_up, told
            time.sleep(0.01)
        assert watched._parties[0].process.poll() is None


def test_a_party_that_is_stopped_is_told_of_and_goes_on_as_the_same_process(
    tmp_path: Path, told: list[str], begin: Callable[..., Supervisor]
) -> None:
    pulse = tmp_path / "pulse"
    beat = f"import pathlib, time\nwhile True:\n pathlib.Path({str(pulse)!r}).touch()\n time.sleep(0.01)"

    def answers() -> bool:
        before = pulse.stat().st_mtime_ns
        time.sleep(0.5)
        return pulse.stat().st_mtime_ns > before

    watched = begin(party(tmp_path, "desk", does=beat, healthy=answers))
    (pid,) = pids(watched)
    os.kill(pid, signal.SIGSTOP)
    look(watched)
    assert "desk has not answered" in told[-1] and pids(watched) == [pid]
    os.kill(pid, signal.SIGCONT)
    look(watched)
    assert told[-1] == "desk: answers again" and pids(watched) == [pid]


def test_a_silent_party_is_named_and_nothing_is_stopped(
    tmp_path: Path, told: list[str], begin: Callable[..., Supervisor]
) -> None:
    answers = [True]
    watched = begin(party(tmp_path, "north", healthy=lambda: answers[0]))
    before = pids(watched)
    told.clear()
    answers[0] = False
    look(watched)
    look(watched)
    answers[0] = True
    look(watched)
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
    look(watched)
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
        pytest.raises(Unavailable, match=r"(?s)north ended with exit code 1.*ValueError: no room"),
        supervisor.running([broken]),
    ):
        pass


def test_signals_wait_while_copies_are_deleted() -> None:
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = [signal.getsignal(number) for number in numbers]
    with supervisor.signals_ignored():
        for number in numbers:
            os.kill(os.getpid(), number)
    assert [signal.getsignal(number) for number in numbers] == before


def test_a_party_that_a_full_disk_keeps_from_starting_is_tried_again_later_each_time(
    tmp_path: Path,
    told: list[str],
    begin: Callable[..., Supervisor],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    watched = begin(party(tmp_path / "full", "first"), party(tmp_path, "second"))
    shutil.rmtree(tmp_path / "full")
    (tmp_path / "full").touch()  # no log can be opened there, as on a disk without room
    for position in (0, 1):
        kill(watched, position)
    look(watched)
    assert watched._parties[1].process.poll() is None, "the second one runs again"
    assert "first can't be started: File exists.\nfirst restarts in" in told[-2]
    monkeypatch.setattr(supervisor, "BACKOFF_S", 1.0)
    told.clear()
    for _ in range(3):
        look(watched)
    assert told == [
        "first can't be started: File exists.\nfirst restarts in 4 s; the others keep running.",
        "second: ready again",
    ]


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
    look(watched)
    look(watched)
    assert watched._parties[0].process.poll() is None


def test_a_probe_that_raises_anything_is_a_party_that_does_not_answer(
    tmp_path: Path, begin: Callable[..., Supervisor]
) -> None:
    watched = begin(party(tmp_path, "only"))
    broken = party(tmp_path, "only", healthy=lambda: 1 / 0)
    assert not supervisor._answers(broken)
    look(watched)
