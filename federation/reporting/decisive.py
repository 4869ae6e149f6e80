"""The three sentences that a report opens with: what left, what it cost, what it came to."""

from collections.abc import Mapping, Sequence

from federation.certificate.verification import Certificate
from federation.evaluation.baselines import Baseline
from federation.reporting import noised_figures, plots
from federation.researcher.outcome import Outcome
from syft_code.privacy import epsilons, odds
from syft_code.recipes.recipe import DataSpec

Figures = Mapping[str, float]


def sentences(
    outcome: Outcome,
    certificate: Certificate,
    exact: Sequence[Figures],
    baselines: Sequence[Baseline],
) -> list[tuple[str, str]]:
    """What left, what it cost and what it came to: the three sentences that a reader needs first."""
    return [
        ("What left the hospitals", _left(outcome)),
        ("What it cost", _cost(certificate)),
        ("What it came to", _came_to(outcome, exact[-1] if exact else {}, baselines)),
    ]


def _left(outcome: Outcome) -> str:
    rounds = outcome.rounds
    if not rounds:
        return "no sum: no round was summed. Sealed shares of a round may have left, and what they cost is spent."
    summed = [len(group) for one in rounds for group in one.groups or (one.trained,)]
    evaluations = [len(one.evaluated) for one in rounds if one.metrics]
    fewest = min([*summed, *filter(None, evaluations)])
    rule = outcome.plan.min_hospitals
    least = f"{fewest}" if fewest == rule else f"{fewest} (never fewer than {rule})"
    return (
        f"noised sums over at least {least} hospitals, of {len(rounds)} training rounds and "
        f"{len(evaluations)} evaluations, each sent as sealed shares; no record of a patient."
    )


def _cost(certificate: Certificate) -> str:
    stated = [own for own in certificate["hospitals"] if own["epsilon"] is not None]
    if not stated:
        return "not known: no hospital's ledger stated it."
    most = max(stated, key=lambda own: float(own["epsilon"]))
    means = odds.in_words(float(most["epsilon"]))
    silent = len(certificate["hospitals"]) - len(stated)
    others = f" {silent} hospitals' ledgers stated none." if silent else ""
    return (
        f"at most epsilon {epsilons.at_least(most['epsilon'])} of a patient's budget (at {most['name']}): by this "
        f"study alone {means} (plus delta, {epsilons.delta_text(most['delta'])}).{others}"
    )


def _came_to(outcome: Outcome, exact: Figures, baselines: Sequence[Baseline]) -> str:
    data = outcome.plan.data
    measured = outcome.last_measured
    names = plots.shown_metrics(data)[: 2 if data.task == "classification" else 1]
    if exact:
        known = "exactly, as only a demo can know"
        figures = [noised_figures.exactly(exact, name, data) for name in names]
    elif measured:
        known = "as far as the noise lets anybody see"
        figures = [noised_figures.noised(measured, name, data) for name in names]
    else:
        return "nothing was measured."
    pairs = zip(names, figures, strict=True)
    came = " and ".join(f"{_inside(plots.words(name, data))} {figure}" for name, figure in pairs)
    said = (
        f"{came}, {known}.",
        _held_against(names[0], data, baselines),
        noised_figures.below_a_lone_hospital(exact, baselines, data),
    )
    return " ".join(filter(None, said))


def _held_against(name: str, data: DataSpec, baselines: Sequence[Baseline]) -> str:
    """What a figure is to be compared with, in a sentence; empty if there is nothing."""
    chance = noised_figures.chance_level(name, data)
    levels = [] if chance is None else [f"chance {chance:.3f}"]
    levels += [
        f"{_inside(one.name)} {noised_figures.exactly(one.metrics, name, data)}"
        for one in baselines
    ]
    return f"Compare {_inside(plots.words(name, data))} with {', '.join(levels)}." if levels else ""


def _inside(name: str) -> str:
    """A name as it stands inside a sentence.

    >>> _inside("Balanced accuracy"), _inside("AUC of flu")
    ('balanced accuracy', 'AUC of flu')
    """
    return name if name[1:2].isupper() else name[:1].lower() + name[1:]
