"""Exact figures of a model, for everybody's held-out patients and for each hospital's."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from torch import nn

from federation.evaluation import exact_metrics, subgroups
from federation.evaluation.exact_metrics import together
from federation.simulation.hospital_data import HospitalData
from syft_code.arrays import Weights
from syft_code.cohort import Cohort
from syft_code.models import networks
from syft_code.plans.plan import Plan
from syft_code.recipes.recipe import DataSpec

EVERYONE = ""
_GROUP = "group, "
LESS_IS_BETTER = ("hd95",)
"""Beginnings of the names of figures in which less is better; in all others more is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricRow:
    """One figure. `site` is where its patients were held out, or their group, "" for everybody's.

    scope: federated; pooled; alone (trained at `trained_at`, everybody's patients); local only (the
    same model on its own hospital's patients); group (federated or pooled models on the patients that
    a fact names, `subgroups`); and, derived from these, best single site (the best
    of "alone", chosen on the patients that it is measured on, which favours it), worst site and worst
    group (federated or pooled models where they do worst), and gap (between the best group and the
    worst one of one fact).
    """

    scope: str
    site: str
    metric: str
    value: float
    patients: int
    round: int
    trained_at: str = ""


def rows(
    plan: Plan,
    delivered: Callable[[str], Weights],
    scope: str,
    trained_at: str,
    everyone: HospitalData,
    number: int,
) -> list[MetricRow]:
    """The figures after a round of the model that a site uses, which `delivered` gives.

    With local normalisation sites use models of their own; everybody's figures are then the means
    over the sites, weighted by their held-out patients.
    """
    alone = scope == "alone"
    named = trained_at if alone else ""
    at_sites: list[MetricRow] = []
    for name in [trained_at] if alone else everyone.names:
        network = _network(plan, delivered(name))
        own = "local only" if alone else scope
        at_sites += _figures(network, everyone.held_out(name), plan.data, own, name, number, named)
    if plan.local_norms and scope == "federated":
        return _means(at_sites) + at_sites
    all_held_out = together([everyone.held_out(name) for name in everyone.names])
    network = _network(plan, delivered(trained_at if alone else everyone.names[0]))
    groups: list[MetricRow] = []
    if not alone:
        for name, cohort in subgroups.of(all_held_out, plan.data).items():
            groups += _figures(network, cohort, plan.data, f"group, {scope}", name, number, "")
    return [
        *_figures(network, all_held_out, plan.data, scope, EVERYONE, number, named),
        *at_sites,
        *groups,
    ]


def _network(plan: Plan, weights: Weights) -> nn.Module:
    return networks.build(plan.recipe, plan.data, weights)


def _means(at_sites: Sequence[MetricRow]) -> list[MetricRow]:
    """Each figure over the sites that have it, weighted by patients."""
    found = []
    for metric in dict.fromkeys(row.metric for row in at_sites):
        these = [row for row in at_sites if row.metric == metric]
        patients = [row.patients for row in these]
        mean = float(np.average([row.value for row in these], weights=patients))
        found.append(replace(these[0], site=EVERYONE, value=mean, patients=sum(patients)))
    return found


def _figures(
    network: nn.Module,
    cohort: Cohort,
    data: DataSpec,
    scope: str,
    site: str,
    number: int,
    trained_at: str,
) -> Iterable[MetricRow]:
    if not cohort.patients:
        return []
    return [
        MetricRow(
            scope=scope,
            site=site,
            metric=metric,
            value=float(value),
            patients=cohort.patients,
            round=number,
            trained_at=trained_at,
        )
        for metric, value in sorted(exact_metrics.of_cohort(network, cohort, data).items())
        if np.isfinite(value)
    ]


def derived(rows: Sequence[MetricRow]) -> list[MetricRow]:
    """The best single site, the worst site, the worst group and the gap, figure by figure."""
    found: list[MetricRow] = []
    for metric, number in sorted({(row.metric, row.round) for row in rows}):
        these = [row for row in rows if (row.metric, row.round) == (metric, number)]
        alone = [row for row in these if row.scope == "alone"]
        sites = [row for row in these if row.scope in ("federated", "pooled") and row.site]
        if alone:
            found.append(replace(_best(alone), scope="best single site"))
        if sites:
            worst = _best(sites, least=True)
            found.append(replace(worst, scope=f"worst site, {worst.scope}"))
        for scope in sorted({row.scope for row in these if row.scope.startswith(_GROUP)}):
            groups = [row for row in these if row.scope == scope]
            worst = _best(groups, least=True)
            found += [replace(worst, scope=f"worst {worst.scope}"), *_largest_gap(groups)]
    return found


def _largest_gap(groups: Sequence[MetricRow]) -> list[MetricRow]:
    """Between the best and the worst group of one fact, of the fact where it is largest; or nothing."""
    gaps = []
    for fact in dict.fromkeys(subgroups.fact(row.site) for row in groups):
        of_fact = [row for row in groups if subgroups.fact(row.site) == fact]
        values = [row.value for row in of_fact]
        if len(values) > 1:
            scope = f"gap, {groups[0].scope.removeprefix(_GROUP)}"
            patients = sum(row.patients for row in of_fact)
            gap = replace(groups[0], scope=scope, site=fact, patients=patients)
            gaps.append(replace(gap, value=max(values) - min(values)))
    return [max(gaps, key=lambda row: row.value)] if gaps else []


def _best(rows: Sequence[MetricRow], *, least: bool = False) -> MetricRow:
    reverse = rows[0].metric.startswith(LESS_IS_BETTER) != least
    return (min if reverse else max)(rows, key=lambda row: row.value)
