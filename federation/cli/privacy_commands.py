"""`audit privacy`: does what leaves keep the accountant's word? Needs no hospital, and no patient."""

from pathlib import Path
from typing import Annotated, Any

import typer

from federation.privacy_audit import audit
from federation.privacy_audit.audit import Bound, Finding
from federation.privacy_audit.settings import SETTINGS, Setting
from syft_code.errors import ConsiliumError, InvalidInput
from syft_code.plans.plan import Plan
from syft_code.runtime import cli_output
from syft_code.runtime.cli_input import require_count
from syft_code.runtime.cli_output import AsJson

LEAST_RUNS, MOST_RUNS = 100, 1_000_000
USUAL_RUNS = 1000
MAX_PLAN_BYTES = 2**20


def privacy(
    plan: Annotated[Path | None, typer.Option(help="A plan's JSON; else 25 small ones.")] = None,
    runs: Annotated[
        int, typer.Option(help="Trainings a setting; half are without the patient.")
    ] = USUAL_RUNS,
    seed: Annotated[int, typer.Option(help="Of the made-up patients; noise has none.")] = 0,
    as_json: AsJson = False,
) -> None:
    """Train with and without one made-up patient, and measure how well an update tells.

    Exit code 1 if any lower bound of epsilon is above what the accountant claims.

    JSON: runs, seed, findings: name, above, mu, loudness, many_runs (delta, claimed, measured),
    one_run (the same, or null).
    """
    require_count(runs, "--runs", least=LEAST_RUNS, most=MOST_RUNS)
    require_count(seed, "--seed", least=0, most=2**32 - 1)
    settings = SETTINGS if plan is None else _of_file(plan)
    findings = []
    for finding in audit.audit(settings, runs=runs, seed=seed):
        findings.append(finding)
        cli_output.sentence(f"{len(findings)} of {len(settings)}: {finding.name}", err=True)
    above = [finding.name for finding in findings if finding.above]
    if as_json:
        cli_output.document(
            {"runs": runs, "seed": seed, "findings": [_facts(finding) for finding in findings]}
        )
    else:
        _show(findings)
        cli_output.sentence(_verdict(above, len(findings)))
    if above:
        raise typer.Exit(1)


def _of_file(path: Path) -> list[Setting]:
    """One round of somebody's plan."""
    try:
        with path.open("rb") as file:
            plan = Plan.decode(file.read(MAX_PLAN_BYTES))
    except (OSError, ConsiliumError) as problem:
        reason = problem.strerror if isinstance(problem, OSError) else problem
        raise InvalidInput(
            f"--plan must be a file with a plan's JSON, and {cli_output.quoted(str(path))} is none: "
            f"{reason}"
        ) from None
    return Setting.one_round(plan)


def _show(findings: list[Finding]) -> None:
    rows = [
        [
            finding.name,
            _of(finding.many_runs),
            "-" if finding.one_run is None else _of(finding.one_run),
            f"{finding.mu:.2f}",
            "ABOVE ITS CLAIM" if finding.above else "within",
        ]
        for finding in findings
    ]
    columns = ["setting", "many runs", "one run", "mu", "verdict"]
    cli_output.table(columns, rows, kept=0)


def _of(bound: Bound) -> str:
    return f"{bound.measured:.2f} of {bound.claimed:.2f}"


def _verdict(above: list[str], count: int) -> str:
    if above:
        return (
            f"{len(above)} of {count} lost more than is claimed: {'; '.join(above)}. Do not train: "
            f"were every claim true, one audit in {1 / audit.ERROR:.0f} would say so."
        )
    return (
        f"All {count} are within their claims. Each figure is a lower bound of epsilon, of the epsilon "
        f"that the accountant claims: at delta {audit.DELTA:g} by many runs, {audit.ONE_RUN_DELTA:g} by "
        "one. They find a mechanism that is wrong, and prove none right."
    )


def _facts(finding: Finding) -> dict[str, Any]:
    return {
        "name": finding.name,
        "above": finding.above,
        "mu": finding.mu,
        "loudness": finding.loudness,
        "many_runs": _bound_facts(finding.many_runs, audit.DELTA),
        "one_run": finding.one_run and _bound_facts(finding.one_run, audit.ONE_RUN_DELTA),
    }


def _bound_facts(bound: Bound, delta: float) -> dict[str, float]:
    return {"delta": delta, "claimed": bound.claimed, "measured": bound.measured}
