"""The rounds of a simulated federation.

    broadcast ─▶ each hospital: train, bound, compress, share ─▶ sums ─▶ server_optimizer.step

A hospital's cohort is loaded where its half of the round is worked out (`hospital_rounds`), its pieces
are added to the sums here, and it is forgotten.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from federation.simulation.hospital_data import HospitalData
from federation.simulation.hospital_rounds import HospitalExecutor, HospitalWork
from federation.simulation.participation import EVERYBODY, Participation
from federation.simulation.randomness import Randomness
from federation.simulation.simulated_sums import collected
from federation.strategy import server_optimizer
from federation.strategy.server_optimizer import ServerState
from syft_code.arrays import Vector, Weights
from syft_code.local_training import local_round
from syft_code.plans.plan import Plan

UNCLIPPED = 1e12
"""A bound on a gradient's norm that no gradient reaches, and that float32 holds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulatedRound:
    """What a simulated round came to.

    `lost` names the hospitals whose vector had a number past the sharing bound, or not finite: a
    vault's airlock keeps such a vector. If too few are left, the model stays as it was, where a
    real study would stop.
    """

    number: int
    trained: tuple[str, ...]
    lost: tuple[str, ...]


class Simulation:
    """One plan over hospitals that are all here.

    The roster may name more hospitals than there are; those never answer. `least` is how many must
    contribute to a round; it is the plan's `min_hospitals` unless a reference trains by itself.
    Hospitals' rounds run side by side in `workers` processes, or on the Ray cluster at `cluster`.
    """

    def __init__(
        self,
        plan: Plan,
        hospitals: HospitalData,
        *,
        randomness: Randomness,
        folder: Path | None = None,
        least: int | None = None,
        participation: Participation = EVERYBODY,
        workers: int = 1,
        cluster: str = "",
    ) -> None:
        self.plan = plan
        self._names = tuple(hospitals.names)
        self._randomness = randomness
        self._least = plan.min_hospitals if least is None else least
        self._participation = participation
        work = HospitalWork(plan=plan, hospitals=hospitals, randomness=randomness, states=folder)
        self._executor = HospitalExecutor(work, workers=workers, cluster=cluster)

    def close(self) -> None:
        """Let its processes go."""
        self._executor.close()

    def round(self, number: int, model: ServerState) -> tuple[ServerState, SimulatedRound]:
        """Train everywhere, add up, step."""
        lost: list[str] = []
        given = self._contributions(number, model, lost)
        sums = collected(self.plan, number, given, self._randomness)
        trained = () if sums is None else sums.hospitals
        facts = SimulatedRound(number=number, trained=trained, lost=tuple(lost))
        if sums is None or len(trained) < self._least:
            return model, facts
        return server_optimizer.step(self.plan, number, model, sums), facts

    def delivered(self, hospital: str, number: int, model: ServerState) -> Weights:
        """The weights that a hospital uses after a round: with local normalisation, its own."""
        kept = self._executor.states.before(hospital, number + 1)
        return local_round.own_weights(self.plan, model.delivered, kept)

    def _contributions(
        self, number: int, model: ServerState, lost: list[str]
    ) -> Iterator[tuple[str, Vector]]:
        names = self._participation.of_round(self._names, number, self._randomness)
        for name, values in self._executor.updates(number, names, model.broadcast("train")):
            if values is None:
                lost.append(name)
            else:
                yield name, values


def without_privacy(plan: Plan) -> Plan:
    """The same plan with a gradient bound that never binds, to go with `Randomness(noised=False)`.

    Does not protect: anybody. The plan is not for a real study: its noise, were it drawn, would
    drown everything, and a vault draws it.
    """
    dp = replace(plan.dp_sgd, max_grad_norm=UNCLIPPED, noise_multiplier=1.0)
    return replace(plan, dp_sgd=dp, shared_noise=None)
