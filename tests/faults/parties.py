"""Aggregators as real processes behind lines that can be cut, and hospitals that seal real shares.

Each aggregator is known in plans by its line's address, so that everything to and from it crosses
the line. What the hospitals share is drawn from the plan, so that every test can work out the sum.
"""

import dataclasses
import itertools
import os
import re
import select
import signal
import subprocess
import sys
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from nacl.signing import SigningKey
from numpy.typing import NDArray

from federation.researcher.collector import Collector
from federation.transport.aggregator_client import AggregatorClient
from syft_code import canonical
from syft_code.plans import messages
from syft_code.plans.messages import Purpose, ReleaseCall, Signed
from syft_code.plans.plan import Plan
from syft_code.plans.plan_parts import Evaluation, Sharing
from syft_code.plans.roster import Aggregator, Hospital
from syft_code.recipes.architectures import LayerStack
from syft_code.recipes.layers import Linear
from syft_code.recipes.recipe import CrossEntropy, Recipe
from syft_code.secret_sharing import envelope, sharing
from syft_code.secret_sharing.envelope import SealedShare
from syft_code.secret_sharing.vector_layout import VectorLayout
from tests import plans
from tests.faults.line import Line

START_S = 60.0
RESEARCHER = SigningKey.generate()
HOSPITALS = {name: SigningKey.generate() for name in ("berlin", "lisbon", "oslo", "vienna")}
FOUR = tuple(HOSPITALS)
LONG = {"features": 400, "data": dataclasses.replace(plans.SKIN, height_px=64, width_px=64)}
"""Changes that make a plan's vector 20 MB long."""
THREE = FOUR[:3]
MIB = 2**20
_NUMBERS = itertools.count(1)
SLACK_BYTES = 32 * MIB
"""What one cut may cost: gRPC's window of up to 16 MiB, and the kernel's buffers at both ends."""


@dataclass(kw_only=True)
class Party:
    """One aggregator: a folder, a process or none, and the line that leads to it.

    `said` is the file with its standard error.
    """

    name: str
    home: Path
    line: Line
    said: Path
    process: "subprocess.Popen[str] | None" = None

    @property
    def entry(self) -> Aggregator:
        """What a plan says of it: its own keys and certificate, at its line's address."""
        data = (self.home / "public.json").read_bytes()
        own: Aggregator = canonical.parse(Aggregator, data, what="entry")
        return dataclasses.replace(own, address=self.line.address)

    @property
    def log(self) -> str:
        """What it wrote for its operator."""
        return (self.home / "aggregator.log").read_text()

    @property
    def errors(self) -> str:
        """What it wrote to standard error."""
        return self.said.read_text()

    def spawn(self) -> None:
        """Start the process, at the port that the line leads to, and don't wait for it."""
        port = self.line.target.rpartition(":")[2]
        command = [
            sys.executable,
            "-m",
            "federation.aggregator.operator.aggregator_process",
            "--end-with-starter",
        ]
        options = ["--home", str(self.home), "--name", self.name, "--port", port]
        options += ["--researcher", plans.public(RESEARCHER)]
        with self.said.open("a") as errors:
            self.process = subprocess.Popen(
                [*command, *options], stdout=subprocess.PIPE, stderr=errors, text=True
            )

    def start(self) -> None:
        """Start the process; returns when it serves."""
        self.spawn()
        assert self.process
        assert self.process.stdout
        readable, _, _ = select.select([self.process.stdout], [], [], START_S)
        said = self.process.stdout.readline() if readable else ""
        ready = re.fullmatch(rf"ready {self.name} (127\.0\.0\.1:\d+)\n", said)
        assert ready, f"{said!r}, {self.errors}"
        self.line.target = ready[1]

    def kill(self) -> None:
        """End it with SIGKILL; the line stays and leads nowhere."""
        self._signal(signal.SIGKILL)
        if self.process:
            self.process.wait(START_S)
            assert self.process.stdout
            self.process.stdout.close()
        self.process = None

    def restart(self) -> None:
        """Kill it and start it again on the same folder."""
        self.kill()
        self.start()

    def pause(self) -> None:
        """It keeps its connections and does nothing."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """It goes on."""
        self._signal(signal.SIGCONT)

    def _signal(self, number: signal.Signals) -> None:
        if self.process:
            self.process.send_signal(number)


@contextmanager
def aggregators(
    folder: Path,
    names: Sequence[str] = ("agg-1", "agg-2", "agg-3"),
    *,
    said_in: Path | None = None,
) -> Iterator[list[Party]]:
    """Aggregators with folders below this one; what they say on standard error is beside."""
    made: list[Party] = []
    try:
        for name in names:
            said = (said_in or folder) / f"{name}.stderr"
            made.append(Party(name=name, home=folder / name, said=said, line=Line("127.0.0.1:0")))
            made[-1].start()
        yield made
    finally:
        for party in made:
            party.resume()
            party.kill()
            party.line.close()


def make_plan(
    parties: Sequence[Party],
    *,
    features: int = 16,
    needed: int | None = None,
    ring_bits: int = 32,
    **changes: object,
) -> Plan:
    """A new plan over four hospitals of which three make a sum; its vector has 49 KB."""
    roster = tuple(
        Hospital(
            name=name,
            verify_key=plans.public(key),
            asset="skin-lesions",
            asset_version=1,
            patients=40 + place,
        )
        for place, (name, key) in enumerate(HOSPITALS.items())
    )
    fields: dict[str, object] = {
        "study": f"study-{next(_NUMBERS)}",
        "researcher_key": plans.public(RESEARCHER),
        "recipe": Recipe(
            model=LayerStack(layers=(Linear(features=features),)), loss=CrossEntropy()
        ),
        "hospitals": roster,
        "aggregators": tuple(party.entry for party in parties),
        "sharing": Sharing(ring_bits=ring_bits, needed=needed),  # type: ignore[arg-type]
        "evaluation": Evaluation(noise_multiplier=2.0, after_rounds=(2,)),
    }
    return plans.plan(**(fields | changes))


def values_of(
    plan: Plan, hospital: str, *, purpose: Purpose = "train", round_number: int = 1
) -> NDArray[np.float32]:
    """What a hospital shares in a round: a draw, again and again if it is long."""
    seed = zlib.crc32(f"{plan.study}/{hospital}/{purpose}/{round_number}".encode())
    length = VectorLayout.of(plan).values_length(purpose)
    drawn = np.random.default_rng(seed).random(min(length, 999_983), np.float32)
    return np.resize(drawn - np.float32(0.5), length)


def encoded(
    plan: Plan, hospital: str, *, purpose: Purpose = "train", round_number: int = 1
) -> sharing.Ring:
    """The same in the ring: what nobody may learn."""
    values = values_of(plan, hospital, purpose=purpose, round_number=round_number)
    return in_the_ring(plan, hospital, values, purpose=purpose)


def in_the_ring(
    plan: Plan, hospital: str, values: NDArray[np.float32], *, purpose: Purpose = "train"
) -> sharing.Ring:
    """A hospital's values, weighted, and its weight, as ring elements."""
    rules, roster = plan.sharing_of(purpose), len(plan.hospitals)
    patients = plan.hospital(hospital).patients if purpose == "train" else 1
    factor = patients / plan.most_patients if purpose == "train" else 1.0
    return np.concatenate(
        [
            sharing.encode(values, rules, hospitals=roster, factor=factor),
            sharing.encode_weight(patients, rules.ring_bits, hospitals=roster),
        ]
    )


