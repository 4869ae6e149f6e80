"""An aggregator as its operator has it: one file, one process, and the words at the command line."""

import base64
import contextlib
import json
import os
import re
import select
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from nacl.signing import SigningKey
from typer.testing import CliRunner, Result

from federation.aggregator import config as aggregator_config
from federation.aggregator import data_dir as aggregator_data_dir
from federation.aggregator import identity as aggregator_identity
from federation.aggregator import local_process, signed_log
from federation.aggregator import service as aggregator_service
from federation.aggregator import study_records as study_records
from federation.aggregator.config import AggregatorConfig
from federation.aggregator.metrics import Condition, Metrics
from federation.aggregator.operator import admin_api, commands
from federation.aggregator.storage import store as aggregator_store
from federation.cli import audit_commands
from federation.researcher.collector import Collector
from federation.transport import aggregator_api
from federation.transport.aggregator_client import AggregatorClient
from syft_code import canonical
from syft_code.errors import InvalidInput, Refused, Unavailable
from syft_code.evidence import audit_chain
from syft_code.evidence.audit_chain import Entry
from syft_code.operation import metrics_http
from syft_code.plans import key_fingerprint, messages
from syft_code.plans.plan import Plan
from syft_code.plans.roster import Hospital
from syft_code.runtime import addresses
from syft_code.secret_sharing import envelope, sharing
from syft_code.secret_sharing.envelope import SealedShare
from syft_code.secret_sharing.vector_layout import VectorLayout
from tests import plans, tls_scan
from tests.conftest import free_ports

ROOT = Path(__file__).parents[3]
RESEARCHER = SigningKey.generate()
HOSPITALS = {name: SigningKey.generate() for name in ("berlin", "lisbon", "oslo")}
START_S = 60.0
PATIENCE_S = 20.0


@dataclass
class Operated:
    """One aggregator with its operator's file, and its process."""

    file: Path
    config: AggregatorConfig
    process: "subprocess.Popen[str] | None" = None

    @property
    def home(self) -> Path:
        return self.config.folder

    @property
    def metrics_url(self) -> str:
        return f"http://127.0.0.1:{self.config.metrics_port}"

    def start(self) -> None:
        self.process = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "federation.aggregator.operator.aggregator_process",
                "--config",
                str(self.file),
            ],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=ROOT,
        )
        assert self.process.stdout and self.process.stderr
        ready, _, _ = select.select([self.process.stdout], [], [], START_S)
        line = self.process.stdout.readline() if ready else ""
        assert line.startswith(f"ready {self.config.name} "), self.process.stderr.read()

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        assert self.process
        self.process.send_signal(number)
        _, errors = self.process.communicate(timeout=START_S)
        code, self.process = self.process.returncode, None
        assert errors == ""
        return code

    def told(self, *words: str, given: str = "") -> Result:
        """What a command says, run in this process."""
        runner = CliRunner(mix_stderr=False)
        return runner.invoke(
            commands.app(), [words[0], "--config", str(self.file), *words[1:]], given
        )

    def document(self, *words: str) -> Any:
        done = self.told(*words, "--json")
        assert done.exit_code == 0, (done.stdout, done.exception)
        return json.loads(done.stdout)


def operated(folder: Path, name: str, **fields: object) -> Operated:
    """An aggregator's file in this folder, with a port for it and one for its metrics."""
    port = free_ports(2)
    table: dict[str, object] = {
        "name": name, "home": name, "port": port, "metrics_port": port + 1, "log_level": "debug",
        "researchers": [bytes(RESEARCHER.verify_key).hex()],
    }  # fmt: skip
    text = "".join(f"{key} = {json.dumps(value)}\n" for key, value in (table | fields).items())
    file = folder / f"{name}.toml"
    file.write_text(text)
    return Operated(file=file, config=aggregator_config.load(file))


Operate = Callable[..., Operated]


@contextlib.contextmanager
def operating(folder: Path) -> Iterator[Operate]:
    """The function that makes aggregators in a folder; what still runs in the end is killed."""
    made: list[Operated] = []

    def operate(name: str, **fields: object) -> Operated:
        made.append(operated(folder, name, **fields))
        return made[-1]

    try:
        yield operate
    finally:
        for one in made:
            if one.process:
                one.process.kill()
                one.process.communicate()


@pytest.fixture
def operate(tmp_path: Path) -> Iterator[Operate]:
    with operating(tmp_path) as function:
        yield function


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Operated]]:
    """Two aggregators that run."""
    with operating(tmp_path_factory.mktemp("operated")) as function:
        made = [function(name) for name in ("adder-1", "adder-2")]
        for one in made:
            one.start()
        yield made
        assert [one.stop() for one in made] == [0, 0]


def a_plan(aggregators: Sequence[Operated], study: str) -> Plan:
    return plans.plan(
        study=study,
        researcher_key=plans.public(RESEARCHER),
        hospitals=tuple(
            Hospital(
                name=name,
                verify_key=plans.public(key),
                asset="skin-lesions",
                asset_version=1,
                patients=40,
            )
            for name, key in HOSPITALS.items()
        ),
        aggregators=tuple(aggregator_identity.published(one.home) for one in aggregators),
    )


@dataclass
class Round:
    """One round as the hospitals know it: what nobody may find at an aggregator."""

    plan: Plan
    shares: dict[str, list[SealedShare]]
    secrets: dict[str, bytes]


