"""Real aggregator processes and bare gRPC lines to them, for tests that play everybody else."""

import contextlib
import dataclasses
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import grpc
import numpy as np
from nacl.public import PrivateKey
from nacl.signing import SigningKey

from federation.aggregator.identity import Identity
from federation.transport import aggregator_api
from syft_code import canonical
from syft_code.plans import messages
from syft_code.plans.messages import (
    OpenCall,
    Purpose,
    ReleaseCall,
    SetChoice,
    ShareHeader,
    Signed,
    SumHeader,
)
from syft_code.plans.plan import Plan
from syft_code.plans.plan_parts import DpSgd, Evaluation, Sgd, Sharing
from syft_code.plans.roster import Aggregator, Hospital
from syft_code.recipes.architectures import LayerStack
from syft_code.recipes.layers import Linear
from syft_code.recipes.recipe import CrossEntropy, DataSpec, Recipe
from syft_code.secret_sharing import envelope, sharing
from syft_code.secret_sharing.envelope import SealedShare
from syft_code.secret_sharing.vector_layout import VectorLayout

HOSPITALS = {name: SigningKey.generate() for name in ("north", "south", "east", "west")}
PATIENTS = {"north": 100, "south": 80, "east": 60, "west": 40}
THREE = ("east", "north", "south")
RESEARCHER = SigningKey.generate()
LOG_SHA256 = "1a" * 32
START_S = 60
WIDE = Sharing(ring_bits=64, fraction_bits=24, bound=2.0**20)
TWO_OF_THREE = dataclasses.replace(WIDE, needed=2)


@dataclass
class Party:
    """One aggregator process and its folder."""

    name: str
    home: Path
    process: subprocess.Popen[str]
    address: str

    @property
    def entry(self) -> Aggregator:
        data = (self.home / "public.json").read_bytes()
        return canonical.parse(Aggregator, data, what="entry")

    def stop(self, number: int = signal.SIGKILL) -> None:
        self.process.send_signal(number)
        self.process.wait(START_S)
        self.process.stdout.close()

    def start(self) -> None:
        port = int(self.address.rpartition(":")[2])
        self.process, self.address = launch(self.home, name=self.name, port=port)

    def restart(self, number: int = signal.SIGKILL) -> None:
        self.stop(number)
        self.start()

    def files(self, folder: str) -> list[Path]:
        return sorted(path for path in (self.home / folder).rglob("*") if path.is_file())


@dataclass
class Played:
    """An aggregator of the roster that a test plays itself."""

    name: str
    sign_key: SigningKey
    seal_key: PrivateKey

    @classmethod
    def new(cls, name: str) -> "Played":
        return cls(name, SigningKey.generate(), PrivateKey.generate())

    @property
    def entry(self) -> Aggregator:
        return Aggregator(
            name=self.name,
            address="127.0.0.1:1",
            verify_key=bytes(self.sign_key.verify_key).hex(),
            seal_key=bytes(self.seal_key.public_key).hex(),
            certificate="-",
        )

    @property
    def identity(self) -> Identity:
        return Identity(
            name=self.name,
            sign_key=self.sign_key,
            seal_key=self.seal_key,
            tls_key=b"",
            certificate=b"-",
        )

    def choose(self, call: Signed, *, party: int) -> Signed:
        asked = canonical.parse(ReleaseCall, call.message.encode(), what="call")
        choice = SetChoice(
            plan_hash=asked.plan_hash,
            purpose=asked.purpose,
            round=asked.round,
            party=party,
            hospitals=tuple(sorted(asked.hospitals)),
        )
        return messages.sign(choice, self.sign_key)


def command(home: Path, *, name: str, port: int = 0) -> list[str]:
    program = [sys.executable, "-m", "federation.aggregator.operator.aggregator_process"]
    listed = ["--researcher", bytes(RESEARCHER.verify_key).hex()]
    return [*program, "--home", str(home), "--name", name, "--port", str(port), *listed]


def launch(
    home: Path, *, name: str, port: int = 0, before: Sequence[str] = ()
) -> tuple[subprocess.Popen[str], str]:
    """Start an aggregator; `before` are words before its command."""
    with (home.parent / f"{name}.stderr").open("a") as errors:
        process = subprocess.Popen(
            [*before, *command(home, name=name, port=port)],
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        )
    line = process.stdout.readline()
    ready = re.fullmatch(rf"ready {name} (127\.0\.0\.1:\d+)\n", line)
    assert ready, f"{line!r}, {(home.parent / f'{name}.stderr').read_text()}"
    return process, ready[1]


@contextlib.contextmanager
def aggregators(folder: Path, count: int = 3) -> Iterator[list[Party]]:
    """Some of them, that must stop cleanly and in silence."""
    started: list[Party] = []
    names = [f"agg-{n}" for n in range(1, count + 1)]
    try:
        with ThreadPoolExecutor(count) as pool:  # each takes seconds to import what it needs
            for name, one in zip(
                names, pool.map(lambda name: launch(folder / name, name=name), names), strict=True
            ):
                started.append(Party(name, folder / name, *one))
        yield started
        for party in started:
            party.process.terminate()
            rest, _ = party.process.communicate(timeout=START_S)
            assert party.process.returncode == 0
            assert rest == "", "nothing but the ready line is printed"
            assert (folder / f"{party.name}.stderr").read_text() == ""
    finally:
        for party in started:
            party.process.kill()
            party.process.wait()


