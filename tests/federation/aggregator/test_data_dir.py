"""What lies in an aggregator's folder, who may read it, and when an aggregator does not start."""

import contextlib
import dataclasses
import os
import select
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest

from syft_code.plans.plan_parts import Sharing
from syft_code.secret_sharing import envelope
from tests.federation.live_aggregators import (
    HOSPITALS,
    START_S,
    THREE,
    WIDE,
    Line,
    Party,
    aggregators,
    command,
    encoded_of,
    launch,
    lines_to,
    make_plan,
    make_shares,
    open_and_submit,
    total_of,
)

pytestmark = pytest.mark.servers


@pytest.fixture(scope="module")
def parties(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Party]]:
    with aggregators(tmp_path_factory.mktemp("aggregators")) as started:
        yield started


@pytest.fixture(scope="module")
def lines(parties: list[Party]) -> Iterator[list[Line]]:
    with lines_to(parties) as opened:
        yield opened


# --- the disk --------------------------------------------------------------------------------


def chi_square_z(data: bytes) -> float:
    """Standardised chi-square of the byte histogram; about N(0, 1) for uniform bytes."""
    counts = np.bincount(np.frombuffer(data, np.uint8), minlength=256)
    expected = len(data) / 256
    return float((((counts - expected) ** 2 / expected).sum() - 255) / np.sqrt(2 * 255))


def monobit_z(data: bytes) -> float:
    bits = np.unpackbits(np.frombuffer(data, np.uint8))
    return float((2 * bits.sum(dtype=np.int64) - len(bits)) / np.sqrt(len(bits)))


def serial_z(data: bytes) -> float:
    """Largest standardised correlation of the bits with themselves, some places on."""
    signs = 1.0 - 2.0 * np.unpackbits(np.frombuffer(data, np.uint8))
    lags = (1, 2, 7, 8, 31, 32, 64)
    return float(max(abs(signs[:-lag] @ signs[lag:]) / np.sqrt(len(signs) - lag) for lag in lags))


def looks_uniform(data: bytes) -> bool:
    """Six standard deviations: a uniform file fails once in some ten million runs."""
    return chi_square_z(data) < 7 and abs(monobit_z(data)) < 6 and serial_z(data) < 6


class Secret:
    """Finds any 16 consecutive bytes of some vectors, at any offset of a file.

    Such a run holds a whole aligned word of 8 bytes of the vector: look for words first.
    """

    def __init__(self, vectors: Sequence[bytes]) -> None:
        self.words = np.unique(np.concatenate([np.frombuffer(v, "<u8") for v in padded(vectors)]))
        self.runs = {v[i : i + 16] for v in vectors for i in range(len(v) - 15)}

    def is_in(self, data: bytes) -> bool:
        places = [
            shift + 8 * place
            for shift in range(8)
            for place in np.flatnonzero(np.isin(words_from(data, shift), self.words))
        ]
        starts = {start for place in places for start in range(max(place - 8, 0), place + 1)}
        return any(data[start : start + 16] in self.runs for start in starts)


def padded(vectors: Sequence[bytes]) -> list[bytes]:
    return [vector + bytes(-len(vector) % 8) for vector in vectors]


def words_from(data: bytes, shift: int) -> np.ndarray:
    count = (len(data) - shift) // 8
    return np.frombuffer(data, "<u8", count, shift) if count > 0 else np.empty(0, "<u8")


@pytest.mark.parametrize("needed", [2, 3])
def test_a_thief_of_one_disk_finds_noise_and_public_text(
    parties: list[Party], lines: list[Line], needed: int
) -> None:
    plan = make_plan(parties, f"thief-{needed}", sharing=dataclasses.replace(WIDE, needed=needed))
    plain = {name: encoded_of(plan, name).tobytes() for name in HOSPITALS}
    assert not any(looks_uniform(data) for data in plain.values())
    secret = Secret(list(plain.values()))
    length = len(plain["north"])

    def find_secrets() -> list[str]:
        files = [path for party in parties for path in party.home.rglob("*") if path.is_file()]
        assert len(files) >= 3 * 8, "keys, state, log and vectors of all three"
        return [path.name for path in files if secret.is_in(path.read_bytes())]

    shares = open_and_submit(plan, lines, THREE)
    west = make_shares(plan, "west")
    for party, line in enumerate(lines):
        line.upload(west[party], 0, len(west[party].sealed) - 1)  # and all but a byte of another
        assert line.received(shares["north"][party]).whole
    for number, held in enumerate(parties, start=1):
        files = sorted((held.home / "shares" / plan.hash).iterdir())
        assert [path.name for path in files] == sorted(f"train-1-{name}" for name in THREE)
        contents = [path.read_bytes() for path in files]
        scheme = envelope.scheme(plan)
        seeds = 32 * len(scheme.seeds_of(number))
        size = seeds + (length if scheme.has_vector(number) else 0)
        assert [len(data) for data in contents] == [size] * 3
        assert len(set(contents)) == 3
        assert all(looks_uniform(data) for data in contents if len(data) > 1000)
    assert find_secrets() == []
    total_of(plan, lines)
    total_of(plan, lines[::-1])  # also from those that were not needed
    for number, held in enumerate(parties, start=1):
        assert not any((held.home / "shares" / plan.hash).iterdir()), "deleted with the sum"
        sums = sorted((held.home / "sums" / plan.hash).iterdir())
        assert [path.name for path in sums] == [
            f"train-1-1-{piece}" for piece in envelope.scheme(plan).held_by(number)
        ]
        assert all(looks_uniform(path.read_bytes()) for path in sums)
    assert find_secrets() == []


