"""A simulated round is a real one: the same plan, cohort and noise give the same bytes as vaults do."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from datasites import private_files, site
from datasites.data import cohort_file
from datasites.protocol import owner_actions
from datasites.site import SiteSettings
from datasites.vault import update_sealer
from datasites.vault.vault import Vault
from datasites.vault.worker import job_runner
from datasites.vault.worker.job_messages import TrainingJob
from datasites.vault.worker.training_worker import TrainingWorker
from federation.evaluation.exact_metrics import HospitalCohorts
from federation.simulation import client_round
from federation.simulation.client_states import ClientStateFiles
from federation.simulation.hospital_data import InMemoryHospitals
from federation.simulation.randomness import Randomness
from federation.simulation.simulated_sums import RoundSums, SimulatedSums, pieces
from federation.simulation.simulation import Simulation
from federation.strategy import server_optimizer
from federation.strategy.server_optimizer import ServerState
from syft_code import canonical
from syft_code.plans import messages
from syft_code.plans.algorithms import FedAdagrad, FedAdam, FedProx, FedYogi, Scaffold
from syft_code.plans.messages import RoundCall
from syft_code.plans.plan import Plan
from syft_code.plans.plan_parts import AdaptiveClip, Augmentation, Compression, DpSgd, Sharing
from syft_code.plans.shared_noise import SharedNoise
from syft_code.privacy.noise import NoiseSource
from syft_code.recipes.architectures import LayerStack
from syft_code.recipes.layers import Activation, Conv, GlobalAverage, GroupNorm
from syft_code.recipes.recipe import CrossEntropy, Recipe
from syft_code.runtime import durable_files
from syft_code.secret_sharing import envelope
from syft_code.secret_sharing.vector_layout import VectorLayout
from tests.datasites.hospitals import (
    OneHospital,
    approval,
    cohort,
    introduction,
    policy,
    publication,
)
from tests.plans import SKIN, Keys, parties, plan

ROUNDS = 2
RANDOMNESS = Randomness(seed=5)
NORMED = Recipe(
    model=LayerStack(
        layers=(Conv(channels=4, stride=2), GroupNorm(groups=2), Activation(), GlobalAverage())
    ),
    loss=CrossEntropy(),
)
ADAPTIVE = DpSgd(
    noise_multiplier=1.0,
    max_grad_norm=1.0,
    sample_rate=0.2,
    steps=3,
    adaptive=AdaptiveClip(quantile=0.5, learning_rate=0.2, count_noise_multiplier=4.0),
)
PLANS: dict[str, dict[str, Any]] = {
    "FedAvg": {},
    "FedProx": {"algorithm": FedProx(mu=0.5)},
    "SCAFFOLD": {"algorithm": Scaffold()},
    "FedAdam": {"algorithm": FedAdam(learning_rate=0.1)},
    "FedYogi": {"algorithm": FedYogi(learning_rate=0.1)},
    "FedAdagrad": {"algorithm": FedAdagrad(learning_rate=0.1)},
    "feedback": {"compression": Compression(kept=0.4)},
    "bounded, averaged": {"max_update_norm": 0.3, "averaging": 0.5},
    "frozen": {"frozen_layers": 1},
    "local norms": {"recipe": NORMED, "local_norms": True},
    "adaptive": {"dp_sgd": ADAPTIVE},
    "shared noise": {
        "dp_sgd": DpSgd(noise_multiplier=2.0, max_grad_norm=1.0, sample_rate=0.5, steps=1),
        "sharing": Sharing(ring_bits=64, fraction_bits=32),
        "shared_noise": SharedNoise(colluding=1),
    },
    "views": {
        "augmentation": Augmentation(
            views=2, flips=True, rotations=False, shift_px=1, intensity=0.1
        )
    },
}


@dataclass(kw_only=True)
class Numbered(OneHospital):
    """Any hospital of the roster, in a vault of its own."""

    number: int

    def __post_init__(self) -> None:
        self.name = f"hospital-{self.number}"
        self.site = site.create(self.home, SiteSettings(name=self.name, port=1))
        durable_files.write_durably(
            self.site.vault / "key", bytes(self.keys.hospitals[self.number - 1])
        )
        self.owner_key = private_files.signing_key(self.site.owner / "key")

    def admit(self, vault: Vault, agreed: Plan) -> None:
        """Publish this hospital's own cohort, and approve the plan."""
        self.perform(vault, owner_actions.AdoptPolicy(policy=policy()))
        for party in parties(agreed):
            self.perform(vault, introduction(party))
        body = cohort_file.pack(cohort(seed=self.number))
        self.perform(vault, publication(body, patients=40 + self.number), body)
        self.perform(vault, approval(agreed))

    def shares(self, vault: Vault, agreed: Plan, number: int, sent: np.ndarray) -> list[bytes]:
        """The payload of each of its shares of a round, opened with the aggregators' keys."""
        body = sent.astype("<f4").tobytes()
        call = RoundCall(
            plan_hash=agreed.hash,
            hospital=self.name,
            purpose="train",
            round=number,
            weights_sha256=canonical.sha256(body),
        )
        started = vault.start_round(messages.sign(call, self.keys.researcher), body)
        done = self.finished(vault, started)
        assert done.state == "done", done.sentence
        return [
            b"".join(
                envelope.open_share(agreed, party, share.header, share.sealed, seal_key=bytes(seal))
            )
            for party, seal in enumerate(self.keys.seals, start=1)
            for share in [envelope.SealedShare.from_bytes(vault.share(done.ticket, party))]
        ]