class Line:
    """A bare line to an aggregator: what it says no to becomes an error, and nothing is repeated."""

    def __init__(self, entry: Aggregator) -> None:
        self.entry = entry
        self.channel = grpc.secure_channel(
            entry.address,
            grpc.ssl_channel_credentials(entry.certificate.encode()),
            options=[
                *aggregator_api.LIMITS,
                ("grpc.initial_reconnect_backoff_ms", 100),
                ("grpc.max_reconnect_backoff_ms", 500),
            ],
        )

    def close(self) -> None:
        self.channel.close()

    def unary(self, name: str, request: bytes) -> bytes:
        call = self.channel.unary_unary(aggregator_api.method(name))
        with self._saying():
            return call(request, timeout=60, wait_for_ready=True)

    def stream(self, name: str, request: bytes) -> list[bytes]:
        call = self.channel.unary_stream(aggregator_api.method(name))
        with self._saying():
            return list(call(request, timeout=60, wait_for_ready=True))

    def open_study(self, plan: Plan, *, key: SigningKey = RESEARCHER) -> None:
        call = messages.sign(OpenCall(plan_hash=plan.hash), key)
        asked = aggregator_api.OpenStudy(call=call, plan=plan.encode().decode())
        assert self.unary("OpenStudy", canonical.encode(asked)) == b""

    def received(self, share: SealedShare) -> aggregator_api.ReceivedBytes:
        answer = self.unary("Received", canonical.encode(share.header))
        return canonical.parse(aggregator_api.ReceivedBytes, answer, what="Received")

    def upload(
        self, share: SealedShare, offset: int = 0, end: int | None = None
    ) -> aggregator_api.ReceivedBytes:
        """Send the bytes of a share from `offset` to `end`."""

        def parts() -> Iterator[bytes]:
            yield canonical.encode(aggregator_api.UploadShare(header=share.header, offset=offset))
            yield from aggregator_api.chunks(memoryview(share.sealed)[offset:end])

        return self.send(parts())

    def send(
        self, parts: Iterator[bytes], *, timeout_s: float = 60
    ) -> aggregator_api.ReceivedBytes:
        submit = self.channel.stream_unary(aggregator_api.method("SubmitShare"))
        with self._saying():
            answer = submit(parts, timeout=timeout_s, wait_for_ready=True)
        return canonical.parse(aggregator_api.ReceivedBytes, answer, what="Received")

    def submit(self, share: SealedShare) -> None:
        here = self.received(share)
        if not here.whole:
            assert self.upload(share, here.size_bytes).whole

    def choose(self, call: Signed) -> Signed:
        return envelope.read_signed(self.unary("Choose", canonical.encode(call)), what="choice")

    def chosen(self, call: Signed) -> tuple[str, ...]:
        choice = messages.verify(SetChoice, self.choose(call), self.entry.verify_key)
        return choice.hospitals

    def release(
        self,
        call: Signed,
        choices: Sequence[Signed],
        *,
        piece: int,
        group: int = 1,
        offset: int = 0,
    ) -> tuple[SumHeader, bytes]:
        asked = aggregator_api.ReleaseSum(
            call=call, choices=tuple(choices), piece=piece, group=group, offset=offset
        )
        first, *data = self.stream("Release", canonical.encode(asked))
        signed = envelope.read_signed(first, what="sum header")
        return messages.verify(SumHeader, signed, self.entry.verify_key), b"".join(data)

    def anchors(self, key: str) -> list[str]:
        return [data.decode() for data in self.stream("Anchors", key.encode())]

    def headers(self, call: Signed) -> list[Signed]:
        answer = self.stream("Headers", canonical.encode(call))
        return [envelope.read_signed(data, what="share header") for data in answer]

    @contextlib.contextmanager
    def _saying(self) -> Iterator[None]:
        try:
            yield
        except grpc.RpcError as problem:
            raise aggregator_api.error_of(self.entry.name, problem) from None


@contextlib.contextmanager
def lines_to(parties: Sequence[Party]) -> Iterator[list[Line]]:
    opened = [Line(party.entry) for party in parties]
    yield opened
    for line in opened:
        line.close()