def seal_round(plan: Plan, round_number: int = 1) -> Round:
    shares, secrets = {}, {}
    for name, key in HOSPITALS.items():
        seeds = [os.urandom(32) for _ in range(envelope.scheme(plan).pieces - 1)]
        content_keys = [os.urandom(32) for _ in plan.aggregators]
        values = np.random.default_rng().normal(size=VectorLayout.of(plan).values_length("train"))
        shares[name] = envelope.seal(
            plan,
            hospital=name,
            purpose="train",
            round_number=round_number,
            values=values,
            hospital_key=key,
            statement=envelope.LONGEST_STATEMENT,
            seeds=seeds,
            content_keys=content_keys,
        )
        secrets |= {f"{name}'s seed {i}": seed for i, seed in enumerate(seeds)}
        secrets |= {f"{name}'s content key {i}": one for i, one in enumerate(content_keys)}
        encoded = sharing.encode(values, plan.sharing, hospitals=len(plan.hospitals))
        secrets[f"{name}'s update"] = encoded.tobytes()
    return Round(plan=plan, shares=shares, secrets=secrets)


def play(
    plan: Plan, aggregators: Sequence[Operated], *, round_number: int = 1, release: bool = True
) -> Round:
    """A whole round, or all of it but the sum."""
    played = seal_round(plan, round_number)
    clients = [AggregatorClient(one, patience_s=PATIENCE_S) for one in plan.aggregators]
    collector = Collector(plan, clients, RESEARCHER)
    collector.open()
    for shares in played.shares.values():
        for client, share in zip(clients, shares, strict=True):
            client.submit(share)
    if release:
        collector.collect("train", round_number, hospitals=HOSPITALS)
    for client in clients:
        client.close()
    return played


