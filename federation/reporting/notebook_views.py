"""What a researcher looks at in a notebook: catalogue and terms as a table, a mock as pictures."""

import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from federation.reporting import noised_figures
from federation.reporting.plots import STYLE, Plot, epsilon, words
from federation.researcher.outcome import Outcome
from federation.researcher.storage.kept_studies import KeptStudy
from syft_code.cohort import Cohort
from syft_code.errors import InvalidInput, require
from syft_code.plans.catalogue import AssetCard, Terms
from syft_code.plans.notes import Note
from syft_code.plans.plan import Plan
from syft_code.privacy import epsilons
from syft_code.recipes.recipe import parameter_count

__all__ = ["Plot", "catalogue", "epsilon", "figures", "mock", "notes", "plan", "studies"]
COLUMNS = 8


def catalogue(cards: Sequence[AssetCard], terms: Mapping[str, Terms]) -> pd.DataFrame:
    """One column an asset: what it is, and below that what its hospital asks of every study."""
    columns = [_asset(card) | _asked(terms[card.hospital]) for card in cards]
    names = [(card.hospital, f"{card.asset} v{card.version}") for card in cards]
    table = pd.DataFrame(columns, dtype=object).T
    table.columns = pd.MultiIndex.from_tuples(names, names=["hospital", "asset"])
    return table


def _asset(card: AssetCard) -> dict[str, object]:
    return {
        "declared training patients": card.patients,
        "holds others out": _yes(card.held_out),
        "one patient is": card.spec.patient_unit,
        "slice": f"{len(card.spec.channels)} x {card.spec.height_px} x {card.spec.width_px}",
        "modalities missing in every case": ", ".join(card.lacks) or "none",
        "facts of a patient": ", ".join(card.spec.facts) or "none",
        "stand-in": _yes(card.spec.stand_in),
    }


def _asked(terms: Terms) -> dict[str, object]:
    return {
        "epsilon in all, for ever": f"{terms.epsilon:g}",
        "at delta": f"{terms.delta:g}",
        "epsilon if all other hospitals collude": f"{terms.epsilon_alone or terms.epsilon:g}",
        "least colluding operators with shared noise": terms.min_colluding,
        "epsilon of one study": _cap(terms.study_epsilon),
        "epsilon of one researcher": _cap(terms.researcher_epsilon),
        "least noise (std / clip norm)": f"{terms.min_noise_multiplier:g}",
        "least hospitals in a sum": terms.min_hospitals,
        "least aggregators to open it": terms.min_aggregators,
        "least training patients": terms.min_patients,
        "models": ", ".join(terms.recipes),
        "most ticks of the release schedule": terms.most_ticks or "no schedule needed",
        "people who must approve": terms.approvers,
    }


def _cap(epsilon: float | None) -> str:
    return "no cap of its own" if epsilon is None else f"{epsilon:g}"


def _yes(holds: bool) -> str:
    return "yes" if holds else "no"


def notes(pairs: Sequence[tuple[str, Note]]) -> pd.DataFrame:
    """What owners asked about a plan and what was answered, in the order in which it was said."""
    rows = [
        {
            "hospital": hospital,
            "who": note.author,
            "said": note.text,
            "when (UTC)": datetime.fromtimestamp(note.at_unix_s, UTC).strftime("%Y-%m-%d %H:%M"),
        }
        for hospital, note in pairs
    ]
    return pd.DataFrame(rows, columns=["hospital", "who", "said", "when (UTC)"])


def studies(kept: Iterable[KeptStudy]) -> pd.DataFrame:
    """One row a study that was submitted from here: how far it came, what it cost, what stopped it."""
    rows = [
        {
            "study": one.plan.study,
            "asset": one.plan.hospitals[0].asset,
            "plan hash": one.plan.hash[:12],
            "rounds": f"{one.progress.rounds} of {one.plan.rounds}",
            "epsilon": epsilons.at_least(one.progress.epsilon),
            "stopped": one.progress.stopped,
        }
        for one in kept
    ]
    names = ("study", "asset", "plan hash", "rounds", "epsilon", "stopped")
    return pd.DataFrame(rows, columns=names).set_index("study")


