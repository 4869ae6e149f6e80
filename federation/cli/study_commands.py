"""`study tune`: settings for a study at one epsilon, tried on stand-ins or on public data.

    consilium study tune --study ham10000 --epsilon 8
    consilium study tune --study heart --epsilon 3 --data FOLDER --public "UCI, CC BY 4.0"

Does not protect: anybody. What is tried is in no ledger: a hospital's patients are refused.
"""

import math
from pathlib import Path
from typing import Annotated

import typer
from rich.box import SIMPLE
from rich.console import Console
from rich.markup import escape
from rich.table import Column, Table

from federation.evaluation.exact_metrics import main_name
from federation.experiments import tuning
from federation.experiments.run_cell import Load
from federation.experiments.tuning import Search, TuningTrial
from syft_code.models.threads import one_thread
from syft_code.plans.catalogue import LARGEST_DELTA
from syft_code.runtime.cli_input import require_folder, require_positive
from syft_code.runtime.cli_output import Command

console = Console()
SHOWN = 10
NO_COST = "Nothing was spent: no patient of a hospital was looked at."


def app(load: Load) -> typer.Typer:
    """The commands, over the studies that a loader knows."""
    found = typer.Typer(no_args_is_help=True, help="Prepare a study.")

    @found.callback()
    def _group() -> None: ...

    @found.command(cls=Command)
    def tune(
        study: Annotated[str, typer.Option(help="ham10000, brats, heart, ...")],
        epsilon: Annotated[float, typer.Option(help="What the whole study may cost a patient.")],
        data: Annotated[
            Path | None, typer.Option(help="A public data set; without it stand-ins are drawn.")
        ] = None,
        public: Annotated[
            str, typer.Option(help="Why everybody may have this data: where it is published.")
        ] = "",
        delta: Annotated[float, typer.Option(help="As in the hospitals' terms.")] = 1e-5,
        split: Annotated[str, typer.Option(help="How patients are shared out.")] = "site",
        hospitals: Annotated[int, typer.Option(min=3, help="How many share them.")] = 4,
        tries: Annotated[int, typer.Option(min=1, help="So many settings at most.")] = 24,
        time_limit: Annotated[float, typer.Option(help="Seconds for all of it.")] = 300.0,
        seed: Annotated[
            int, typer.Option(min=0, help="The same seed tries the same settings.")
        ] = 0,
    ) -> None:
        """Find learning rate, clip, batch and rounds for an epsilon, on stand-ins or public data."""
        require_positive(epsilon, "--epsilon")
        require_positive(delta, "--delta", most=LARGEST_DELTA)
        require_positive(time_limit, "--time-limit")
        if data is not None:
            require_folder(data, "--data")
            tuning.require_public(data, public)
        wanted = Search(
            study=study,
            epsilon=epsilon,
            delta=delta,
            data=str(data or ""),
            split=split,
            options={"hospitals": hospitals},
            candidates=tries,
            limit_s=time_limit,
            seed=seed,
        )
        with one_thread():  # the networks are small: threads would wait for each other
            ranked = tuning.search(wanted, load, on_step=_say)
        console.print(table(ranked))
        console.print(_standing(ranked, public), soft_wrap=True, highlight=False)
        console.print(lines(ranked[0], epsilon=epsilon), highlight=False, markup=False)

    return found


def table(ranked: list[TuningTrial]) -> Table:
    """The best settings, with how they did."""
    figure = main_name(ranked[0].plan.data).replace("_", " ")
    figure = figure.capitalize().replace(" ", "\n")
    right = ("Rate", "Clip", "Sample", "Steps", "Rounds", "Noise", figure, "Splits")
    found = Table(
        Column("", no_wrap=True),
        *(Column(name, justify="right", no_wrap=True) for name in right),
        box=SIMPLE,
        padding=0,
    )
    for place, one in enumerate(ranked, start=1):
        if place > SHOWN and not one.suggested:
            continue
        what, spread = one.settings, (max(one.scores) - min(one.scores)) / 2
        found.add_row(
            "suggested" if one.suggested else str(place),
            f"{what.learning_rate:g}",
            f"{what.max_grad_norm:g}",
            f"{what.sample_rate:g}",
            str(what.steps),
            str(what.rounds),
            f"{one.plan.dp_sgd.noise_multiplier:g}",
            f"{one.score:.3f}" + (f" ± {spread:.3f}" if math.isfinite(spread) and spread else ""),
            str(len(one.scores)),
        )
    return found


def lines(best: TuningTrial, *, epsilon: float) -> str:
    """The lines of a notebook that ask for these settings; the noise is found by the terms."""
    what, plan = best.settings, best.plan
    noise = plan.dp_sgd.noise_multiplier
    return f"""from federation.strategy.presets import suggested
from syft_code.plans.plan import DpSgd, Evaluation, Sgd

start = suggested(researcher.catalogue()[0].spec).choices()
start["dp_sgd"] = DpSgd(
    noise_multiplier={noise!r},
    max_grad_norm={what.max_grad_norm!r},
    sample_rate={what.sample_rate!r},
    steps={what.steps!r},
)
start["optimizer"] = Sgd(learning_rate={what.learning_rate!r}, momentum={plan.optimizer.momentum!r})
start["rounds"] = {what.rounds!r}
start["evaluation"] = Evaluation(noise_multiplier={noise!r}, after_rounds=({what.rounds!r},))
study = researcher.study(study="a-name", asset="an-asset", epsilon={epsilon!r}, **start)"""


def _standing(ranked: list[TuningTrial], public: str) -> str:
    if ranked[0].plan.data.stand_in:
        return (
            f"Tuned on stand-ins, which are drawn and have no medical meaning. {NO_COST} Real "
            "patients can want other settings; tried on them, each would cost a study's epsilon."
        )
    return f"Tuned on data that is public: {public}. {NO_COST}"


def _say(sentence: str) -> None:
    console.print(f"[dim]{escape(sentence)}[/]", highlight=False, soft_wrap=True)