def looked_at(url: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:  # noqa: S310 - our own address
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as problem:
        with problem:
            return problem.code, problem.read().decode()


def metric(one: Operated, name: str) -> float:
    _, text = looked_at(f"{one.metrics_url}/metrics")
    found = re.search(rf"^consilium_aggregator_{re.escape(name)} (\S+)$", text, re.MULTILINE)
    assert found, f"{name} in {text}"
    return float(found[1])


def refusal(done: Result) -> str:
    """The one sentence of a command that must fail."""
    assert done.exit_code in (1, 2)
    assert isinstance(done.exception, InvalidInput | Refused | Unavailable), done.exception
    return str(done.exception)


# --- start, show, health ---------------------------------------------------------------------


def test_show_prints_what_is_compared_by_telephone(two: list[Operated]) -> None:
    text = two[0].told("show").stdout
    entry = aggregator_identity.published(two[0].home)
    digits = text.replace(" ", "")
    assert entry.verify_key in digits and entry.seal_key in digits
    done = subprocess.run(
        ["openssl", "x509", "-noout", "-fingerprint", "-sha256"],
        input=entry.certificate,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip().rpartition("=")[2] in text
    document = two[0].document("show")
    assert document["words"] in text
    assert document["words"] == key_fingerprint.words(entry.verify_key, entry.seal_key)
    assert canonical.encode(document["entry"]) == (two[0].home / "public.json").read_bytes()


def test_health_is_a_sentence_and_an_exit_code(two: list[Operated], operate: Operate) -> None:
    done = two[0].told("health")
    assert done.exit_code == 0
    assert done.stdout.startswith("Healthy: ") and done.stdout.count("\n") == 1
    assert two[0].document("health")["healthy"] is True
    assert looked_at(f"{two[0].metrics_url}/healthz") == (200, done.stdout)
    never = operate("never")
    assert "must have been started once" in refusal(never.told("health"))
    never.home.mkdir()
    assert "must have been started once" in refusal(never.told("show"))


def test_a_folder_copied_behind_a_dead_socket_is_not_healthy(operate: Operate) -> None:
    one = operate("gone", metrics_port=0)
    one.start()
    assert one.told("health").exit_code == 0
    assert one.stop(signal.SIGKILL) == -signal.SIGKILL
    assert (one.home / aggregator_data_dir.SOCKET).exists(), "a killed process leaves it"
    assert f"does not answer at 127.0.0.1:{one.config.port}" in refusal(one.told("health"))
    one.start()
    assert one.told("health").exit_code == 0
    assert one.stop(signal.SIGINT) == 0
    assert not (one.home / aggregator_data_dir.SOCKET).exists()


def test_the_product_starts_it_without_a_further_word(tmp_path: Path, operate: Operate) -> None:
    """`consilium aggregator --config FILE`, as the documentation says; relative to anywhere."""
    one = operate("launched", metrics_port=0, user=0)  # as who starts it
    process = subprocess.Popen(
        [sys.executable, str(ROOT / "launch.py"), "aggregator", "--config", one.file.name],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=tmp_path,
    )
    assert process.stdout
    said = [process.stdout.readline() for _ in range(2)]
    assert said[0].startswith("Starting launched. Keys, shares")
    assert said[1] == f"ready launched 127.0.0.1:{one.config.port}\n"
    mapped = Path(f"/proc/{process.pid}/maps").read_text()
    assert "/grpc/" in mapped and "/torch/" not in mapped, "PySyft and PyTorch are not in it"
    process.terminate()
    rest, errors = process.communicate(timeout=START_S)
    assert (process.returncode, rest, errors) == (0, "", "")
    refused = subprocess.run(
        [sys.executable, str(ROOT / "launch.py"), "aggregator", "--config", "missing.toml"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
    )
    assert refused.returncode in (1, 2) and not refused.stdout
    assert refused.stderr == (
        "The aggregator's file missing.toml can't be read: No such file or directory.\n"
    )


# --- what must not be started ----------------------------------------------------------------


def refused_start(one: Operated) -> str:
    """The one sentence of an aggregator that does not start."""
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "federation.aggregator.operator.aggregator_process",
            "--config",
            str(one.file),
        ],
        capture_output=True,
        text=True,
        timeout=START_S,
        cwd=ROOT,
    )
    assert done.returncode in (1, 2) and not done.stdout
    assert done.stderr.count("\n") == 1 and "Traceback" not in done.stderr
    return done.stderr


BASE = 'name = "adder"\nhome = "home"\nport = 8201\n'


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ('name = "adder"\nhome = "home"', "port must be there, and is not"),
        (BASE + "metrics_prot = 1", "metrics_prot is no field of an aggregator; the fields are"),
        (BASE + 'log_level = "loud"', "log_level must be 'debug'"),
        (BASE + "metrics_port = true", "metrics_port must be a valid integer"),
        (BASE.replace("8201", "70000"), "port must be less than or equal to 65535"),
        (BASE.replace("adder", "../Adder"), "name must be 1 to 40 lower-case letters"),
        (BASE.replace('"home"', '""'), "home must be a folder"),
        (BASE + 'host = "a b"', "host must be an IP address or a host name"),
        (BASE + 'host = "0.0.0.0"', "public_address must say how others reach it"),
        (BASE + 'public_address = "example.org"', "public_address must be host:port"),
        (BASE + 'public_address = "0.0.0.0:8201"', "public_address must be host:port"),
        (BASE + 'public_address = "::1:8201"', "public_address must be host:port"),
        (BASE + "metrics_port = 8201", "metrics_port must not be the port of the aggregator"),
        (BASE + 'researchers = ["abc"]', "researchers must be a list of public keys"),
        (BASE + "max_stored_gib = 0.0", "max_stored_gib and max_study_gib must be above 0"),
        (BASE + "max_study_gib = -1.0", "max_stored_gib and max_study_gib must be above 0"),
        (BASE + "max_stored_gib = nan", "max_stored_gib must be a finite number"),
        (BASE + "stop_grace_s = -1.0", "stop_grace_s must be greater than or equal to 0"),
        ("name = ", "must be TOML"),
    ],
)
def test_a_file_that_cannot_be_is_one_sentence_that_names_the_field(
    tmp_path: Path, text: str, sentence: str
) -> None:
    file = tmp_path / "aggregator.toml"
    file.write_text(text)
    with pytest.raises(InvalidInput, match=re.escape(sentence)) as caught:
        aggregator_config.load(file)
    assert str(file) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_home_is_beside_its_file_and_the_example_of_deploy_is_in_order(tmp_path: Path) -> None:
    file = tmp_path / "aggregator.toml"
    file.write_text(BASE)
    assert aggregator_config.load(file).folder == tmp_path / "home"
    example = aggregator_config.load(ROOT / "deploy" / "aggregator.toml")
    assert example.folder == Path("/var/lib/consilium-aggregator")
    assert example.hosts == ("aggregator.example.org",)
    named = set(re.findall(r"(?m)^(\w+) =", (ROOT / "deploy" / "aggregator.toml").read_text()))
    assert named == set(AggregatorConfig.__dataclass_fields__), "every field is explained there"


def test_an_aggregator_is_reached_at_its_public_address_and_nowhere_else(operate: Operate) -> None:
    public = operate("public")
    outside = f"localhost:{public.config.port}"
    public = operate(
        "public",
        host=addresses.EVERYWHERE[0],
        port=public.config.port,
        public_address=outside,
    )
    public.start()
    entry = aggregator_identity.published(public.home)
    assert entry.address == outside
    assert local_process.is_healthy(public.home)
    assert public.told("health").exit_code == 0
    assert public.stop() == 0
    moved = operate(
        "public", host=addresses.EVERYWHERE[0], public_address="elsewhere.example.org:8201"
    )
    assert "and not for elsewhere.example.org: start it under" in refused_start(moved)
    renamed = operate("other", home="public")
    assert "certificate is for the aggregator 'public'" in refused_start(renamed)
    assert not local_process.is_healthy(public.home, address="127.0.0.1:1")


def test_a_folder_that_others_may_read_is_refused(
    two: list[Operated], tmp_path: Path, operate: Operate
) -> None:
    home = tmp_path / "open"
    subprocess.run(["cp", "-a", str(two[0].home), str(home)], check=True)
    open_ = operate("adder-1", home="open")
    for mode in (0o750, 0o701):
        home.chmod(mode)
        assert f"has mode {mode:03o}" in refused_start(open_)
        assert stat.S_IMODE(home.stat().st_mode) == mode, "it is not mended behind one's back"
        assert f"has mode {mode:03o}" in refusal(open_.told("studies"))
    home.chmod(0o700)
    (home / "identity" / "seal.key").unlink()
    assert "must hold identity/seal.key" in refused_start(open_)
    assert "must hold identity/seal.key" in refusal(open_.told("studies"))


