"""The report of a study: one HTML file that a hospital's data officer can open and print.

It says what the study came to, what it cost whose patients, who saw what, and what nobody
promises. Sentences and epsilons are those of the certificate. Nothing in the file is
fetched from elsewhere.
"""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from federation.certificate.verification import Certificate
from federation.evaluation.baselines import Baseline
from federation.evaluation.exact_metrics import NOISE_ERROR, ON_TRAINING_PATIENTS, PATIENTS
from federation.reporting import evidence_section, plots, sample_plots
from federation.reporting.html_elements import (
    Html,
    at_least,
    bullets,
    cards,
    delta_text,
    element,
    number,
    page,
    picture,
    section,
    table,
)
from federation.researcher.outcome import Outcome
from syft_code.cohort import Cohort
from syft_code.errors import InvalidInput, require

Figures = Mapping[str, float]


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
    final = exact[-1] if exact else {}
    parts = [
        _opening(outcome, certificate),
        _key_figures(outcome, certificate, final),
        _utility(outcome, certificate, exact, baselines),
        _samples(outcome, samples),
        _privacy(outcome, certificate, budgets or {}),
        _hospitals(outcome, final, baselines),
        _witnesses(certificate),
        section("What is not promised", bullets(certificate["not_promised"])),
        evidence_section.section_of(outcome, certificate),
    ]
    path.write_text(page(f"Study {outcome.plan.study}: report", *parts), encoding="utf-8")


def _opening(outcome: Outcome, certificate: Certificate) -> Html:
    plan = outcome.plan
    hospitals = len(plan.hospitals)
    parts = [
        element("div", "Consilium · study report", of="brand"),
        element("h1", plan.study),
        element(
            "p",
            f"One {plan.data.task} model for {_data_name(outcome)}, trained by {hospitals} hospitals "
            "that showed each other no patient. ",
            f"Written {certificate['created'][:10]} by {certificate['product']}. Plan ",
            element("code", plan.hash[:16]),
            of="soft",
        ),
    ]
    if plan.data.stand_in:
        sentence = certificate["stand_in_sentence"].removeprefix("STAND-IN: ")
        text = sentence[:1].upper() + sentence[1:]
        parts.append(element("div", element("strong", "STAND-IN DATA"), text, of="banner"))
    if outcome.stopped:
        stopped = element("strong", "The study stopped early. ")
        parts.append(element("div", stopped, outcome.stopped, of="note wrong"))
    return element("header", *parts)


def _key_figures(outcome: Outcome, certificate: Certificate, exact: Figures) -> Html:
    data, rounds = outcome.plan.data, outcome.rounds
    entries = []
    for name in plots.shown_metrics(data)[:2]:
        measured = next((r for r in reversed(rounds) if r.metrics), None)
        shown = plots.value(measured.metrics, name, data) if measured else math.nan
        noise = f" ± {exact[NOISE_ERROR + name]:.3f}" if NOISE_ERROR + name in exact else ""
        more = f"noised{noise}, round {measured.round}" if measured else "not evaluated"
        if exact:
            more += f"; exact {number(plots.value(exact, name, data))} (demo only)"
        entries.append((plots.words(name, data), number(shown), more))
    stated = [own for own in certificate["hospitals"] if own["epsilon"] is not None]
    if stated:
        deltas = ", ".join(sorted({delta_text(own["delta"]) for own in stated}))
        more = f"largest of {len(stated)} hospitals, per patient, delta {deltas}"
        entries.append(("Epsilon spent", at_least(_largest(certificate)), more))
    patients = sum(hospital.patients for hospital in outcome.plan.hospitals)
    hospitals = f"{len(stated)} of {len(outcome.plan.hospitals)}"
    entries.append(("Hospitals", hospitals, f"{patients:,} declared training patients"))
    seconds = sum(record.seconds for record in rounds)
    done = f"{len(rounds)} of {outcome.plan.rounds}"
    entries.append(("Rounds", done, f"{seconds:.0f} s in all, approval not counted"))
    return cards(entries)


def _utility(
    outcome: Outcome,
    certificate: Certificate,
    exact: Sequence[Figures],
    baselines: Sequence[Baseline],
) -> Html:
    caption = (
        "Marks: what a real study sees, sums over held-out patients with noise that the epsilon "
        "below pays for. "
    )
    if exact:
        caption += (
            "Bars: how far noise throws a figure (root mean square); it lifts those near 0, since "
            "none is below. The line and the baselines are exact and possible "
            "only in a demo that owns all the data."
        )
    else:
        caption += "How far noise moves them depends on how many patients are held out, which no "
        caption += "hospital declares."
    parts: list[str] = [picture(plots.utility(outcome, exact, baselines), caption)]
    if exact and exact[-1].get(ON_TRAINING_PATIENTS):
        parts.append(
            element(
                "div",
                "No hospital holds patients out: exact figures are over training patients, and "
                "flatter every model.",
                of="note",
            )
        )
    if exact or baselines:
        parts.append(
            _compared(outcome, exact[-1] if exact else {}, baselines, _largest(certificate))
        )
    return section("How good the model is", *parts)


