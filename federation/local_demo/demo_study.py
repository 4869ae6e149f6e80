"""The researcher's part of a demo: ask, train, compare with the baselines, write what stays.

A demo plays every party on one machine, so that it may hold all patients beside each other; it is
the only place where they are.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

from nacl.signing import SigningKey
from rich.console import Console

from federation.evaluation.encoded_pictures import EncodedPictures
from federation.evaluation.exact_metrics import HospitalCohorts
from federation.local_demo import demo_results
from federation.reporting import noised_figures
from federation.reporting.progress_bar import Display
from federation.researcher.outcome import Outcome, RoundRecord
from federation.researcher.session import Researcher
from federation.researcher.study import Study
from federation.strategy import presets
from syft_code.arrays import Weights
from syft_code.cohort import Cohort
from syft_code.errors import Refused
from syft_code.metrics import scoring
from syft_code.operation.supervisor import Say
from syft_code.plans.plan import Plan
from syft_code.plans.study_purpose import StudyPurpose
from syft_code.privacy import accounting, epsilons

STAND_IN_NOTICE = "[yellow]STAND-IN DATA: synthetic, no patient, no medical meaning.[/]"
PURPOSE = StudyPurpose(
    aim="Show all of Consilium on one machine, from a request to a model.",
    people=("who started the demo",),
    institution="none: a demo",
    contact="who started the demo",
)
WRITTEN = ("model.safetensors", "model_card.md", "certificate.json", "report.html")


class DemoStudy:
    """One demo, told on a console as it goes on."""

    def __init__(self, console: Console, folder: Path, say: Say, *, stand_in: bool) -> None:
        self._console = console
        self._folder = folder
        self.say = say
        self._stand_in = stand_in
        self.notice()

    def notice(self) -> None:
        """Say so if no patient is in the data."""
        if self._stand_in:
            self._console.print(STAND_IN_NOTICE)

    def study(self, researcher: Researcher, *, name: str, asset: str) -> Study:
        """The study that is suggested for such data, submitted to every hospital."""
        cards = researcher.catalogue()
        choices = presets.suggested(cards[0].spec)
        terms = researcher.terms().values()
        least = max(one.min_hospitals for one in terms)
        study = researcher.study(
            study=name,
            asset=asset,
            purpose=PURPOSE,
            **choices.choices(evaluated=sum(card.held_out for card in cards) >= least),
        )
        if study.plan.shared_noise is not None:
            self.say(_two_epsilons(study.plan, delta=min(one.delta for one in terms)))
        self.say("The researcher submits one code request to every hospital")
        study.submit()
        return study

    def train(self, study: Study) -> tuple[Outcome, list[Weights]]:
        """All rounds of an approved study, and the weights after each."""
        study.wait_for_approval(timeout_s=60.0, on_change=lambda status: self.say(str(status)))
        self.say(f"Training {study.plan.rounds} rounds")
        weights: list[Weights] = []
        display = Display(self._console, rounds=study.plan.rounds)

        def keep(record: RoundRecord, new: Weights) -> None:
            display.on_round(record, new)
            weights.append(new)

        with display.shown():
            outcome = study.train(on_progress=display.on_progress, on_round=keep)
        return outcome, weights

    def conclude(
        self,
        outcome: Outcome,
        weights: Sequence[Weights],
        hospitals: Sequence[HospitalCohorts],
        *,
        samples: Cohort,
        budgets: Mapping[str, float],
        key: SigningKey,
        pictures: EncodedPictures,
    ) -> None:
        """Compare with the baselines, write what stays, print the figures; `key` signs.

        `pictures` is where an encoder's features of patients are kept meanwhile.
        """
        if not outcome.rounds:
            raise Refused(" ".join((outcome.stopped, *outcome.reasons)))
        self.say("Comparing with pooled training and with each hospital alone")
        found = demo_results.write(
            self._folder,
            outcome,
            weights_by_round=weights,
            hospitals=hospitals,
            samples=samples,
            budgets=budgets,
            key=key,
            pictures=pictures,
        )
        self._console.print(demo_results.table(outcome, found))
        data = outcome.plan.data
        for sentence in (
            scoring.never_found(found.exact, data),
            noised_figures.below_a_lone_hospital(found.exact, found.baselines, data),
        ):
            if sentence:
                self._console.print(sentence, highlight=False, markup=False, soft_wrap=True)
        self.notice()
        for name in WRITTEN:
            self._console.print(f"  {self._folder / name}", highlight=False)


def _two_epsilons(plan: Plan, *, delta: float) -> str:
    events = accounting.plan_events(plan)
    cost = epsilons.at_least(accounting.epsilon(events, delta=delta))
    alone = epsilons.at_least(accounting.epsilon_alone(events, delta=delta))
    return (
        f"Noise is shared: all of the plan costs a patient epsilon {cost} as the sums show it, and "
        f"{alone} if all other hospitals collude"
    )
