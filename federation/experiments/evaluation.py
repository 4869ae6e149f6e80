"""Exact figures of a model, for everybody's held-out patients and for each hospital's."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from torch import nn

from federation import figures
from federation.figures import together
from federation.server_step import Model
from federation.simulation.hospitals import Hospitals
from syft_code import networks
from syft_code.cohort import Cohort
from syft_code.plan import Plan
from syft_code.recipes import DataSpec

EVERYONE = ""
LESS_IS_BETTER = ("hd95",)
"""Beginnings of the names of figures in which less is better; in all others more is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One figure. `site` is where its patients were held out, "" for everybody's.

    scope: federated; pooled; alone (trained at `trained_at`, everybody's patients); local only (the
    same model on its own hospital's patients); and, derived from these, best single site (the best
    of "alone", chosen on the patients that it is measured on, which favours it) and worst site
    (federated or pooled models where they do worst).
    """

    scope: str
    site: str
    metric: str
    value: float
    patients: int
    round: int
    trained_at: str = ""


def rows(
    plan: Plan, model: Model, scope: str, trained_at: str, everyone: Hospitals, number: int
) -> list[Row]:
    """The figures of one model after a round."""
    network = networks.build(plan.recipe, plan.data)
    networks.from_vector(network, model.delivered)
    alone = scope == "alone"
    sites = [trained_at] if alone else list(everyone.names)
    named = trained_at if alone else ""
    found: list[Row] = []
    all_held_out = together([everyone.held_out(name) for name in everyone.names])
    found += _figures(network, all_held_out, plan.data, scope, EVERYONE, number, named)
    for name in sites:
        own = "local only" if alone else scope
        found += _figures(network, everyone.held_out(name), plan.data, own, name, number, named)
    return found


def _figures(
    network: nn.Module,
    cohort: Cohort,
    data: DataSpec,
    scope: str,
    site: str,
    number: int,
    trained_at: str,
) -> Iterable[Row]:
    if not cohort.patients:
        return []
    return [
        Row(
            scope=scope,
            site=site,
            metric=metric,
            value=float(value),
            patients=cohort.patients,
            round=number,
            trained_at=trained_at,
        )
        for metric, value in sorted(figures.of_cohort(network, cohort, data).items())
        if np.isfinite(value)
    ]


def derived(rows: Sequence[Row]) -> list[Row]:
    """The best single site and the worst site, figure by figure."""
    found: list[Row] = []
    for metric, number in sorted({(row.metric, row.round) for row in rows}):
        these = [row for row in rows if (row.metric, row.round) == (metric, number)]
        alone = [row for row in these if row.scope == "alone"]
        sites = [row for row in these if row.scope in ("federated", "pooled") and row.site]
        if alone:
            found.append(replace(_best(alone), scope="best single site"))
        if sites:
            worst = _best(sites, least=True)
            found.append(replace(worst, scope=f"worst site, {worst.scope}"))
    return found


def _best(rows: Sequence[Row], *, least: bool = False) -> Row:
    reverse = rows[0].metric.startswith(LESS_IS_BETTER) != least
    return (min if reverse else max)(rows, key=lambda row: row.value)
