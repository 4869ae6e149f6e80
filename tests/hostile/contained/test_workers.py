"""What a worker prints, takes, keeps and outlives; and that it can still do its work."""

import dataclasses
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

import numpy as np
import pytest
import torch

from datasites.sandbox.offers import offers
from datasites.sandbox.spec import Mechanism, Spec
from datasites.sandbox.template import Template, Worker
from tests.hostile.contained.host import Host, host
from tests.hostile.contained.runner import TESTS, processes_of, spec, still_running
from tests.hostile.contained.short_lived_parent import WORKERS

WORKING = [offer.mechanism for offer in offers() if offer.works]
LOG_BYTES, MEMORY_BYTES = 1 << 16, 2 << 30

if not WORKING:
    pytest.skip("no mechanism works on this machine", allow_module_level=True)


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    with host(tmp_path_factory.mktemp("host")) as found:
        yield found


def shape(machine: Host, mechanism: Mechanism, job: str) -> Spec:
    whole = spec(machine, mechanism, "strict", f"tests.hostile.contained.jobs:{job}")
    return dataclasses.replace(whole, log_bytes=LOG_BYTES, memory_bytes=MEMORY_BYTES)


@contextmanager
def template(
    machine: Host, job: str, mechanism: Mechanism = WORKING[0]
) -> Iterator[tuple[Template, IO[bytes]]]:
    with tempfile.TemporaryFile() as log:
        found = Template(shape(machine, mechanism, job), log)
        try:
            yield found, log
        finally:
            found.kill()


def begin(found: Template, text: bytes = b"", file: IO[bytes] | None = None) -> Worker:
    worker = found.worker()
    worker.ready()
    worker.hand_over(file)
    with suppress(BrokenPipeError):
        worker.jobs.write(text)
        worker.jobs.flush()
    return worker


def answer(found: Template, text: bytes = b"", file: IO[bytes] | None = None) -> bytes:
    """All that a worker says until it ends."""
    worker = begin(found, text, file)
    said = b""
    with suppress(ConnectionResetError):
        while piece := worker.answers.read1():
            said += piece
    worker.close()
    return said


def text_of(log: IO[bytes]) -> str:
    return os.pread(log.fileno(), 1 << 20, 0).decode()


def test_what_a_worker_prints_and_raises_goes_to_the_log_alone(
    machine: Host, capfd: pytest.CaptureFixture[str]
) -> None:
    with template(machine, "print_and_raise") as (found, log):
        assert answer(found) == b""
        for words in ("printed\n", "complained\n", "wrote\n", "ValueError: raised\n"):
            assert words in text_of(log)
    assert capfd.readouterr() == ("", "")


def test_a_log_is_bounded_over_all_workers(machine: Host) -> None:
    with template(machine, "print_without_end") as (found, log):
        for _ in range(3):
            assert answer(found) == b"ended"
        assert os.fstat(log.fileno()).st_size <= LOG_BYTES
        assert found.alive


def test_the_log_gets_the_words_of_workers_when_its_opener_has_closed_it(
    machine: Host, tmp_path: Path
) -> None:
    path = tmp_path / "log"
    path.write_text("earlier\n")
    with path.open("ab") as log:
        found = Template(shape(machine, WORKING[0], "print_and_raise"), log)
    try:
        assert answer(found) == b""
    finally:
        found.kill()
    text = path.read_text()
    assert text.startswith("earlier\n")
    assert "printed\n" in text


def test_memory_is_bounded_and_the_next_worker_has_as_much(machine: Host) -> None:
    with template(machine, "allocate") as (found, _):
        assert answer(found, b"%d\n" % (1 << 20)) == b"held"
        assert answer(found, b"%d\n" % MEMORY_BYTES) == b"refused"
        assert answer(found, b"%d\n" % (1 << 20)) == b"held"


def test_no_job_sees_anything_of_another(machine: Host) -> None:
    """Not by what a module keeps, nor by the place up to which a file was read."""
    with template(machine, "remember") as (found, _), open(machine.own, "rb") as file:
        for _ in range(3):
            assert answer(found, b"\n", file) == b"0 0"


def test_workers_share_no_memory_that_they_can_write(machine: Host) -> None:
    with (
        template(machine, "remember", "landlock") as (found, _),
        open(machine.own, "rb") as file,
    ):
        if "landlock" not in WORKING:
            pytest.skip("landlock does not work on this machine")
        worker = begin(found, b"", file)
        assert worker.answers.read(3) == b"0 0"
        inside = processes_of(found.process.pid) - {found.process.pid}
        assert inside
        for pid in inside:
            maps = Path(f"/proc/{pid}/maps").read_text().splitlines()
            assert not [line for line in maps if line.split()[1] in ("rw-s", "-w-s", "rwxs")]
            descriptors = {int(entry.name) for entry in Path(f"/proc/{pid}/fd").iterdir()}
            assert len(descriptors - {0, 1, 2}) == 1
        worker.close()


@pytest.mark.parametrize("mechanism", ["bubblewrap", "namespaces", "landlock"])
def test_a_contained_worker_trains(machine: Host, mechanism: Mechanism) -> None:
    if mechanism not in WORKING:
        pytest.skip(f"{mechanism} does not work on this machine")
    pixels = np.random.default_rng(1).normal(size=(8, 8, 8)).astype(np.float32)
    with template(machine, "train", mechanism) as (found, log), tempfile.TemporaryFile() as file:
        file.write(pixels.tobytes())
        file.flush()
        assert answer(found, b"", file) == b"learned", text_of(log)


@pytest.mark.parametrize("mechanism", ["bubblewrap", "namespaces", "landlock"])
def test_a_contained_worker_computes_with_the_processors_vectors(
    machine: Host, mechanism: Mechanism
) -> None:
    if mechanism not in WORKING:
        pytest.skip(f"{mechanism} does not work on this machine")
    with template(machine, "vectors", mechanism) as (found, log):
        assert answer(found) == torch.backends.cpu.get_cpu_capability().encode(), text_of(log)


@pytest.mark.parametrize("mechanism", ["bubblewrap", "namespaces", "landlock"])
def test_a_template_whose_parent_is_killed_ends_with_its_workers(
    machine: Host, mechanism: Mechanism
) -> None:
    if mechanism not in WORKING:
        pytest.skip(f"{mechanism} does not work on this machine")
    parent = subprocess.Popen(
        [sys.executable, "-m", "tests.hostile.contained.short_lived_parent",
         shape(machine, mechanism, "compute_without_end").to_json()],
        env={**os.environ, "PYTHONPATH": str(TESTS.parent)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )  # fmt: skip
    with parent:
        assert parent.stdout is not None
        root = int(parent.stdout.readline())
        inside = processes_of(root)
        assert len(inside) > WORKERS
        parent.send_signal(signal.SIGKILL)
    assert not still_running(inside)


@pytest.mark.parametrize("entry", ["enter_as_i386", "enter_as_x32"])
def test_another_architectures_call_ends_the_worker(machine: Host, entry: str) -> None:
    with template(machine, entry) as (found, _):
        assert answer(found) == b"before "
        assert found.alive
    with template(machine, entry, "none") as (found, _):
        assert answer(found).endswith(b"after")