def test_a_busy_port_or_folder_is_one_sentence(two: list[Operated], operate: Operate) -> None:
    busy = operate("busy", port=two[0].config.port)
    assert f"127.0.0.1:{two[0].config.port} is not" in refused_start(busy)
    metrics = operate("metrics", metrics_port=two[0].config.metrics_port)
    assert "The metrics' port must be free" in refused_start(metrics)
    again = operate("adder-1", home=str(two[0].home))
    assert "another one uses" in refused_start(again)
    assert two[0].told("health").exit_code == 0


# --- a round, watched ------------------------------------------------------------------------


def test_a_round_shows_in_the_metrics_the_list_and_the_log(
    two: list[Operated], tmp_path: Path
) -> None:
    plan = a_plan(two, "watched")
    names = ("shares_taken_total", "sums_released_total", "sum_seconds_count", "refusals_total")
    before = {name: metric(two[0], name) for name in (*names, "received_bytes_total")}
    played = play(plan, two)
    grown = {name: metric(two[0], name) - before[name] for name in before}
    arrived = sum(len(shares[0].sealed) for shares in played.shares.values())
    assert [grown[name] for name in names] == [3, 1, 1, 0]
    assert grown["received_bytes_total"] == arrived
    stored = sum(path.stat().st_size for path in (two[0].home / "sums").rglob("*-*"))
    assert metric(two[0], "stored_bytes") == stored > 0
    assert metric(two[0], "free_disk_bytes") > metric(two[0], "reserve_disk_bytes")
    assert metric(two[0], "healthy") == 1
    assert 0 < metric(two[0], "start_time_seconds") < time.time()

    facts = next(s for s in two[0].document("studies")["studies"] if s["study"] == "watched")
    vector = len(sharing.encode(np.zeros(1), plan.sharing, hospitals=3).tobytes())
    assert facts == {
        "plan_hash": plan.hash, "study": "watched", "rounds": 3, "summed_rounds": 1,
        "summed_evaluations": 0, "shares": 3, "wiped": False,
        "size_bytes": vector * VectorLayout.of(plan).vector_length("train"),
    }  # fmt: skip
    assert re.search(rf"watched +│ {plan.hash[:12]} +│ +1 of 3", two[0].told("studies").stdout)

    out = tmp_path / "log"
    two[0].document("log", "--out", str(out))
    verify_key = aggregator_identity.published(two[0].home).verify_key
    assert audit_chain.verify(out.read_bytes(), verify_key=verify_key).problems == ()
    entries = [
        e for e in audit_chain.entries(out.read_bytes()) if e.facts.get("plan_hash") == plan.hash
    ]
    assert [entry.kind for entry in entries] == ["study opened", "set chosen", "sum released"]
    assert entries[1].facts["hospitals"] == entries[2].facts["hospitals"] == "berlin lisbon oslo"
    summed = next((two[0].home / "sums" / plan.hash).iterdir())
    assert entries[2].facts["sum_sha256"] == canonical.sha256(summed.read_bytes())
    assert "is there already" in refusal(two[0].told("log", "--out", str(out)))


def test_anybody_checks_an_exported_log_with_the_key_of_the_roster(
    two: list[Operated], tmp_path: Path
) -> None:
    out = tmp_path / "log"
    told = two[0].told("log", "--out", str(out)).stdout
    assert stat.S_IMODE(out.stat().st_mode) == 0o600
    key = aggregator_identity.published(two[0].home).verify_key
    assert f"audit verify {out} --key {key}" in told
    checked = audit_commands.check(out.read_bytes(), key=key)
    assert not checked.problems and checked.verdict.party == "adder-1"
    changed = out.read_bytes().replace(b"started", b"stopped", 1)
    assert audit_commands.check(changed, key=key).problems
    other = aggregator_identity.published(two[1].home).verify_key
    assert audit_commands.check(out.read_bytes(), key=other).problems


