"""`launch.py` as a person runs it: up, again, a busy port, a broken folder, Ctrl-C."""

import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

import launch
from datasites import site_processes
from datasites.demo import stand_ins
from federation.aggregator import local_process
from federation.certificate import certificate, verification
from federation.evaluation import model_file
from federation.local import state_folder
from federation.researcher.session import Researcher
from syft_code.plans.plan_parts import DpSgd, Sgd
from tests.conftest import Live, free_ports
from tests.plans import TINY

pytestmark = pytest.mark.timeout(400)
ROOT = Path(__file__).parents[2]
NAMES = ("north", "east", "south")


def federation_file(folder: Path, first: int) -> Path:
    """Three small hospitals and two aggregators, on stand-ins of their own."""
    data = folder / "data"
    if not data.exists():
        stand_ins.write("ham10000", data, patients=60, seed=1)
    hospitals = "".join(
        f'[[hospital]]\nname = "{name}"\nport = {first + i}\ndata = "{data}"\npatients = 10\n'
        "epsilon = 8.0\ndelta = 1e-5\n"
        for i, name in enumerate(NAMES)
    )
    aggregators = "".join(
        f'[[aggregator]]\nname = "adder-{i}"\nport = {first + 10 + i}\n' for i in (1, 2)
    )
    path = folder / "federation.toml"
    path.write_text(hospitals + aggregators)
    return path


def run(*arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "launch.py", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=200,
    )


@contextmanager
def up(file: Path, state: Path) -> Iterator["subprocess.Popen[str]"]:
    """`launch.py up` until it has printed its table."""
    output = state.with_suffix(".out")
    with output.open("w") as out:
        process = subprocess.Popen(
            [sys.executable, "launch.py", "up", "--federation", str(file), "--state", str(state)],
            cwd=ROOT,
            stdout=out,
            stderr=subprocess.STDOUT,
            text=True,
        )
        try:
            deadline = time.monotonic() + 150
            while "Stop with Ctrl-C" not in output.read_text():
                assert process.poll() is None, output.read_text()
                assert time.monotonic() < deadline, output.read_text()
                time.sleep(0.2)
            yield process
        finally:
            process.terminate()
            process.wait(timeout=60)


