"""The report of a study: one HTML file that a hospital's data officer can open and print.

It says what the study came to, what it cost whose patients, who saw what, and what nobody
promises. Sentences and epsilons are those of the certificate. Nothing in the file is
fetched from elsewhere.

The words stand in `templates/report.html.j2`, the figures are put together here.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

from federation.certificate import verification
from federation.certificate.certificate import OWNER_ONLY
from federation.certificate.verification import Certificate
from federation.evaluation.baselines import Baseline
from federation.evaluation.exact_metrics import ON_TRAINING_PATIENTS, PATIENTS
from federation.reporting import decisive, noised_figures, plots, sample_plots
from federation.researcher.outcome import Outcome, RoundRecord
from syft_code.cohort import Cohort
from syft_code.errors import InvalidInput, require
from syft_code.metrics import scoring
from syft_code.privacy import epsilons
from syft_code.runtime import html_templates
from syft_code.runtime.durable_files import write_durably

Figures = Mapping[str, float]
_DATA_NAMES = {
    "ham10000": "skin lesions (HAM10000)",
    "images": "pictures with a class each",
    "brats": "brain tumours (BraTS)",
    "lgg": "lower-grade gliomas (Buda et al.)",
    "table": "a table of patients",
    "series": "patients by the hour",
}


def write(
    path: Path,
    outcome: Outcome,
    *,
    certificate: Certificate,
    exact_by_round: Sequence[Figures] | None = None,
    baselines: Sequence[Baseline] = (),
    samples: Cohort | None = None,
    budgets: Mapping[str, float] | None = None,
) -> None:
    """Write the report of a study.

    `exact_by_round` and `baselines` exist only in a demo that owns all the data: one set of
    figures (`exact_metrics.exact`) for each of the outcome's rounds, empty where there is none.
    `samples` are public or stand-in slices: they are shown. `budgets` are the hospitals'
    total epsilons, by name.

    Guarantee: a report with exact figures of real data says so, and only its writer may read it
        (mode 0600).
    Does not protect: whoever is in `samples`.
    Raises:
        InvalidInput: if the certificate or the figures are of another study.
    """
    exact = list(exact_by_round or [])
    require(
        certificate.get("plan_hash") == outcome.plan.hash,
        "The certificate must be the study's own: make it from the same outcome.",
        error=InvalidInput,
    )
    require(
        len(exact) in (0, len(outcome.rounds)),
        f"There must be exact figures for each of {len(outcome.rounds)} rounds, or none at all; "
        f"got {len(exact)}.",
        error=InvalidInput,
    )
    owner_only = bool(exact or baselines) and not outcome.plan.data.stand_in
    template = html_templates.environment(__package__).get_template("report.html.j2")
    page = template.render(
        outcome=outcome,
        plan=outcome.plan,
        certificate=certificate,
        data_name=_DATA_NAMES[outcome.plan.data.kind],
        stand_in=_stand_in(certificate),
        owner_only=OWNER_ONLY if owner_only else "",
        decisive=decisive.sentences(outcome, certificate, exact, baselines),
        **_model(outcome, certificate, exact, baselines),
        **_costs(outcome, certificate, budgets or {}),
        **_evidence(outcome, certificate),
        samples=sample_plots.samples(outcome, samples)
        if samples is not None and samples.images.size  # a table has no pictures
        else None,
    )
    if owner_only:
        write_durably(path, page.encode("utf-8"))
    else:
        path.write_text(page, encoding="utf-8")


def _stand_in(certificate: Certificate) -> str:
    sentence: str = certificate["stand_in_sentence"].removeprefix("STAND-IN: ")
    return sentence[:1].upper() + sentence[1:]


def _model(
    outcome: Outcome,
    certificate: Certificate,
    exact: Sequence[Figures],
    baselines: Sequence[Baseline],
) -> dict[str, object]:
    """How good the model is: key figures, plots, and a table of exact figures in a demo."""
    final = exact[-1] if exact else {}
    names = plots.tabulated_metrics(outcome.plan.data)
    patients = final.get(PATIENTS, baselines[0].metrics.get(PATIENTS) if baselines else None)
    return {
        "key_figures": _key_figures(outcome, certificate, final, baselines),
        "utility": plots.utility(outcome, exact, baselines),
        "plus_minus": noised_figures.PLUS_MINUS if any(r.metrics for r in outcome.rounds) else "",
        "unevaluated": [r.unevaluated for r in outcome.rounds if r.unevaluated],
        "recalls_head": ["Class", *_recalls_of(outcome, final, baselines)],
        "recalls": _recalls(outcome, final, baselines),
        "never_found": scoring.never_found(final, outcome.plan.data)
        or noised_figures.never_found(outcome),
        "exact": bool(exact),
        "on_training_patients": bool(final.get(ON_TRAINING_PATIENTS)),
        "over": f" over {patients:,.0f} patients" if patients else "",
        "compared_head": [
            "Model",
            "Epsilon",
            *(plots.words(name, outcome.plan.data) for name in names),
            "Time",
        ],
        "compared": _compared(outcome, final, baselines, _largest(certificate))
        if exact or baselines
        else (),
        "hospitals": plots.hospitals(outcome, final, baselines),
        "hospitals_measured": bool(final or baselines),
    }


def _key_figures(
    outcome: Outcome, certificate: Certificate, exact: Figures, baselines: Sequence[Baseline]
) -> list[tuple[str, str, str]]:
    rounds = outcome.rounds
    entries = _measured(outcome, exact, baselines)
    stated = [own for own in certificate["hospitals"] if own["epsilon"] is not None]
    if stated:
        deltas = ", ".join(sorted({epsilons.delta_text(own["delta"]) for own in stated}))
        more = f"largest of {len(stated)} hospitals, per patient, delta {deltas}"
        if outcome.plan.shared_noise is not None:
            worst = max(own["epsilon_alone"] for own in stated)
            more += f"; {epsilons.at_least(worst)} if all other hospitals collude, since noise is shared"
        entries.append(("Epsilon spent", epsilons.at_least(_largest(certificate)), more))
    patients = sum(hospital.patients for hospital in outcome.plan.hospitals)
    hospitals = f"{len(stated)} of {len(outcome.plan.hospitals)}"
    entries.append(("Hospitals", hospitals, f"{patients:,} declared training patients"))
    seconds = sum(record.seconds for record in rounds)
    done = f"{len(rounds)} of {outcome.plan.rounds}"
    entries.append(("Rounds", done, f"{seconds:.0f} s in all, approval not counted"))
    return entries


def _measured(
    outcome: Outcome, exact: Figures, baselines: Sequence[Baseline]
) -> list[tuple[str, str, str]]:
    """The main figures as the researcher sees them, each with what to hold it against."""
    data = outcome.plan.data
    measured = outcome.last_measured
    entries = []
    for name in plots.shown_metrics(data)[:2]:
        shown = noised_figures.noised(measured, name, data) if measured else "–"
        parts = [
            f"noised, as the researcher sees it, round {measured.round}"
            if measured
            else "not evaluated"
        ]
        chance = noised_figures.chance_level(name, data)
        parts += [] if chance is None else [f"chance {chance:.3f}"]
        parts += [f"{b.name} {noised_figures.exactly(b.metrics, name, data)}" for b in baselines]
        if exact:
            parts.append(f"exact {noised_figures.exactly(exact, name, data)} (demo only)")
        entries.append((plots.words(name, data), shown, "; ".join(parts)))
    return entries


def _compared(
    outcome: Outcome, exact: Figures, baselines: Sequence[Baseline], spent: float | None
) -> list[list[str]]:
    data, names = outcome.plan.data, plots.tabulated_metrics(outcome.plan.data)
    rows = [
        [
            one.name,
            _cost(one),
            *(noised_figures.exactly(one.metrics, name, data) for name in names),
            f"{one.seconds:.0f} s",
        ]
        for one in baselines
    ]
    seconds = sum(record.seconds for record in outcome.rounds)
    last = outcome.last_measured
    if last:
        seen = [noised_figures.noised(last, name, data) for name in names]
        rows.append(
            ["Federated, as the researcher sees it (noised)", epsilons.at_least(spent), *seen, "–"]
        )
    figures = [noised_figures.exactly(exact, name, data) for name in names]
    ours = ["Federated (this study)", epsilons.at_least(spent)]
    rows.append([*ours, *figures, f"{seconds:.0f} s"])
    return rows


def _cost(baseline: Baseline) -> str:
    """What a baseline spent of a patient, in a cell."""
    if baseline.epsilon:
        return epsilons.at_least(baseline.epsilon)
    return "as federated" if baseline.private else "none"


def _recalls(outcome: Outcome, exact: Figures, baselines: Sequence[Baseline]) -> list[list[str]]:
    """The recall of each class, a row each: noised, and in a demo exactly and of the baselines."""
    data, columns = outcome.plan.data, _recalls_of(outcome, exact, baselines)
    return [
        [plots.class_words(name), *(shown(f"recall_{name}") for shown in columns.values())]
        for name in (data.classes if columns and data.task == "classification" else ())
    ]


def _recalls_of(
    outcome: Outcome, exact: Figures, baselines: Sequence[Baseline]
) -> dict[str, Callable[[str], str]]:
    """Whose recalls are known, and how each shows one."""
    data = outcome.plan.data
    last = outcome.last_measured
    of: dict[str, Callable[[str], str]] = {}
    if last is not None:
        of["Federated, as the researcher sees it (noised)"] = partial(
            noised_figures.noised, last, data=data
        )
    if exact:
        of["Federated, exactly"] = partial(noised_figures.exactly, exact, data=data)
    return of | {
        one.name: partial(noised_figures.exactly, one.metrics, data=data) for one in baselines
    }


def _second_epsilon(own: Certificate) -> str:
    epsilon = epsilons.at_least(own.get("epsilon_second"))
    return (
        f"{epsilon} ({own['second_accountant'].upper()})" if "second_accountant" in own else epsilon
    )


def _costs(
    outcome: Outcome, certificate: Certificate, budgets: Mapping[str, float]
) -> dict[str, object]:
    """What it cost the patients of each hospital."""
    costs = []
    for own in certificate["hospitals"]:
        groups = own.get("epsilon_pld_by_group", {})
        costs.append(
            [
                own["name"],
                f"{own['declared_patients']:,}",
                f"{len(own['rounds_trained'])} of {outcome.plan.rounds}",
                epsilons.at_least(own["epsilon"]),
                epsilons.at_least(own["epsilon_alone"]),
                epsilons.at_least(groups.get("training")),
                epsilons.at_least(groups.get("held-out")),
                _second_epsilon(own),
                epsilons.delta_text(own["delta"]) if "delta" in own else "–",
                f"{budgets[own['name']]:g}" if own["name"] in budgets else "–",
            ]
        )
    return {"costs": costs, "epsilon": plots.epsilon(outcome, budgets)}


def _evidence(outcome: Outcome, certificate: Certificate) -> dict[str, object]:
    """What can be checked: hashes, keys, rounds and where each audit log stood."""
    hospitals, aggregators = certificate["hospitals"], certificate["aggregators"]
    return {
        "wrong": verification.check(certificate),
        "hashes": [
            ("Plan", certificate["plan_hash"]),
            ("Code that ran", certificate["code_sha256"]),
            ("Model's weights", certificate["model"]["weights_sha256"]),
            ("Model's file", certificate["model"]["file_sha256"]),
        ],
        "keys": [(party["name"], party["verify_key"]) for party in [*hospitals, *aggregators]],
        "rounds": [_round(record) for record in outcome.rounds],
        "anchors": [(own["name"], own["log_sha256"]) for own in hospitals if own["log_sha256"]],
    }


def _round(record: RoundRecord) -> tuple[str, ...]:
    who = ", ".join(sorted(record.trained))
    carried = f"{record.upload_bytes:,}"
    return str(record.round), who, str(record.absent), f"{record.seconds:.1f}", carried


def _largest(certificate: Certificate) -> float | None:
    """The epsilon of the hospital whose patients paid most."""
    stated = [own["epsilon"] for own in certificate["hospitals"] if own["epsilon"] is not None]
    return max(stated, default=None)