def _compared(
    outcome: Outcome, exact: Figures, baselines: Sequence[Baseline], spent: float | None
) -> Html:
    data, names = outcome.plan.data, plots.tabulated_metrics(outcome.plan.data)
    rows = [
        [
            one.name,
            at_least(one.epsilon) if one.epsilon else "as federated" if one.private else "none",
            *(number(plots.value(one.metrics, name, data)) for name in names),
            f"{one.seconds:.0f} s",
        ]
        for one in baselines
    ]
    seconds = sum(record.seconds for record in outcome.rounds)
    figures = [number(plots.value(exact, name, data)) for name in names]
    ours = ["Federated (this study)", at_least(spent)]
    rows.append([*ours, *figures, f"{seconds:.0f} s"])
    head = ["Model", "Epsilon", *(plots.words(name, data) for name in names), "Time"]
    patients = exact.get(PATIENTS, baselines[0].metrics.get(PATIENTS) if baselines else None)
    over = f" over {patients:,.0f} patients" if patients else ""
    return element(
        "div",
        element("h3", "Compared, exactly"),
        element(
            "p", f"Exact figures{over}; possible only in a demo that owns all the data.", of="soft"
        ),
        table(head, rows, numbers=1, ours=len(rows) - 1),
    )


def _samples(outcome: Outcome, samples: Cohort | None) -> Html:
    if samples is None or not samples.images.size:  # a table has no pictures
        return element("span")
    stand_in = outcome.plan.data.stand_in
    anybody = "Pictures that anybody may see: drawn as a mock, or public, and of no hospital here."
    what = "Stand-in pictures: synthetic." if stand_in else anybody
    caption = f"{what} They show how the model answers, not how good it is."
    return section("What the model says", picture(sample_plots.samples(outcome, samples), caption))


def _second_epsilon(own: Certificate) -> str:
    epsilon = at_least(own.get("epsilon_second"))
    return (
        f"{epsilon} ({own['second_accountant'].upper()})" if "second_accountant" in own else epsilon
    )


def _privacy(outcome: Outcome, certificate: Certificate, budgets: Mapping[str, float]) -> Html:
    privacy = certificate["privacy"]
    head = ["Hospital", "Patients declared", "Rounds", "Epsilon", "Training", "Held-out"]
    rows = []
    for own in certificate["hospitals"]:
        groups = own.get("epsilon_pld_by_group", {})
        rows.append(
            [
                own["name"],
                f"{own['declared_patients']:,}",
                f"{len(own['rounds_trained'])} of {outcome.plan.rounds}",
                at_least(own["epsilon"]),
                at_least(groups.get("training")),
                at_least(groups.get("held-out")),
                _second_epsilon(own),
                delta_text(own["delta"]) if "delta" in own else "–",
                f"{budgets[own['name']]:g}" if own["name"] in budgets else "–",
            ]
        )
    return section(
        "What it cost the patients",
        element("p", privacy["unit_sentence"]),
        element(
            "p",
            f"Neighbouring relation: {privacy['neighbouring_relation']}. {privacy['groups']} An "
            "epsilon is never less than what the hospital's ledger stated; a second accountant must "
            "agree: PRV is Opacus', RDP is looser and lies at or above it.",
            of="soft",
        ),
        table([*head, "Second accountant", "Delta", "Budget"], rows, numbers=1),
        picture(plots.epsilon(outcome, budgets), "As each hospital's ledger stated it."),
    )


def _hospitals(outcome: Outcome, exact: Figures, baselines: Sequence[Baseline]) -> Html:
    caption = (
        "A hospital's own held-out patients, the model of everybody: balanced over the classes "
        "that the hospital has. Few patients make these figures jump."
        if exact or baselines
        else "Figures of single hospitals do not leave them."
    )
    return section(
        "Hospital by hospital", picture(plots.hospitals(outcome, exact, baselines), caption)
    )


def _witnesses(certificate: Certificate) -> Html:
    rows = [
        [party[:1].upper() + party[1:], element("div", *(element("p", one) for one in sentences))]
        for party, sentences in certificate["what_each_party_saw"].items()
    ]
    return section("What each party saw", table(["Party", "Saw"], rows))


def _data_name(outcome: Outcome) -> str:
    names = {
        "ham10000": "skin lesions (HAM10000)",
        "brats": "brain tumours (BraTS)",
        "table": "a table of patients",
        "series": "patients by the hour",
    }
    return names[outcome.plan.data.kind]


def _largest(certificate: Certificate) -> float | None:
    """The epsilon of the hospital whose patients paid most."""
    stated = [own["epsilon"] for own in certificate["hospitals"] if own["epsilon"] is not None]
    return max(stated, default=None)