def plain_sum(
    plan: Plan, hospitals: Sequence[str], *, purpose: Purpose = "train", round_number: int = 1
) -> sharing.Ring:
    """The sum that the researcher must get, bit for bit."""
    about = {"purpose": purpose, "round_number": round_number}
    total = encoded(plan, hospitals[0], **about)  # type: ignore[arg-type]
    for name in hospitals[1:]:
        total += encoded(plan, name, **about)  # type: ignore[arg-type]
    return total


def sealed(
    plan: Plan, hospital: str, *, purpose: Purpose = "train", round_number: int = 1
) -> list[SealedShare]:
    """A hospital's real shares, one for each aggregator."""
    return envelope.seal(
        plan,
        hospital=hospital,
        purpose=purpose,
        round_number=round_number,
        values=values_of(plan, hospital, purpose=purpose, round_number=round_number),
        hospital_key=HOSPITALS[hospital],
        statement=envelope.LONGEST_STATEMENT,
        seeds=[os.urandom(32) for _ in range(envelope.scheme(plan).pieces - 1)],
        content_keys=[os.urandom(32) for _ in plan.aggregators],
    )


def call_for(
    plan: Plan,
    hospitals: Sequence[str],
    *,
    purpose: Purpose = "train",
    round_number: int = 1,
    key: SigningKey = RESEARCHER,
) -> Signed:
    """The researcher's signed demand for a round's sum."""
    call = ReleaseCall(
        plan_hash=plan.hash, purpose=purpose, round=round_number, hospitals=tuple(hospitals)
    )
    return messages.sign(call, key)


class Carrier:
    """A researcher who carries what hospitals sealed to the aggregators, and collects."""

    def __init__(self, plan: Plan, *, patience_s: float = START_S) -> None:
        self.plan = plan
        self.clients = [AggregatorClient(a, patience_s=patience_s) for a in plan.aggregators]
        self.collector = Collector(plan, self.clients, RESEARCHER)
        self._sealed: dict[tuple[str, Purpose, int], list[SealedShare]] = {}

    def share(
        self, hospital: str, party: int, *, purpose: Purpose = "train", round_number: int = 1
    ) -> SealedShare:
        """What a hospital sealed for an aggregator (from 1); asked again, the same bytes."""
        about = (hospital, purpose, round_number)
        if about not in self._sealed:
            self._sealed[about] = sealed(
                self.plan, hospital, purpose=purpose, round_number=round_number
            )
        return self._sealed[about][party - 1]

    def send(
        self,
        hospitals: Sequence[str],
        *,
        parties: Sequence[int] | None = None,
        purpose: Purpose = "train",
        round_number: int = 1,
    ) -> None:
        """Hand shares of these hospitals to these aggregators, all if none are named."""
        for party in parties or range(1, len(self.clients) + 1):
            for name in hospitals:
                share = self.share(name, party, purpose=purpose, round_number=round_number)
                self.clients[party - 1].submit(share)

    def total(
        self,
        hospitals: Sequence[str],
        *,
        parties: Sequence[int] | None = None,
        purpose: Purpose = "train",
        round_number: int = 1,
    ) -> sharing.Ring:
        """The sum over these hospitals, and no others."""
        found = self.collector.collect(purpose, round_number, hospitals=hospitals, parties=parties)
        assert found.hospitals == tuple(sorted(hospitals))
        (total,) = found.totals
        return total

    def gets_the_plain_sum(
        self,
        hospitals: Sequence[str],
        *,
        parties: Sequence[int] | None = None,
        purpose: Purpose = "train",
        round_number: int = 1,
    ) -> bool:
        """Whether that sum is the plain one, bit for bit."""
        total = self.total(hospitals, parties=parties, purpose=purpose, round_number=round_number)
        plain = plain_sum(self.plan, hospitals, purpose=purpose, round_number=round_number)
        return np.array_equal(total, plain)

    def close(self) -> None:
        """Let the connections go."""
        for client in self.clients:
            client.close()
