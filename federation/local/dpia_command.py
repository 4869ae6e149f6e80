"""`consilium dpia`: a data protection impact assessment that fills in what a federation file says.

    federation.toml ─▶ one hospital's worksheet (Markdown): what is known stands there, the rest is a blank to fill

The order is that of Article 35 (7) of the GDPR: what is done, whether it is needed, the risks, what is done
about them. It is a worksheet, not an assessment: nobody but the institution can judge.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from datasites.hospital.hospital_file import HospitalEntry
from federation.local import federation_file
from federation.local.federation_file import FederationConfig
from syft_code.errors import InvalidInput
from syft_code.runtime.cli_input import quoted_path, require_output_file
from syft_code.runtime.cli_output import quoted, sentence

BLANK = "\\_\\_\\_\\_\\_\\_\\_\\_"
"""What a person fills in."""
KINDS = {
    "ham10000": "photographs of skin lesions with age, sex and place on the body",
    "brats": "MRI of gliomas in four sequences, with outlines",
    "lgg": "MRI of lower-grade gliomas in three sequences, with outlines",
    "heart": "a table of heart patients: age, sex, symptoms, measurements, diagnosis",
    "symptoms": "a table of symptoms and a diagnosis",
    "vitals": "hourly vital signs and an outcome",
    "table": "a table of patients, described in schema.toml",
    "images": "pictures with a label each, described in schema.toml",
}


def dpia(
    hospital: Annotated[str, typer.Option(help="Whose worksheet.")],
    out: Annotated[Path, typer.Option(help="The Markdown file to write; it must be new.")],
    federation: Annotated[
        Path | None, typer.Option(help="A federation's TOML file; else the one that `up` makes.")
    ] = None,
) -> None:
    """Write a hospital's data protection impact assessment, filled in as far as a file says."""
    config = federation_file.load(federation) if federation else federation_file.default()
    names = [entry.name for entry in config.hospital]
    entry = next((entry for entry in config.hospital if entry.name == hospital), None)
    if entry is None:
        raise InvalidInput(
            f"--hospital must be one of {', '.join(names)}, got {quoted(hospital)}: take a name of the "
            "federation."
        )
    require_output_file(out, "--out")
    text = worksheet(config, entry)
    try:
        with out.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        raise InvalidInput(
            "--out must be a new file, so that nothing that was filled in is lost, got "
            f"{quoted_path(out)}: name another."
        ) from None
    sentence(f"{quoted_path(out)}: {text.count(BLANK)} blanks are left to fill in.")


def worksheet(config: FederationConfig, entry: HospitalEntry) -> str:
    """The whole worksheet as Markdown."""
    parts = (_head(entry), _processing(config, entry), _need(), _risks(config, entry), _end())
    return "\n".join(line for part in parts for line in part) + "\n"


def _head(entry: HospitalEntry) -> Iterator[str]:
    yield f"# Data protection impact assessment: {entry.name} in a Consilium federation\n"
    yield f"- Controller: {BLANK}"
    yield f"- Data protection officer, asked on: {BLANK}"
    yield f"- Ethics approval: {BLANK}"
    yield f"- Written by, on: {BLANK}\n"


def _processing(config: FederationConfig, entry: HospitalEntry) -> Iterator[str]:
    others = ", ".join(one.name for one in config.hospital if one is not entry)
    held_out = f"{entry.held_out:.0%} of patients, held out for evaluations"
    patients = f"{entry.patients:,} declared" if entry.patients else BLANK
    yield "## 1. What is done (Article 35 (7) a)\n"
    yield f"- **Purpose**: {BLANK} (each request states its own, signed; its card opens with it)"
    yield f"- **Data**: {KINDS[entry.kind]}; training patients: {patients}; {held_out}"
    yield f"- **From when, of whom, under which consent or law**: {BLANK}"
    yield f"- **Identifiers**: replaced by keyed hashes inside the vault; which the source has: {BLANK}"
    yield f"- **Other hospitals**: {others}"
    aggregators = ", ".join(one.name for one in config.aggregator)
    yield f"- **Aggregators, who add random-looking shares up and can read none**: {aggregators}; operators: {BLANK}"
    yield (
        "- **What leaves the hospital**: for each approved round one model update, clipped and noised, and where a plan "
        "has evaluations noised tallies over held-out patients (how many of each class were told right); both as sealed "
        f"shares, which the researcher opens only as a sum over at least {config.min_hospitals} hospitals. No picture, "
        "row or identifier leaves. Each request's card lists what that plan would release"
    )
    told = (
        "researchers read why a request is refused"
        if entry.tell_researchers
        else "nobody reads why"
    )
    yield f"- **What researchers see beside that**: a mock, the asset's shape, the policy, declared numbers; {told}"
    yield f"- **How long the copies in the vault are kept, and who deletes that folder**: {BLANK}; the ledger and log stay"
    yield f"- **Recipients of the model**: {BLANK}\n"