def test_the_test_for_secrets_on_disk_would_find_one(parties: list[Party]) -> None:
    for rules in (Sharing(), WIDE):
        plain = encoded_of(make_plan(parties, "control", sharing=rules), "north").tobytes()
        secret = Secret([plain])
        for start in range(1000, 1016):
            run = plain[start : start + 16]
            before = b"\xa5" * start
            assert secret.is_in(before + run + b"more")
            assert not secret.is_in(before + run[:-1] + bytes([run[-1] ^ 1]))


def test_everything_on_disk_is_for_its_owner_alone(parties: list[Party]) -> None:
    for party in parties:
        for path in [party.home, *party.home.rglob("*")]:
            mode = stat.S_IMODE(path.stat().st_mode)
            assert mode == (0o700 if path.is_dir() else 0o600), path.name


def test_the_log_names_no_key_and_no_traceback(parties: list[Party]) -> None:
    for party in parties:
        text = (party.home / "aggregator.log").read_text()
        assert "released" in text
        assert "Traceback" not in text
        for file in ("sign.key", "seal.key"):
            assert (party.home / "identity" / file).read_text() not in text


# --- start and stop --------------------------------------------------------------------------


def refuse_to_start(home: Path, *, name: str = "agg-1", port: int = 0) -> str:
    """Start an aggregator that must not start; returns its one sentence."""
    done = subprocess.run(
        command(home, name=name, port=port), capture_output=True, text=True, timeout=START_S
    )
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
    assert "Traceback" not in done.stderr
    return done.stderr


def test_a_port_in_use_is_refused_with_one_sentence(tmp_path: Path, parties: list[Party]) -> None:
    port = int(parties[0].address.rpartition(":")[2])
    assert "choose another port" in refuse_to_start(tmp_path / "new", port=port)


def test_a_folder_serves_one_process_under_one_name(parties: list[Party]) -> None:
    assert "another one uses" in refuse_to_start(parties[0].home)


def test_a_folder_with_strange_files_is_refused_and_left_alone(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir(mode=0o755)
    (home / "thesis.txt").write_text("mine")
    assert "must be empty at its first start" in refuse_to_start(home)
    assert stat.S_IMODE(home.stat().st_mode) == 0o755
    assert [path.name for path in home.iterdir()] == ["thesis.txt"]


def test_a_file_in_place_of_the_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "home").write_text("not a folder")
    assert "read and write its folder" in refuse_to_start(tmp_path / "home")


def test_bad_names_are_refused(tmp_path: Path) -> None:
    assert "lower-case" in refuse_to_start(tmp_path / "home", name="../Agg")


@pytest.fixture(scope="module")
def stopped_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("stopped") / "home"
    process, _ = launch(home, name="agg-1")
    process.send_signal(signal.SIGINT)
    rest, _ = process.communicate(timeout=START_S)
    assert (process.returncode, rest) == (0, "")
    return home


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (lambda home: (home / "identity" / "seal.key").unlink(), "identity/seal.key"),
        (lambda home: (home / "identity" / "tls.key").chmod(0o644), "its owner alone"),
        (lambda home: (home / "identity" / "sign.key").write_text("00"), "keys must be whole"),
        (lambda home: (home / "state.sqlite").unlink(), "sound state.sqlite"),
        (lambda home: (home / "state.sqlite").write_text("broken" * 999), "sound state.sqlite"),
        (lambda home: (home / "state.sqlite").write_text(""), "sound state.sqlite"),
        (lambda home: (home / "identity").rename(home / "elsewhere"), "no keys"),
    ],
)
def test_a_half_written_folder_is_refused_with_one_sentence(
    stopped_home: Path, tmp_path: Path, damage: object, sentence: str
) -> None:
    home = tmp_path / "copy"
    subprocess.run(["cp", "-a", str(stopped_home), str(home)], check=True)
    damage(home)  # type: ignore[operator]
    assert sentence in refuse_to_start(home)


def test_a_lost_share_is_noticed_at_start(
    tmp_path: Path, parties: list[Party], lines: list[Line]
) -> None:
    plan = make_plan(parties, "lost")
    open_and_submit(plan, lines, THREE)
    home = tmp_path / "copy"
    subprocess.run(["cp", "-a", str(parties[0].home), str(home)], check=True)
    (home / "shares" / plan.hash / "train-1-north").unlink()
    assert "every share and sum" in refuse_to_start(home)


def test_a_first_start_that_was_interrupted_begins_again(
    stopped_home: Path, tmp_path: Path
) -> None:
    home = tmp_path / "copy"
    subprocess.run(["cp", "-a", str(stopped_home), str(home)], check=True)
    (home / "identity").rename(home / "identity.new")
    (home / "identity.new" / "seal.key").unlink()
    process, _ = launch(home, name="agg-1")
    process.terminate()
    process.communicate(timeout=START_S)
    assert process.returncode == 0


def test_a_restarted_aggregator_keeps_its_keys(parties: list[Party]) -> None:
    before = parties[1].entry
    parties[1].restart(signal.SIGTERM)
    assert parties[1].entry == before


def test_an_aggregator_dies_with_its_parent_if_asked(tmp_path: Path) -> None:
    arguments = [*command(tmp_path / "home", name="agg-1"), "--end-with-starter"]
    program = f"import subprocess; p = subprocess.Popen({arguments!r}); print(p.pid, flush=True); p.wait()"
    parent = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    child = int(parent.stdout.readline())
    try:
        assert parent.stdout.readline().startswith("ready agg-1 ")
        parent.kill()
        parent.wait()
        ended, _, _ = select.select([parent.stdout], [], [], START_S)
        assert ended, "the pipe ends when the aggregator is gone too"
        assert parent.stdout.read() == ""
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(child, signal.SIGKILL)
        parent.stdout.close()