def make_plan(
    parties: Sequence[Party | Played],
    study: str,
    *,
    features: int = 64,
    width_px: int = 8,
    **changes: object,
) -> Plan:
    fields: dict[str, object] = {
        "study": study,
        "researcher_key": bytes(RESEARCHER.verify_key).hex(),
        "data": DataSpec(
            kind="ham10000",
            task="classification",
            channels=("red", "green", "blue"),
            height_px=width_px,
            width_px=width_px,
            classes=("benign", "malignant"),
            patient_unit="lesion",
            stand_in=True,
        ),
        "recipe": Recipe(
            model=LayerStack(layers=(Linear(features=features),)), loss=CrossEntropy()
        ),
        "dp_sgd": DpSgd(noise_multiplier=1.0, max_grad_norm=1.0, sample_rate=0.1, steps=1),
        "optimizer": Sgd(learning_rate=0.1),
        "rounds": 2,
        "hospitals": tuple(
            Hospital(
                name=name,
                verify_key=bytes(key.verify_key).hex(),
                asset="slices",
                asset_version=1,
                patients=PATIENTS[name],
            )
            for name, key in HOSPITALS.items()
        ),
        "aggregators": tuple(party.entry for party in parties),
        "min_hospitals": 3,
        "evaluation": Evaluation(noise_multiplier=1.0, after_rounds=(2,)),
        "sharing": WIDE,
    }
    return Plan(**(fields | changes))  # type: ignore[arg-type]


def update_of(plan: Plan, hospital: str, purpose: Purpose = "train") -> np.ndarray:
    """What a hospital would share, before its weight."""
    seed = int.from_bytes(f"{plan.study}/{hospital}".encode(), "little") % 2**63
    return np.random.default_rng(seed).normal(size=VectorLayout.of(plan).values_length(purpose))


def encoded_of(plan: Plan, hospital: str, purpose: Purpose = "train") -> sharing.Ring:
    """The vector that a hospital's pieces add up to."""
    rules, roster = plan.sharing_of(purpose), len(plan.hospitals)
    patients = plan.hospital(hospital).patients
    train = purpose == "train"
    factor = patients / plan.most_patients if train else 1.0
    values = sharing.encode(
        update_of(plan, hospital, purpose), rules, hospitals=roster, factor=factor
    )
    weight = sharing.encode_weight(patients if train else 1, rules.ring_bits, hospitals=roster)
    return np.concatenate([values, weight])


def make_shares(
    plan: Plan,
    hospital: str,
    *,
    purpose: Purpose = "train",
    round_number: int = 1,
    log_sha256: str = LOG_SHA256,
    key: SigningKey | None = None,
) -> list[SealedShare]:
    return envelope.seal(
        plan,
        hospital=hospital,
        purpose=purpose,
        round_number=round_number,
        values=update_of(plan, hospital, purpose),
        hospital_key=key or HOSPITALS[hospital],
        statement=dataclasses.replace(envelope.LONGEST_STATEMENT, log_sha256=log_sha256),
        seeds=[os.urandom(32) for _ in range(envelope.scheme(plan).pieces - 1)],
        content_keys=[os.urandom(32) for _ in plan.aggregators],
    )


def resign(share: SealedShare, *, by: str = "north", **changes: object) -> SealedShare:
    header = canonical.parse(ShareHeader, share.header.message.encode(), what="header")
    changed = dataclasses.replace(header, **changes)
    return dataclasses.replace(share, header=messages.sign(changed, HOSPITALS[by]))


def open_and_submit(
    plan: Plan, lines: Sequence[Line], hospitals: Sequence[str], **about: object
) -> dict[str, list[SealedShare]]:
    shares = {name: make_shares(plan, name, **about) for name in hospitals}  # type: ignore[arg-type]
    for party, line in enumerate(lines):
        line.open_study(plan)
        for name in hospitals:
            line.submit(shares[name][party])
    return shares


def call_for(
    plan: Plan, hospitals: Sequence[str] = THREE, *, key: SigningKey = RESEARCHER, **changes: object
) -> Signed:
    call = ReleaseCall(plan_hash=plan.hash, purpose="train", round=1, hospitals=tuple(hospitals))
    return messages.sign(dataclasses.replace(call, **changes), key)  # type: ignore[arg-type]


def total_of(
    plan: Plan, lines: Sequence[Line], hospitals: Sequence[str] = THREE, **about: object
) -> sharing.Ring:
    """The sum as the researcher puts it together, over one group; the lines are the roster's."""
    call = call_for(plan, hospitals, **about)
    choices = [line.choose(call) for line in lines]
    return unsharded(plan, lines, call, choices)


def unsharded(
    plan: Plan,
    lines: Sequence[Line],
    call: Signed,
    choices: Sequence[Signed],
    *,
    group: int = 1,
) -> sharing.Ring:
    """All pieces of a group's sum from the given lines, added up."""
    places = {entry.verify_key: n for n, entry in enumerate(plan.aggregators, start=1)}
    held: dict[int, sharing.Ring] = {}
    for line in lines:
        for piece in envelope.scheme(plan).held_by(places[line.entry.verify_key]):
            if piece not in held:
                header, data = line.release(call, choices, piece=piece, group=group)
                assert canonical.sha256(data) == header.sum_sha256
                held[piece] = np.frombuffer(data, sharing.ring_dtype(header.ring_bits))
    assert len(held) == envelope.scheme(plan).pieces
    return sharing.unshard([held[piece] for piece in sorted(held)])