class Secrets:
    """Looks for secrets in text and bytes: raw, as hexadecimal digits and as base64."""

    def __init__(self, secrets: dict[str, bytes]) -> None:
        self.forms: list[tuple[str, bytes]] = []
        for name, secret in secrets.items():
            for part in self._parts(secret):
                self.forms += [
                    (name, part),
                    (f"{name} in hex", part.hex().encode()),
                    (f"{name} in HEX", part.hex().upper().encode()),
                    (f"{name} as Python shows it", repr(part)[2:-1].encode()),
                    *((f"{name} in base64", self._base64(part, shift)) for shift in range(3)),
                ]

    def in_(self, data: bytes) -> list[str]:
        """The names of those that are there."""
        return [name for name, form in self.forms if form in data]

    def _parts(self, secret: bytes) -> list[bytes]:
        """Of a key, its first 16 bytes; of a vector, some runs of 16 bytes that aren't all zero."""
        starts = range(0, max(len(secret) - 16, 1), max(len(secret) // 64, 16))
        parts = [secret[start : start + 16] for start in starts]
        return [part for part in parts if len(set(part)) > 6] or parts[:1]

    def _base64(self, part: bytes, shift: int) -> bytes:
        """What base64 makes of a run that begins at any place of a group of three bytes."""
        return base64.b64encode(part[shift:])[:16]


def folder_secrets(one: Operated) -> dict[str, bytes]:
    identity = one.home / "identity"
    found = {
        f"{one.config.name}'s {name}": bytes.fromhex((identity / name).read_text())
        for name in ("sign.key", "seal.key")
    }
    lines = (identity / "tls.key").read_text().splitlines()
    return found | {f"{one.config.name}'s tls.key": base64.b64decode("".join(lines[1:-1]))[40:72]}


def test_no_secret_is_in_the_log_the_metrics_or_any_answer_at_debug_level(
    two: list[Operated], tmp_path: Path
) -> None:
    plan = a_plan(two, "secretive")
    secrets: dict[str, bytes] = {}
    taken: dict[str, bytes] = {}
    for number, release in ((1, True), (2, False)):
        played = play(plan, two, round_number=number, release=release)
        secrets |= {f"round {number}: {name}": one for name, one in played.secrets.items()}
        for hospital, shares in played.shares.items():
            for place, share in enumerate(shares):
                taken[f"round {number}: share {place} of {hospital}"] = bytes(share.sealed)
    for one in two:
        payloads = (one.home / "shares" / plan.hash).iterdir()
        secrets |= {f"{one.config.name}'s {path.name}": path.read_bytes() for path in payloads}
        sums = (one.home / "sums" / plan.hash).iterdir()
        secrets |= {f"{one.config.name}'s sum {path.name}": path.read_bytes() for path in sums}
        secrets |= folder_secrets(one)
    assert len(secrets) >= 3 * 2 * 4 + 6 + 2 + 6
    look = Secrets(secrets | taken)
    for one in two:
        with contextlib.suppress(Exception):  # a call that fails is logged too
            AggregatorClient(plan.aggregators[0], patience_s=1.0).submit(
                seal_round(plan).shares["oslo"][0]
            )
        out = tmp_path / one.config.name
        one.told("log", "--out", str(out))
        places = {
            "metrics": looked_at(f"{one.metrics_url}/metrics")[1].encode(),
            "healthz": looked_at(f"{one.metrics_url}/healthz")[1].encode(),
            "log": (one.home / aggregator_data_dir.LOG).read_bytes(),
            "signed log": out.read_bytes(),
            "database": (one.home / "state.sqlite").read_bytes(),
            "public": (one.home / "public.json").read_bytes(),
            **{word: one.told(word).output.encode() for word in ("show", "health", "studies")},
        }
        assert b'"level": "debug"' in places["log"] and b"share of oslo taken" in places["log"]
        assert {where: look.in_(data) for where, data in places.items()} == {
            where: [] for where in places
        }
        public = places["metrics"] + places["healthz"]
        names = [*HOSPITALS, "secretive", plan.hash[:8], one.config.name]
        assert not [name for name in names if name.encode() in public]


def test_the_test_for_secrets_would_find_one() -> None:
    secret = bytes(range(100, 180))
    look = Secrets({"it": secret})
    for text in (
        secret[:40], secret.hex().encode(), secret.hex().upper().encode(), repr(secret).encode(),
        base64.b64encode(secret), base64.b64encode(b"x" + secret), base64.b64encode(b"xy" + secret),
    ):  # fmt: skip
        assert look.in_(b"before" + text + b"after"), text
    assert not look.in_(os.urandom(100_000))


# --- health under pressure -------------------------------------------------------------------


def a_condition(**changes: Any) -> Condition:
    fields: dict[str, Any] = {
        "studies": 1, "wiped_studies": 0, "stored_bytes": 10, "free_bytes": 100,
        "reserve_bytes": 50, "max_stored_bytes": 2**40,
    }  # fmt: skip
    return Condition(**(fields | changes))


@pytest.mark.parametrize(
    ("changes", "status", "sentence"),
    [
        ({}, 200, "Healthy: 1 study"),
        ({"free_bytes": 51}, 200, "Healthy"),
        ({"free_bytes": 50}, 503, "The disk must have more than"),
        ({"max_stored_bytes": 11}, 200, "Healthy"),
        ({"max_stored_bytes": 10}, 503, "may be stored (max_stored_gib)"),
    ],
)
@pytest.mark.servers
def test_healthz_says_503_when_no_share_can_be_taken(
    changes: dict[str, Any], status: int, sentence: str
) -> None:
    port = free_ports(1)
    metrics = Metrics(lambda: a_condition(**changes))
    with metrics_http.served(metrics, host="127.0.0.1", port=port):
        code, text = looked_at(f"http://127.0.0.1:{port}/healthz")
        assert (code, sentence in text) == (status, True)
        healthy = float(status == 200)
        assert f"healthy {healthy}\n" in looked_at(f"http://127.0.0.1:{port}/metrics")[1]
        assert looked_at(f"http://127.0.0.1:{port}/state.sqlite")[0] == 404


def test_a_full_disk_is_seen_on_a_running_aggregator(
    monkeypatch: pytest.MonkeyPatch, two: list[Operated], operate: Operate
) -> None:
    """A reserve that no disk has stands for a disk that is full; the command says so, with 1."""
    full = operate("full")
    subprocess.run(["cp", "-a", str(two[1].home), str(full.home)], check=True)
    config = replace(two[1].config, home=str(full.home), max_stored_gib=1e-9)
    with aggregator_data_dir.own(config.folder, make=False):
        (config.folder / aggregator_data_dir.SOCKET).unlink(missing_ok=True)
        with (
            aggregator_service.opened(config) as service,
            admin_api.served(config.folder, service),
            admin_api.at(config) as admin,
        ):
            monkeypatch.setattr(aggregator_service, "RESERVE_BYTES", 2**50)
            assert "no share is taken until there is room" in admin.condition().sentence
            monkeypatch.undo()
            stored = admin.condition().stored_bytes
            assert ("max_stored_gib" in admin.condition().problem) == (stored > 0)


@pytest.mark.servers
def test_the_metrics_answer_few_at_a_time_and_hang_up_on_the_slow(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    port = free_ports(1)
    metrics = Metrics(a_condition)
    monkeypatch.setattr(metrics_http, "REQUEST_S", 3.0)
    with (
        metrics_http.served(metrics, host="127.0.0.1", port=port),
        contextlib.ExitStack() as open_,
    ):
        for _ in range(metrics_http.MOST_REQUESTS):
            line = open_.enter_context(socket.create_connection(("127.0.0.1", port)))
            line.sendall(b"GET /metrics")
        time.sleep(0.3)
        with pytest.raises((urllib.error.URLError, ConnectionError)):
            looked_at(f"http://127.0.0.1:{port}/healthz")
        assert answers_in_the_end(f"http://127.0.0.1:{port}/healthz")


def answers_in_the_end(url: str) -> bool:
    """Ask until it answers; the test's own timeout ends what never comes."""
    while True:
        try:
            return looked_at(url)[0] == 200
        except (urllib.error.URLError, ConnectionError):
            time.sleep(0.1)


# --- wiping ----------------------------------------------------------------------------------


def vectors(one: Operated, plan: Plan) -> list[Path]:
    """What lies there of a study."""
    folders = (one.home / "shares" / plan.hash, one.home / "sums" / plan.hash)
    return [path for folder in folders if folder.is_dir() for path in folder.iterdir()]


def proof_of(one: Operated, plan: Plan) -> Entry:
    """The one entry about a wipe, from an exported log that is sound."""
    out = one.file.with_name(f"log-{os.urandom(4).hex()}")
    one.document("log", "--out", str(out))
    found = [
        entry
        for entry in audit_chain.entries(out.read_bytes())
        if entry.kind == "study wiped" and entry.facts["plan_hash"] == plan.hash
    ]
    assert len(found) == 1
    return found[0]


@pytest.mark.parametrize("running", [True, False])
def test_a_wiped_study_is_gone_for_ever_and_the_log_proves_it(
    two: list[Operated], running: bool
) -> None:
    plan = a_plan(two, f"over-{running}".lower())
    played = play(plan, two)
    waiting = play(plan, two, round_number=2, release=False)
    one = two[0]
    before = vectors(one, plan)
    size = sum(path.stat().st_size for path in before)
    assert len(before) == 3 + 1 and size
    if not running:
        assert one.stop() == 0
    asked = one.told("wipe", "--study", plan.hash[:16], given="n\n")
    assert "Nothing was wiped" in refusal(asked)
    assert f"{size:,} bytes here" in asked.stdout and "1 of 3 rounds summed" in asked.stdout
    assert vectors(one, plan) == before
    done = one.told("wipe", "--study", plan.hash[:16], given="y\n")
    assert done.exit_code == 0, done.exception
    assert f"Deleted: shares 3, sums 1, bytes {size:,}." in done.stdout
    assert vectors(one, plan) == []
    assert vectors(two[1], plan) != [], "the other aggregator has an operator of its own"

    proof = proof_of(one, plan)
    headers = sorted(
        canonical.encode(shares[0].header)
        for rounds in (played, waiting)
        for shares in rounds.shares.values()
    )
    digest = canonical.sha256(b"".join(header + b"\n" for header in headers))
    assert proof.facts == {
        "plan_hash": plan.hash, "study": plan.study, "shares": "3", "sums": "1",
        "size_bytes": str(size), "headers": "6", "headers_sha256": digest,
    }  # fmt: skip
    assert audit_chain.entry_sha256(
        messages.Signed(message=canonical.encode(proof).decode(), signature="")
    ) in (done.stdout)
    again = one.told("wipe", "--study", plan.hash)
    assert "was wiped before" in again.stdout, "and it does not ask"
    assert proof_of(one, plan) == proof
    document = one.document("wipe", "--study", plan.hash[:4], "--yes")
    signed = messages.Signed(**document["signed"])
    assert messages.verify(Entry, signed, document["verify_key"]) == proof
    listed = {s["plan_hash"]: s for s in one.document("studies")["studies"]}[plan.hash]
    assert listed["wiped"] and listed["size_bytes"] == 0

    if not running:
        one.start()
    assert metric(one, 'studies{state="wiped"}') >= 1
    client = AggregatorClient(plan.aggregators[0], patience_s=PATIENCE_S)
    with pytest.raises(Refused, match="wiped"):
        client.open_study(plan, RESEARCHER)
    with pytest.raises(Refused, match="wiped"):
        client.submit(waiting.shares["oslo"][0])
    client.close()


def test_a_study_is_named_by_enough_digits_of_one(two: list[Operated]) -> None:
    play(a_plan(two, "named"), two, release=False)
    for text, sentence in (
        ("abc", "first 4 to 64 hexadecimal digits"),
        ("named", "first 4 to 64 hexadecimal digits"),
        ("../state", "first 4 to 64 hexadecimal digits"),
        ("0" * 64, "names 0"),
    ):
        assert sentence in refusal(two[0].told("wipe", "--study", text, "--yes"))
    twins = tuple(
        study_records.StudyFacts(
            plan_hash=f"abcd{digit}" + "0" * 59,
            study="s",
            rounds=1,
            summed_rounds=0,
            summed_evaluations=0,
            shares=0,
            size_bytes=0,
            wiped=False,
        )
        for digit in "12"
    )
    assert study_records.named(twins, "ABCD2").plan_hash.startswith("abcd2")
    with pytest.raises(InvalidInput, match="names 2"):
        study_records.named(twins, "abcd")


def test_a_wipe_that_was_killed_halfway_goes_on_at_the_next_start(operate: Operate) -> None:
    made = [operate(name, metrics_port=0) for name in ("adder-1", "adder-2")]
    for one in made:
        one.start()
    plan = a_plan(made, "halfway")
    play(plan, made)
    for one in made:
        assert one.stop() == 0
    store = aggregator_store.AggregatorStore(made[0].home)
    assert store.begin_wipe(plan.hash), "and then the power failed"
    store.close()
    assert vectors(made[0], plan)
    made[0].start()
    assert not vectors(made[0], plan)
    assert proof_of(made[0], plan).facts["sums"] == "1"
    assert made[0].stop() == 0


def test_only_the_folders_user_reaches_the_operators_door(two: list[Operated]) -> None:
    door = two[0].home / aggregator_data_dir.SOCKET
    assert stat.S_ISSOCK(door.stat().st_mode)
    assert stat.S_IMODE(door.stat().st_mode) == 0o600
    assert stat.S_IMODE(two[0].home.stat().st_mode) == 0o700
    entry = aggregator_identity.published(two[0].home)
    credentials = grpc.ssl_channel_credentials(entry.certificate.encode())
    with grpc.secure_channel(entry.address, credentials) as channel:
        wipe = channel.unary_stream(f"/{admin_api.SERVICE}/Wipe")
        with pytest.raises(grpc.RpcError) as caught:
            list(wipe(b"00" * 32, timeout=5))
    assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED, "not at the researchers' port"


@pytest.mark.skipif(os.geteuid() != 0, reason="needs to become another user")
def test_another_user_of_the_machine_can_do_nothing(two: list[Operated]) -> None:
    program = (
        "from federation.aggregator.operator import commands as command; import os, sys;"
        "os.setgroups([]); os.setgid(65534); os.setuid(65534);"
        "command.main()"
    )
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        file = Path(folder) / "aggregator.toml"
        text = two[0].file.read_text()
        file.write_text(text.replace('home = "adder-1"', f'home = "{two[0].home}"'))
        file.chmod(0o644)
        for words in (["show"], ["studies"], ["health"], ["wipe", "--study", "00ff", "--yes"]):
            done = subprocess.run(
                [sys.executable, "-c", program, *words, "--config", str(file)],
                capture_output=True,
                text=True,
                cwd=ROOT,
            )
            assert done.returncode in (1, 2) and not done.stdout, words
            assert "ask as the user that it runs as" in done.stderr
            assert done.stderr.count("\n") == 1


# --- the signed log --------------------------------------------------------------------------


def change_log(home: Path, statement: str) -> None:
    """Behind the aggregator's back, as whoever owns the disk can."""
    store = aggregator_store.AggregatorStore(home)
    with store.transaction() as database:
        database.execute("DROP TRIGGER log_is_fixed")
        database.execute("DROP TRIGGER log_is_kept")
        database.execute(statement)
    store.close()


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE log SET message = replace(message, 'started', 'stopped') WHERE number = 1",
        "DELETE FROM log WHERE number = 1",
        "UPDATE log SET signature = replace(signature, '0', '1')",
    ],
)
def test_a_log_that_was_changed_stops_the_next_start(statement: str, operate: Operate) -> None:
    one = operate("logged", metrics_port=0)
    for _ in range(2):
        one.start()
        assert one.stop() == 0
    change_log(one.home, statement)
    assert "must be an unbroken chain" in refused_start(one)
    assert "must be an unbroken chain" in refusal(one.told("studies"))


def test_the_log_is_append_only_and_goes_with_the_act_or_not_at_all(
    two: list[Operated], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "adder-1"
    subprocess.run(["cp", "-a", str(two[0].home), str(home)], check=True)
    config = replace(two[0].config, home=str(home))
    with aggregator_service.opened(config) as service:
        store = service._store
        for statement in ("DELETE FROM log", "UPDATE log SET kind = 'x'"):
            with pytest.raises(Exception, match="append-only"), store.transaction() as database:
                database.execute(statement)
        before = service.studies()
        plan = a_plan(two, "unlogged")
        call = messages.sign(messages.OpenCall(plan_hash=plan.hash), RESEARCHER)
        request = aggregator_api.OpenStudy(call=call, plan=plan.encode().decode())
        with monkeypatch.context() as broken, pytest.raises(RuntimeError):
            broken.setattr(signed_log.AggregatorLog, "append", broken_append)
            service.aggregation.open_study(request)
        assert service.studies() == before
        service.aggregation.open_study(request)
        assert len(service.studies()) == len(before) + 1


def broken_append(*_: object) -> None:
    raise RuntimeError("no room for a line")


# --- stop and go on --------------------------------------------------------------------------


def test_a_stop_lets_a_running_upload_end(operate: Operate) -> None:
    made = [operate(name) for name in ("adder-1", "adder-2")]
    for one in made:
        one.start()
    plan = a_plan(made, "in-time")
    share = seal_round(plan).shares["oslo"][1]
    entry = plan.aggregators[1]
    client = AggregatorClient(entry)
    client.open_study(plan, RESEARCHER)
    client.close()
    go_on = threading.Event()

    def slow() -> Iterator[bytes]:
        yield canonical.encode(aggregator_api.UploadShare(header=share.header, offset=0))
        yield bytes(share.sealed[:100])
        go_on.wait(START_S)
        yield bytes(share.sealed[100:])

    credentials = grpc.ssl_channel_credentials(entry.certificate.encode())
    with grpc.secure_channel(entry.address, credentials, options=aggregator_api.LIMITS) as channel:
        call = channel.stream_unary(aggregator_api.method("SubmitShare")).future(slow(), timeout=60)
        while metric(made[1], "received_bytes_total") < 100:
            time.sleep(0.05)
        process = made[1].process
        assert process
        process.terminate()
        time.sleep(1.0)
        assert process.poll() is None, "it waits for the call"
        go_on.set()
        answer: aggregator_api.ReceivedBytes = canonical.parse(
            aggregator_api.ReceivedBytes, call.result(), what="answer"
        )
        assert answer.whole
    process.communicate(timeout=START_S)
    assert process.returncode == 0
    log = (made[1].home / aggregator_data_dir.LOG).read_text()
    assert log.index("stopping") < log.index("share of oslo taken") < log.index('"said": "stopped"')
    made[1].start()
    assert made[1].document("studies")["studies"][0]["shares"] == 1
    assert [one.stop() for one in made] == [0, 0]


def test_a_stop_cuts_off_what_takes_longer_than_its_grace(operate: Operate) -> None:
    made = [operate(name, stop_grace_s=0.5) for name in ("adder-1", "adder-2")]
    for one in made:
        one.start()
    plan = a_plan(made, "endless")
    share = seal_round(plan).shares["oslo"][1]
    client = AggregatorClient(plan.aggregators[1])
    client.open_study(plan, RESEARCHER)
    client.close()
    done = threading.Event()

    def endless() -> Iterator[bytes]:
        yield canonical.encode(aggregator_api.UploadShare(header=share.header, offset=0))
        yield bytes(share.sealed[:100])
        done.wait(START_S)

    entry = plan.aggregators[1]
    credentials = grpc.ssl_channel_credentials(entry.certificate.encode())
    with grpc.secure_channel(entry.address, credentials, options=aggregator_api.LIMITS) as channel:
        call = channel.stream_unary(aggregator_api.method("SubmitShare")).future(
            endless(), timeout=60
        )
        while metric(made[1], "received_bytes_total") < 100:
            time.sleep(0.05)
        assert made[1].stop() == 0
        assert call.code() is not grpc.StatusCode.OK
        done.set()
    made[1].start()
    client = AggregatorClient(plan.aggregators[1])
    assert client.received(share.header).size_bytes == 100, "and it goes on where it stopped"
    client.submit(share)
    client.close()
    assert [one.stop() for one in made] == [0, 0]


def test_only_listed_researchers_open_studies_and_only_so_much_is_stored(operate: Operate) -> None:
    made = [operate(name, metrics_port=0) for name in ("adder-1", "adder-2")]
    strangers = operate(
        "adder-1", port=made[0].config.port, metrics_port=0, researchers=["ab" * 32]
    )
    for one in made:
        one.start()
    plan = a_plan(made, "listed")
    assert made[0].stop() == 0
    strangers.start()
    client = AggregatorClient(plan.aggregators[0], patience_s=PATIENCE_S)
    with pytest.raises(Refused, match="operator has listed"):
        client.open_study(plan, RESEARCHER)
    assert strangers.stop() == 0
    small = operate("adder-1", port=made[0].config.port, metrics_port=0, max_stored_gib=1e-7)
    small.start()
    client.open_study(plan, RESEARCHER)
    with pytest.raises(Refused, match="operator's limit"):
        for share in seal_round(plan).shares.values():
            client.submit(share[0])
    client.close()
    assert small.stop() == 0
    assert made[1].stop() == 0


def test_the_process_leaves_no_core_dump_with_keys(two: list[Operated]) -> None:
    assert two[0].process
    limits = Path(f"/proc/{two[0].process.pid}/limits").read_text()
    assert re.search(r"Max core file size +0 +0 ", limits)


@pytest.mark.slow
@tls_scan.needs_openssl
def test_an_aggregator_speaks_tls_1_2_with_forward_secrecy_or_1_3_and_nothing_else(
    two: list[Operated],
) -> None:
    port = two[0].config.port
    assert tls_scan.old_versions(port) == []
    agreed = tls_scan.ciphers_1_2(port)
    assert agreed and all(re.fullmatch(r"ECDHE-ECDSA-AES(128|256)-GCM-SHA\d+", c) for c in agreed)
    assert tls_scan.ciphers_1_3(port) <= tls_scan.SOUND