def processes_of(state: Path) -> list[int]:
    """Every process whose command line names the folder."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and str(state) in (entry / "cmdline").read_text():
                found.append(int(entry.name))
        except OSError:
            continue
    return [pid for pid in found if pid != os.getpid()]


def kept(state: Path) -> dict[str, bytes]:
    """What must be the same after a restart: keys, ids, passwords, credentials."""
    names = [f"hospitals/{n}/{k}" for n in NAMES for k in ("vault/key", "desk/key", "desk.uid")]
    names += [f"hospitals/{n}/owner/{k}" for n in NAMES for k in ("key", "password")]
    names += [f"aggregators/adder-{i}/public.json" for i in (1, 2)] + ["researcher.json"]
    return {name: (state / name).read_bytes() for name in names}


@pytest.mark.slow
def test_up_again_finds_all_as_it_was_and_leaves_no_orphan(tmp_path: Path) -> None:
    state = tmp_path / "state"
    file = federation_file(tmp_path, free_ports(20))
    with up(file, state) as process:
        first = kept(state)
        assert all(site_processes.desk_is_healthy(state / "hospitals" / name) for name in NAMES)
        assert len(processes_of(state)) >= 9
        for name in ("owner/password", "owner/key"):
            assert (state / "hospitals" / "north" / name).stat().st_mode & 0o077 == 0
    assert process.returncode == 0
    assert not processes_of(state), "SIGTERM must leave no orphan"

    with up(file, state) as process:
        assert kept(state) == first
        assert local_process.is_healthy(state / "aggregators" / "adder-1")
        adder = ("--config", str(state / "aggregators" / "adder-1.toml"))
        healthy = run("aggregator", "health", *adder)
        assert (healthy.returncode, healthy.stderr) == (0, "")
        assert healthy.stdout.startswith("Healthy: 0 studies")
        os.kill(process.pid, signal.SIGKILL)  # the parties must not outlive even that
        deadline = time.monotonic() + 30
        while processes_of(state):
            assert time.monotonic() < deadline, "an orphan is left"
            time.sleep(0.2)
    table = state.with_suffix(".out").read_text()
    for word in ("north", "http://127.0.0.1:", "ham10000", "ε 8"):
        assert word in table

    (state / "hospitals" / "east" / "owner" / "key").unlink()
    broken = run("up", "--federation", str(file), "--state", str(state))
    assert broken.returncode == 1
    assert "half written" in broken.stderr
    assert "--reset" in broken.stderr
    assert "Traceback" not in broken.stdout + broken.stderr
    assert not processes_of(state)


def test_a_port_in_use_is_one_sentence(tmp_path: Path) -> None:
    with socket.socket() as taken:
        port = free_ports(20) + 1
        taken.bind(("127.0.0.1", port))
        taken.listen()
        file = federation_file(tmp_path, port - 1)  # east, the second, gets the taken one
        refused = run("up", "--federation", str(file), "--state", str(tmp_path / "state"))
    assert refused.returncode in (1, 2)
    text = refused.stderr
    assert f"east's front desk needs port {port}, which is in use" in text
    assert "Traceback" not in refused.stdout + refused.stderr
    assert not processes_of(tmp_path / "state")


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("not toml [", "TOML"),
        ("[[hospital]]\nname = 'a'", "port"),
        ("hospital = []\naggregator = []\nmin_hospitals = 2", "min_hospitals"),
        (
            "".join(
                f"[[hospital]]\nname='h{i}'\nport={9000 + i}\nepsilon=1.0\ndelta=1e-5\n"
                for i in range(2)
            )
            + "[[aggregator]]\nname='a'\nport=9100\n[[aggregator]]\nname='b'\nport=9101\n",
            "at least 3 hospitals",
        ),
    ],
)
def test_a_federation_file_that_cannot_be_is_one_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str, word: str
) -> None:
    path = tmp_path / "federation.toml"
    path.write_text(text)
    text = refusal(capsys, "up", "--federation", str(path), "--state", str(tmp_path / "state"))
    assert word in text


def refusal(capsys: pytest.CaptureFixture[str], *arguments: str, lines: int | None = 1) -> str:
    """What a command that must fail says, run in this process: the imports are paid for."""
    with pytest.MonkeyPatch.context() as patch, pytest.raises(SystemExit) as ended:
        patch.setattr(sys, "argv", ["launch.py", *arguments])
        launch.main()
    told = capsys.readouterr()
    assert ended.value.code in (1, 2)
    assert "Traceback" not in told.out + told.err
    if lines is not None:
        assert told.out == ""
        assert len(told.err.splitlines()) == lines
    return told.err


def test_wrong_words_on_the_command_line_are_one_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for arguments in (
        ("stand-ins", "--kind", "mri", "--out", str(tmp_path / "x")),
        ("stand-ins", "--kind", "brats", "--out", str(ROOT)),
        ("demo", "--data", str(tmp_path / "nowhere"), "--out", str(tmp_path / "runs")),
        ("demo", "--study", "brats", "--data", str(ROOT / "tests"), "--out", str(tmp_path / "r")),
    ):
        assert refusal(capsys, *arguments)


GRID = str(ROOT / "benchmarks" / "grids" / "heart.toml")


@pytest.mark.parametrize(
    ("line", "word"),
    [
        *((f"demo --budget {wrong} --out OUT", "--budget") for wrong in ("0", "-3", "nan", "inf")),
        *((f"demo --first-port {port} --out OUT", "--first-port") for port in (0, 65_434, 70_000)),
        ("demo --study melanoma --out OUT", "kind of data"),
        ("demo --study table --out OUT", "name a folder"),
        ("demo --data OUT/none --out OUT", "--data"),
        ("demo --out OUT/none/runs", "--out"),
        ("demo --out FILE", "--out"),
        ("demo --start-timeout nan --out OUT", "--start-timeout"),
        ("up --state OUT/s --first-port 70000", "--first-port"),
        ("up --state OUT/s --start-timeout 0", "--start-timeout"),
        ("up --state OUT/s --federation OUT", "can't be read"),
        ("up --state FILE", "--state"),
        ("up --state FILE --reset --yes", "--state"),
        ("lab --state OUT/s --first-port 0", "--first-port"),
        ("stand-ins --kind heart --out OUT/none/x", "--out"),
        ("stand-ins --kind heart --out FILE", "--out"),
        ("stand-ins --kind heart --patients -5 --out OUT/x", "--patients"),
        ("stand-ins --kind heart --seed -1 --out OUT/x", "--seed"),
        ("split --kind heart --rule site --out OUT/none/x.svg", "--out"),
        ("split --kind heart --rule site --out OUT", "--out"),
        ("split --kind heart --rule dirichlet:nan --out OUT/x.svg", "A split must be"),
        ("split --kind heart --rule site --hospitals -1 --out OUT/x.svg", "--hospitals"),
        ("split --kind heart --rule site --data FILE --out OUT/x.svg", "--data"),
        ("experiment report GRID --out OUT/none", "--out"),
        ("experiment run GRID --out FILE", "--out"),
        ("experiment run OUT --out OUT", "TOML"),
        ("study tune --study heart --epsilon nan", "--epsilon"),
        ("study tune --study melanoma --epsilon 8", "melanoma"),
        ("study tune --study heart --epsilon 8 --delta 0", "--delta"),
        ("study tune --study heart --epsilon 8 --time-limit nan", "--time-limit"),
        ("study tune --study heart --epsilon 8 --data OUT/none --public UCI", "--data"),
    ],
)
def test_what_cannot_be_is_one_sentence_before_any_work(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], line: str, word: str
) -> None:
    out, file = tmp_path / "out", tmp_path / "file"
    out.mkdir()
    file.write_text("mine")
    names = {"OUT": str(out), "FILE": str(file), "GRID": GRID}
    for name, path in names.items():
        line = line.replace(name, path)
    assert word in refusal(capsys, *line.split())
    assert list(out.iterdir()) == [] and file.read_text() == "mine", "nothing was begun"


def test_a_reset_comes_after_every_check_and_never_while_a_federation_runs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    state = tmp_path / "state"
    with state_folder.held(state):
        (state / "researcher.json").write_text("{}")
        words = ("up", "--reset", "--yes", "--state", str(state))
        assert "already" in refusal(capsys, *words, "--first-port", str(free_ports(110)))
    with socket.socket() as taken:
        port = free_ports(110)
        taken.bind(("127.0.0.1", port))
        taken.listen()
        assert "in use" in refusal(capsys, *words, "--first-port", str(port))
    assert "--yes" in refusal(
        capsys, *words[:2], *words[3:], "--first-port", str(free_ports(110)), lines=None
    )
    assert (state / "researcher.json").read_text() == "{}"


@pytest.mark.slow
def test_an_interrupted_demo_leaves_no_copy_of_anybodys_data(tmp_path: Path) -> None:
    data, out, said = tmp_path / "data", tmp_path / "runs", tmp_path / "said"
    stand_ins.write("heart", data, patients=120, seed=3)
    command = [sys.executable, "launch.py", "demo", "--study", "heart", "--data", str(data)]
    command += ["--out", str(out), "--first-port", str(free_ports(110))]
    with said.open("w") as file:
        process = subprocess.Popen(command, cwd=ROOT, stdout=file, stderr=file)
    deadline = time.monotonic() + 150
    while not list(out.glob("*/federation/hospitals/*/vault/cohorts/*")):
        assert process.poll() is None, said.read_text()
        assert time.monotonic() < deadline, said.read_text()
        time.sleep(0.1)
    for _ in range(2):
        process.send_signal(signal.SIGINT)
        time.sleep(0.2)
    assert process.wait(timeout=60) != 0
    assert list(out.iterdir()) == [], said.read_text()
    assert not processes_of(out)
    assert "Traceback" not in said.read_text()
    assert "vault: starting" in said.read_text() and "vault: ready" in said.read_text()
    assert ": Each row counts as one patient: the table names no patients." in said.read_text()


@pytest.mark.slow
def test_a_demo_with_a_small_budget_ends_with_what_is_left_and_keeps_what_it_has(
    tmp_path: Path,
) -> None:
    data, out = tmp_path / "data", tmp_path / "runs"
    stand_ins.write("ham10000", data, patients=160, seed=3)
    ended = run(
        "demo", "--data", str(data), "--out", str(out), "--budget", "1.8",
        "--first-port", str(free_ports(110)),
    )  # fmt: skip
    told = ended.stdout.replace("\n", " ")
    assert ended.returncode == 1, "not all of it happened"
    assert "Epsilon would reach 2.00 of 1.80; 1.79 is spent and 0.01 is left" in ended.stderr
    assert "STAND-IN DATA" in told
    assert "Done" not in told
    assert "Traceback" not in told + ended.stderr
    assert len(ended.stderr.splitlines()) == 1, "no warning and no stray print"
    (folder,) = out.iterdir()
    left = {path.name for path in folder.iterdir()}
    kept = {"model.safetensors", "model_card.md", "certificate.json", "report.html"}
    kept |= {"evidence.html"}
    assert left == kept, "no patient is kept"
    content = certificate.read(folder / "certificate.json")
    assert verification.check(content) == []
    assert "took part" in content["stopped_early"]
    model = model_file.load(folder / "model.safetensors")
    assert model.plan_hash == content["plan_hash"]
    assert "STAND-IN" in (folder / "report.html").read_text()


def told(*words: object) -> Any:
    """What a command prints with --json, run in this process."""
    done = CliRunner(mix_stderr=False).invoke(launch.app, [*map(str, words), "--json"])
    assert (done.exit_code, done.stderr) == (0, ""), (done.stdout, done.stderr, done.exception)
    return json.loads(done.stdout)


def test_owners_approve_at_the_command_line_and_anybody_holds_their_logs_to_account(
    live: Live, tmp_path: Path
) -> None:
    researcher = Researcher.connect(live.credentials)
    study = researcher.study(
        study=f"commands-{secrets.token_hex(4)}",
        asset="skin-lesions",
        recipe=TINY,
        dp_sgd=DpSgd(noise_multiplier=1.0, max_grad_norm=1.0, sample_rate=0.25, steps=2),
        optimizer=Sgd(learning_rate=0.5),
        rounds=1,
    )
    study.submit()
    homes = [("--state", live.state, "--hospital", home.name) for home in live.homes]
    before = told("ledger", *homes[0])["assets"][0]
    for home in homes:
        assert told("requests", "approve", study.plan.hash, "--days", "1", "--yes", *home)[
            "in_force"
        ]
    study.wait_for_approval(timeout_s=30)
    outcome = study.train()
    researcher.close()
    assert [len(record.trained) for record in outcome.rounds] == [len(homes)]
    after = told("ledger", *homes[0])["assets"][0]
    assert after["spent_epsilon"] > before["spent_epsilon"]
    assert len(after["events"]) == len(before["events"]) + 1
    assert study.plan.hash in after["in_force"]

    log, model = tmp_path / "log", tmp_path / "certificate.json"
    exported = told("audit", "export", "--out", log, *homes[0])
    certificate.write(model, certificate.certificate(outcome), key=researcher.key)
    adder = live.state / "aggregators" / live.config.aggregator[0].name / "public.json"
    checked = told("audit", "verify", log, "--certificate", model, "--aggregator", adder)
    assert checked["sound"] and checked["key_from"] == "certificate"
    assert checked["verify_key"] == exported["verify_key"]
    assert {one["source"].split()[0] for one in checked["anchors"]} == {"certificate", "aggregator"}
    assert not checked["without_anchor"]

    model_file.write(tmp_path / "model.safetensors", outcome.plan, outcome.weights)
    keys = {home.name: told("audit", "export", "--out", tmp_path / home.name, *where)["verify_key"]
            for home, where in zip(live.homes, homes, strict=True)}  # fmt: skip
    known = {"researcher": outcome.plan.researcher_key, "hospitals": keys}
    (tmp_path / "keys").write_text(json.dumps(known))
    found = told(
        "certificate", "verify", tmp_path / "model.safetensors", "--keys", tmp_path / "keys"
    )
    assert found["holds"] and found["keys_from"] == "option"
    stated = {own["name"]: own["epsilon"] for own in found["hospitals"]}
    assert stated == outcome.rounds[-1].epsilon


def test_a_command_at_the_command_line_says_one_sentence_and_no_more(tmp_path: Path) -> None:
    refused = run("ledger", "--state", str(tmp_path), "--hospital", "../north", "--json")
    assert refused.returncode in (1, 2) and not refused.stdout
    assert refused.stderr.startswith("There must be a hospital in ")
    assert refused.stderr.count("\n") == 1


SWALLOWED = """
import time
from syft_code.operation import interrupts

class Library:
    def __del__(self):
        raise KeyboardInterrupt

interrupts.hear()
Library()
try:
    time.sleep(20)
except KeyboardInterrupt:
    print("interrupted")
"""


def test_an_interrupt_that_a_library_swallowed_comes_again() -> None:
    ended = subprocess.run(
        [sys.executable, "-c", SWALLOWED], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert (ended.stdout, ended.stderr) == ("interrupted\n", "")