def _need() -> Iterator[str]:
    yield "## 2. Whether it is needed and in proportion (Article 35 (7) b)\n"
    yield f"- Why one hospital's patients are not enough: {BLANK}"
    yield f"- Why not with less data, or with data that are public: {BLANK}"
    yield f"- How patients are told, and object: {BLANK}; a patient leaves by `consilium patients remove`"
    yield f"- Legal basis: {BLANK}\n"


def _risks(config: FederationConfig, entry: HospitalEntry) -> Iterator[str]:
    yield "## 3. Risks, and what is done about them (Article 35 (7) c, d)\n"
    yield "Limits are those of the federation file, from which the first policy is made. The one in force is shown by"
    yield f"`consilium policy show --hospital {entry.name}`; compared on: {BLANK}\n"
    yield "| Risk | What is done here | What is left | Judged |"
    yield "|---|---|---|---|"
    for risk, done, left in _risk_rows(config, entry):
        yield f"| {risk} | {done} | {left} | {BLANK} |"
    yield ""
    few = f"A study needs at least {entry.min_patients} training patients here"
    yield f"{few}. A round is ended after {entry.round_limit_s / 3600:g} hours.\n"


def _risk_rows(config: FederationConfig, entry: HospitalEntry) -> tuple[tuple[str, str, str], ...]:
    """A risk, what is done about it here, what is left."""
    alone = entry.epsilon_alone or entry.epsilon
    return (
        (
            "Somebody tells from a model whether a patient was in it",
            f"differential privacy: all studies together at most epsilon {entry.epsilon:g} at delta {entry.delta:g} "
            f"for each patient, for ever, and a round is paid for before data is touched; noise multiplier at least "
            f"{entry.min_noise_multiplier:g}",
            f"a probability that a model rests on a patient may change by a factor of up to e^{entry.epsilon:g}; if "
            f"all other hospitals collude, epsilon {alone:g}",
        ),
        (
            "One hospital's update is seen by itself",
            f"secret shares among {len(config.aggregator)} aggregators; sums over at least {config.min_hospitals} hospitals",
            "all aggregators that a plan needs to open a sum, together",
        ),
        (
            "A study runs that nobody approved",
            "signatures of one or, by policy, two people over exact bytes, checked again at each round",
            "an owner who signs without reading",
        ),
        (
            "Code of others runs inside",
            "none does: a plan is data; training is contained (no network, no files, no other process)",
            f"see `consilium doctor` on this machine, run on: {BLANK}",
        ),
        (
            "The front desk is taken over",
            "it holds no patient; keys, ledger and approvals are in the vault",
            "a thief with root on the hospital's machine",
        ),
        (
            "A wrong privacy unit",
            "a patient is what the data name; rows that are alike under new names are refused",
            f"what one patient is in these data: {BLANK}",
        ),
        (
            "The model harms a group",
            "evaluations are of all held-out patients together; no study measures groups of patients yet",
            f"who looks at groups, and how: {BLANK}",
        ),
    )


def _end() -> Iterator[str]:
    yield "## 4. Decision\n"
    yield f"- Measures beyond these: {BLANK}"
    yield f"- Risk that is left is acceptable, because: {BLANK}"
    yield f"- Looked at again on: {BLANK}"
    yield f"- Signed: {BLANK}"