def plan(study: Plan) -> pd.DataFrame:
    """A plan in words and numbers, as every owner reads it."""
    dp = study.dp_sgd
    rows = {
        "plan hash": study.hash,
        "model": f"{study.recipe.model.kind}, {parameter_count(study.recipe, study.data):,} parameters",
        "loss": study.recipe.loss.kind,
        "rounds": f"{study.rounds} of {dp.steps} steps each",
        "patients a step": f"each with probability {dp.sample_rate:g}",
        "noise": f"{dp.noise_multiplier:g} x the clip norm {dp.max_grad_norm:g}{_whose(study)}",
        "per-sample gradients": "by Opacus" if dp.engine == "opacus" else "by Consilium",
        "hospitals": ", ".join(hospital.name for hospital in study.hospitals),
        "least hospitals in a sum": str(study.min_hospitals),
        "aggregators": ", ".join(aggregator.name for aggregator in study.aggregators),
        "aggregators to open a sum": f"{study.needed} of {len(study.aggregators)}",
    }
    return pd.DataFrame({"": rows})


def _whose(study: Plan) -> str:
    if study.shared_noise is None:
        return ", at each hospital"
    return f" in a sum, {study.noise_multiplier_alone:.3g} at each hospital"


def figures(outcome: Outcome) -> pd.DataFrame:
    """What the last evaluation measured, each figure with its error bar and the level of chance."""
    data = outcome.plan.data
    last = outcome.last_measured
    names = list(last.errors) if last else []
    rows = [
        {
            "noised figure": noised_figures.noised(last, name, data) if last else "",
            "chance": _level(noised_figures.chance_level(name, data)),
        }
        for name in names
    ]
    columns = ["noised figure", "chance"]
    table = pd.DataFrame(rows, columns=columns, index=[words(name, data) for name in names])
    table.index.name = noised_figures.PLUS_MINUS
    return table


def compare(outcomes: Mapping[str, Outcome]) -> pd.DataFrame:
    """Studies side by side: what each cost and measured last, with its error bar; a column a study.

    Figures are of the studies' own held-out patients, and compare only where those are the same.
    """
    columns = {name: dict(_compared(outcome)) for name, outcome in outcomes.items()}
    rows = list(dict.fromkeys(row for column in columns.values() for row in column))
    table = pd.DataFrame(
        {name: [column.get(row, "") for row in rows] for name, column in columns.items()},
        index=rows,
    )
    table.index.name = noised_figures.PLUS_MINUS
    return table


def _compared(outcome: Outcome) -> Iterator[tuple[str, str]]:
    rounds = outcome.rounds
    yield "rounds", f"{len(rounds)} of {outcome.plan.rounds}"
    yield "hospitals in the last round", str(len(rounds[-1].trained)) if rounds else ""
    for name, spent in (
        ("epsilon", [one.epsilon for one in rounds]),
        ("epsilon if all other hospitals collude", [one.epsilon_alone for one in rounds]),
    ):
        most = max((value for one in spent for value in one.values()), default=0.0)
        yield name, epsilons.at_least(most) if rounds else ""
    last = outcome.last_measured
    if last is None:
        return
    for name in last.errors:
        yield words(name, outcome.plan.data), noised_figures.noised(last, name, outcome.plan.data)


def _level(chance: float | None) -> str:
    return "–" if chance is None else f"{chance:.3f}"


def mock(
    cohort: Cohort,
    classes: Sequence[str],
    *,
    channels: Sequence[str] = (),
    count: int = 2 * COLUMNS,
) -> Plot:
    """Pictures of a mock: made from the schema alone, no patient is in them.

    With the `channels` of a slice and its neighbours, FLAIR of the slice itself is shown.

    Raises:
        InvalidInput: if the mock is of a table, which has no pictures.
    """
    require(
        cohort.images.size > 0,
        "A mock must have pictures to show, and a table has none: look at its facts.",
        error=InvalidInput,
    )
    grey = list(channels).index("flair") if "flair" in channels else -1
    shown = cohort.images[:count]
    rows = -(-len(shown) // COLUMNS)
    with mpl.rc_context(STYLE | {"axes.grid": False}):
        figure = Figure(figsize=(1.3 * COLUMNS, 1.6 * rows), layout="constrained")
        axes = figure.subplots(rows, COLUMNS, squeeze=False).ravel()
        for axis in axes:
            axis.axis("off")
        for axis, image, label in zip(axes, shown, cohort.labels, strict=False):
            colour = image.dtype == np.uint8 and len(image) == 3
            picture = image.transpose(1, 2, 0) if colour else image[grey].astype(np.float32)
            axis.imshow(picture, cmap=None if colour else "gray")
            axis.set_title(classes[int(label)] if label.ndim == 0 else "mock slice")
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png", dpi=110)
    alt = "Mock slices, made from the public schema: no patient is in them."
    return Plot(data=buffer.getvalue(), kind="image/png", alt=alt)
