"""What a study came to: a model, and the story of its rounds."""

from dataclasses import dataclass, field

from syft_code import canonical
from syft_code.arrays import Weights
from syft_code.metrics import noise_errors, scoring
from syft_code.plans.messages import Purpose, Signed
from syft_code.plans.plan import Plan
from syft_code.privacy import epsilons


@dataclass(frozen=True, slots=True, kw_only=True)
class RoundRecord:
    """What one round came to.

    `trained` and `evaluated` name the hospitals that contributed, `groups` how the trained ones
    were summed: all together, or in several disjoint groups. `headers` are of one share of
    each of them, signed by it; by them `epsilon` is what the study has spent there at `delta`, this
    round and its evaluation included, and `epsilon_alone` the same if all other hospitals collude. `absent`
    is how many of the roster did not train, and `reasons` what owners let researchers read of why,
    without names. `metrics` are noised, over the held-out patients of those that evaluated; `errors` are how
    far that noise throws each of them, as a root mean square (`noise_errors`). `unevaluated` says why a
    planned evaluation has no figures; it is empty if it has, or none was planned.
    """

    round: int
    trained: tuple[str, ...]
    epsilon: dict[str, float]
    epsilon_alone: dict[str, float]
    delta: dict[str, float]
    groups: tuple[tuple[str, ...], ...] = ()
    absent: int = 0
    reasons: tuple[str, ...] = ()
    headers: dict[Purpose, dict[str, Signed]] = field(default_factory=dict)
    metrics: dict[str, float] = field(default_factory=dict)
    errors: dict[str, float] = field(default_factory=dict)
    evaluated: tuple[str, ...] = ()
    unevaluated: str = ""
    upload_bytes: int = 0
    seconds: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class Outcome:
    """A trained model (float32 `[parameters]`) and the story of its rounds.

    `stopped` is empty if every round ran, else the sentence that says why not, in numbers;
    `reasons` are what owners let researchers read about the round that did not run.
    """

    plan: Plan
    weights: Weights
    rounds: tuple[RoundRecord, ...]
    stopped: str = ""
    reasons: tuple[str, ...] = ()

    @property
    def last_measured(self) -> RoundRecord | None:
        """The last round that was evaluated; None if none was."""
        return next((one for one in reversed(self.rounds) if one.metrics), None)

    def __str__(self) -> str:
        """What it came to in sentences: rounds, cost, the last noised figures with their errors."""
        said = [f"{len(self.rounds)} of {self.plan.rounds} rounds ran."]
        if self.rounds:
            most = max(self.rounds[-1].epsilon.values(), default=0.0)
            said.append(f"A patient's epsilon so far: at most {epsilons.at_least(most)}.")
        measured = [record for record in self.rounds if record.metrics]
        if measured:
            last = measured[-1]
            figures = ", ".join(_figure(last, name) for name in last.metrics)
            said.append(f"After round {last.round} (noised): {figures}.")
            said.append(scoring.never_found(last.metrics, self.plan.data, last.errors))
        said += dict.fromkeys(record.unevaluated for record in self.rounds)
        return " ".join(filter(None, [*said, self.stopped, *self.reasons]))

    __repr__ = __str__


def _figure(record: RoundRecord, name: str) -> str:
    value, error = record.metrics[name], record.errors.get(name, 0.0)
    if not noise_errors.is_measurable(name, value, error):
        return f"{name} {noise_errors.NOT_MEASURABLE}"
    return f"{name} {value:.3f} ± {error:.3f}"


def model_sha256(weights: Weights) -> str:
    """The hash of a model's weights (float32, little endian), as it stands in a certificate."""
    return canonical.sha256(weights.astype("<f4").tobytes())
