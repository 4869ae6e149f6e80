"""An audit of DP-SGD as it runs here: an epsilon that was claimed, and two that were measured.

    setting ─▶ claim, by the accountant ───────────────────────────────┐
            ─▶ many runs, one canary: Gaussian lower bound ────────────┼▶ finding: within, or above
            ─▶ one run, many canaries: how many guesses were right ────┘

The code under audit is `local_round.train`, which a hospital's training process calls.

Guarantee: if every claim holds, all findings are within theirs with probability 1 - `ERROR`.
Does not protect: a bound below the claim proves nothing. What no canary here excites is not seen: a
    leak that needs other data, another machine or another output than the update; noise that is
    the same twice inside one update; loss beyond what so many runs can tell.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from federation.privacy_audit import canaries, lower_bounds
from federation.privacy_audit.canaries import Probe
from federation.privacy_audit.lower_bounds import Rates
from federation.privacy_audit.settings import SIDE, Setting
from syft_code.cohort import Cohort
from syft_code.local_training import round_time
from syft_code.privacy import accounting

DELTA, ONE_RUN_DELTA = 1e-5, 1e-9
"""One run has many patients, each of whom may be one in 1 / delta: its delta must be smaller."""
ERROR = 1e-3
"""At most: of any false alarm in a whole audit. Each of its tests has an equal part (union bound)."""
TESTS = 3
"""Of a setting: by likelihood, by how far rounds lie apart, and by one run."""
CANARIES = SIDE * SIDE
CANARY_HEIGHT = 30.0
GUESSES = (40, 200, CANARIES)
"""About so many canaries of one run, those that are clearest; half of the guesses are "there"."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bound:
    """An epsilon that is claimed at some delta, and the lower bound that was measured at it."""

    claimed: float
    measured: float

    @property
    def above(self) -> bool:
        """Whether more was lost than is claimed."""
        return self.measured > self.claimed


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What an audit of one setting found. `one_run` is None where one run can't tell patients apart.

    `mu` is the Gaussian lower bound, `loudness` the canary's gradient norm before clipping ÷ C: a clip
    that is missing shows in the first if the second is large.
    """

    name: str
    many_runs: Bound
    one_run: Bound | None
    mu: float
    loudness: float

    @property
    def above(self) -> bool:
        """Whether either is above its claim."""
        return self.many_runs.above or (self.one_run is not None and self.one_run.above)


def audit(settings: Sequence[Setting], *, runs: int, seed: int) -> Iterator[Finding]:
    """One finding a setting, as they come; half of the runs are without the canary.

    `seed` is of the made-up people. Noise and samples are the operating system's, as in a hospital.
    """
    for setting in settings:
        error = ERROR / len(settings) / TESTS
        probe = canaries.probe(setting.plan, seed=seed, alone=setting.alone)
        rates = _many_runs(probe, runs // 2, error=error)
        yield Finding(
            name=setting.name,
            many_runs=_bound(rates, setting),
            one_run=_one_run(setting, seed=seed, error=error) if setting.linear else None,
            mu=max(each.mu for each in rates),
            loudness=probe.loudness,
        )


def _many_runs(probe: Probe, count: int, *, error: float) -> list[Rates]:
    """What each way to look at the observations achieves."""
    cohorts = (probe.without, probe.present)
    seen = [np.stack([probe.observe(cohort) for _ in range(count)]) for cohort in cohorts]
    scores = [[canaries.likelihoods(probe, one) for one in seen]]
    if probe.plan.rounds > 1:
        scores.append([canaries.spreads(one) for one in seen])
    return [lower_bounds.best_rates(*pair, error=error) for pair in scores]


def _bound(rates: Sequence[Rates], setting: Setting) -> Bound:
    """By the rates that say most. A refuted claim is below its bound, however coarse the search."""
    claimed = accounting.epsilon(setting.events, delta=DELTA)
    (claim,) = accounting.releases_by_group(setting.events)
    measured = []
    for each in rates:
        found = lower_bounds.lower_bound(each, claim, delta=DELTA)
        refuted = lower_bounds.refutes(each, claim, delta=DELTA)
        measured.append(
            max(found, np.nextafter(claimed, np.inf)) if refuted else min(found, claimed)
        )
    return Bound(claimed=claimed, measured=float(max(measured)))


def _one_run(setting: Setting, *, seed: int, error: float) -> Bound:
    """Canaries that each light one pixel of a linear model; which are there is drawn.

    A pixel's two weights move apart by the canary's clipped gradient if it is there, and by noise.
    """
    plan, people = canaries.slowed(setting.plan), _pixels()
    there = np.random.default_rng(seed).random(CANARIES) < 0.5
    sent = round_time.first_broadcast(plan, "train").joined()
    seen = canaries.updates(
        plan,
        sent,
        people.select(there),
        others=people.select(np.zeros(CANARIES, dtype=bool)),
        summed=canaries.summed_in(plan, alone=setting.alone),
    )
    scores = np.subtract(*np.split(np.sum(seen, axis=0)[: 2 * CANARIES], 2))
    order, bounds = np.argsort(scores), []
    for guesses in GUESSES:
        least, most = order[: guesses // 2], order[-guesses // 2 :]
        bounds.append(
            lower_bounds.one_run_bound(
                guesses,
                int(there[most].sum() + (~there[least]).sum()),
                patients=CANARIES,
                delta=ONE_RUN_DELTA,
                error=error / len(GUESSES),
            )
        )
    claimed = accounting.epsilon(setting.events, delta=ONE_RUN_DELTA)
    return Bound(claimed=claimed, measured=max(bounds))


def _pixels() -> Cohort:
    """As many patients as pixels, each with one of its own."""
    return Cohort(
        images=(CANARY_HEIGHT * np.eye(CANARIES)).reshape(-1, 1, SIDE, SIDE).astype(np.float16),
        labels=np.zeros(CANARIES, dtype=np.uint8),
        patient=np.arange(CANARIES, dtype=np.int32),
    )