@pytest.fixture(autouse=True)
def seeded(monkeypatch: pytest.MonkeyPatch) -> None:
    """The vaults train in this process, with the noise and the seeds of the simulation."""
    running: list[TrainingJob] = []

    def run(
        room: TrainingWorker,
        job: TrainingJob,
        body: bytes,
        cohort: Path,
        *,
        on_step: Callable[[int], None],
        limit_s: float | None = None,
    ) -> bytes:
        running[:] = [job]
        return job_runner.perform(job, body, cohort.read_bytes(), on_step=on_step)

    def fresh(count: int, size_bytes: int) -> list[bytes]:
        (job,) = running
        return RANDOMNESS.seeds(job.hospital, job.round, count)

    monkeypatch.setattr(TrainingWorker, "run", run)
    monkeypatch.setattr(update_sealer, "_fresh", fresh)
    monkeypatch.setattr(
        NoiseSource,
        "from_os",
        classmethod(lambda cls: RANDOMNESS.noise(running[0].hospital, running[0].round)),
    )


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def hospitals(agreed: Plan) -> InMemoryHospitals:
    """The vaults' cohorts, in memory."""
    cohorts = {}
    for number, entry in enumerate(agreed.hospitals, start=1):
        split = cohort(seed=number)
        cohorts[entry.name] = HospitalCohorts(
            name=entry.name, training=split.training(), held_out=split.evaluation()
        )
    return InMemoryHospitals(spec=SKIN, cohorts=cohorts)


@pytest.mark.parametrize("changes", PLANS.values(), ids=PLANS)
@pytest.mark.servers
@pytest.mark.usefixtures("templates")
def test_vaults_and_the_simulation_give_the_same_shares_sums_and_models_bit_for_bit(
    tmp_path: Path, changes: dict[str, Any]
) -> None:
    keys = Keys()
    agreed = plan(keys, rounds=ROUNDS, evaluation=None, **changes)
    everyone = hospitals(agreed)
    simulation = Simulation(agreed, everyone, randomness=RANDOMNESS, folder=tmp_path / "kept")
    kept = ClientStateFiles(None, size=VectorLayout.of(agreed).kept_length("train"))
    numbered = [Numbered(home=tmp_path / str(n), keys=keys, number=n) for n in (1, 2, 3)]
    vaults = [Vault(one.site) for one in numbered]
    try:
        for one, vault in zip(numbered, vaults, strict=True):
            one.admit(vault, agreed)
        real = simulated = ServerState.first(agreed)
        for number in range(1, ROUNDS + 1):
            sums = SimulatedSums(agreed)
            for one, vault in zip(numbered, vaults, strict=True):
                payloads = one.shares(vault, agreed, number, real.broadcast("train"))
                assert payloads == _simulated(agreed, everyone, kept, one.name, number, real)
                sums.add(one.name, payloads)
            names = tuple(one.name for one in numbered)
            found = RoundSums(hospitals=names, groups=(names,), totals=(sums.total(),))
            before, real = real, server_optimizer.step(agreed, number, real, found)
            simulated, facts = simulation.round(number, simulated)
            assert facts.trained == names
            assert real.weights.tobytes() != before.weights.tobytes()
            assert real.delivered.tobytes() == simulated.delivered.tobytes()
            assert real.broadcast("train").tobytes() == simulated.broadcast("train").tobytes()
    finally:
        for vault in vaults:
            vault.close()


def _simulated(
    agreed: Plan,
    everyone: InMemoryHospitals,
    kept: ClientStateFiles,
    name: str,
    number: int,
    model: ServerState,
) -> list[bytes]:
    made = client_round.contribute(
        agreed,
        name,
        number,
        everyone.training(name),
        sent=model.broadcast("train"),
        kept=kept.before(name, number),
        randomness=RANDOMNESS.noise(name, number),
    )
    assert made is not None
    if made.kept is not None:
        kept.after(name, number, made.kept)
    seeds = RANDOMNESS.seeds(name, number, envelope.scheme(agreed).pieces - 1)
    return [bytes(piece) for piece in pieces(agreed, name, made.values, seeds)]
