"""The certificate that travels with a model: who took part, what it cost, who saw what.

    outcome ─ certificate ─▶ dict ─ write ─▶ signed JSON     JSON ─ read, check ─▶ what is wrong

Whoever gets a model reads the certificate with any text editor, and `check`
(`verification`) works out anew whatever follows from the plan.

Each contribution stands in it with what its hospital signed (`statements`), and the researcher
signs the whole (`signed_file`). What that shows, and what not: docs/protocol.md, section 12.
"""

import importlib.metadata
import math
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

from nacl.signing import SigningKey

from federation.certificate import (
    disclosure_statements,
    model_card,
    privacy_cost,
    second_accountant,
    signed_file,
    statements,
)
from federation.certificate.model_card import CARD_FILE, DEMO_ONLY
from federation.certificate.statements import WEIGHTS_IN
from federation.certificate.verification import FORMAT, Certificate, facts_of_plan
from federation.evaluation import exact_metrics, model_file
from federation.evaluation.baselines import Baseline
from federation.researcher.outcome import Outcome, RoundRecord, model_sha256
from syft_code import canonical
from syft_code.errors import InvalidInput, require
from syft_code.metrics import noise_errors
from syft_code.plans import messages
from syft_code.plans.messages import PURPOSES, Purpose, ShareHeader
from syft_code.recipes.recipe import parameter_count
from syft_code.runtime.durable_files import write_durably

RELATION = "add or remove one patient"
OWNER_ONLY = (
    "Exact figures of real data, which no epsilon protects: for the owner of the data alone. Only "
    "the user who wrote this file may read it; don't pass it on."
)
STAND_IN = (
    "STAND-IN: this model was trained on synthetic data. No patient is in them, and no "
    "figure here says anything about medicine."
)
NOISED = (
    "Every count behind these figures carries noise of the size below. How far it throws each "
    "figure stands in noise_error_by_round, a root mean square that the noised sums tell: read a "
    "figure as itself ± that. A share is cut to 0..1, which lifts those near 0, such as the recall "
    "of rare classes."
)
PUBLISHED = "The owners published these assets as data of patients, not as a stand-in."
UNITS = {
    "ham10000": "One lesion (lesion_id) counts as one patient: it is the finest grouping that "
    "HAM10000 gives, which does not say whose lesion it is. A person with several lesions is "
    "protected for each of them, not for all together.",
    "images": "One patient counts with all of the pictures that the owner's mapping files under that "
    "patient.",
    "lgg": "One patient counts with all of the slices and scans that the data set files under that "
    "patient.",
    "brats": "One patient counts with all of the slices and scans that the data set files under "
    "that patient.",
    "table": "One patient counts with all of the rows that the table files under that patient.",
    "series": "One patient counts with all of the hours that the table files under that patient.",
}


def certificate(
    outcome: Outcome,
    *,
    exact: Mapping[str, float] | None = None,
    baselines: Sequence[Baseline] = (),
) -> Certificate:
    """Write a study down; `exact` and `baselines` exist only where one owner has all the data.

    Raises:
        InvalidInput: if a contribution lacks the statement that its hospital signed.
    """
    plan = outcome.plan
    data = model_file.encode(plan, outcome.weights)
    return {
        "format": FORMAT,
        "product": f"Consilium {importlib.metadata.version('consilium')}",
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        **facts_of_plan(plan),
        "stand_in_sentence": STAND_IN if plan.data.stand_in else PUBLISHED,
        "stopped_early": outcome.stopped or None,
        "model": {
            "parameters": parameter_count(plan.recipe, plan.data),
            "weights_sha256": model_sha256(outcome.weights),
            "file_sha256": canonical.sha256(data),
            "file_bytes": len(data),
        },
        "privacy": {
            "unit": plan.data.patient_unit,
            "unit_sentence": UNITS[plan.data.kind],
            "neighbouring_relation": RELATION,
            "accountant": "dp_accounting, privacy loss distributions (PLD); rounds up",
            "second_accountants": second_accountant.NAMES,
            "second_accountant_tolerances": {
                "prv": second_accountant.PRV_TOLERANCE,
                "rdp": second_accountant.RDP_TOLERANCE,
            },
            "epsilon_and_epsilon_alone": disclosure_statements.two_epsilons(plan),
            "groups": "Training and held-out patients are disjoint groups that each patient's own "
            "number decides, so the larger epsilon of the two counts for everybody.",
        },
        "hospitals": [_hospital(outcome, entry.name) for entry in plan.hospitals],
        "utility": _utility(outcome, exact, baselines),
        "what_each_party_saw": disclosure_statements.what_each_party_saw(outcome),
        "not_promised": disclosure_statements.not_promised(plan),
        "rounds": [_round(record) for record in outcome.rounds],
        "plan": canonical.loads(plan.encode()),
    }


def write(path: Path, content: Certificate, *, key: SigningKey) -> str:
    """Researcher: countersign a certificate, write its file, and return the file's SHA-256.

    Its model card is written beside it (`model_card`), for everybody to read.

    Guarantee: one with exact figures of real data only its writer may read (mode 0600); none of them
        stands in the card.
    """
    data = signed_file.encode(content, key)
    card = model_card.text(content)
    if OWNER_ONLY in content["utility"].get(DEMO_ONLY, {}).values():
        write_durably(path, data)
    else:
        path.write_bytes(data)
    path.with_name(CARD_FILE).write_text(card, encoding="utf-8")
    return canonical.sha256(data)


def read(path: Path) -> Certificate:
    """Read a certificate's file; raise `InvalidInput` unless its researcher signed each byte."""
    try:
        return signed_file.decode(path.read_bytes())
    except OSError as problem:
        raise InvalidInput(f"{path} must be a certificate, and can't be read: {problem}.") from None


def _utility(
    outcome: Outcome, exact: Mapping[str, float] | None, baselines: Sequence[Baseline]
) -> Certificate:
    plan = outcome.plan
    content: Certificate = {
        "main_metric": exact_metrics.main_name(plan.data),
        "noised_by_round": {str(r.round): _rounded(r.metrics) for r in outcome.rounds if r.metrics},
    }
    if plan.evaluation:
        content["noised_note"] = NOISED
        content["noise_error_by_round"] = {
            str(r.round): _rounded(r.errors) for r in outcome.rounds if r.errors
        }
        content["noise_std_per_count"] = {
            name: noise_errors.count_noise_std(
                plan.data, noise_multiplier=plan.evaluation.noise_multiplier, hospitals=count
            )
            for name, count in (
                ("of_one_hospital", 1),
                ("of_the_sum_over_all_hospitals", len(plan.hospitals)),
            )
        }
    if exact is not None or baselines:
        content[DEMO_ONLY] = {
            "who_may_read_this": "anybody: stand-ins" if plan.data.stand_in else OWNER_ONLY,
            "exact_figures_of_this_model": _rounded(exact or {}),
            "baselines": [_baseline(one) for one in baselines],
        }
    return content


def _baseline(baseline: Baseline) -> Certificate:
    return {
        "name": baseline.name,
        "private": baseline.private,
        "training_epsilon": baseline.epsilon,
        "metrics": _rounded(baseline.metrics),
        "per_hospital": _rounded(baseline.per_hospital),
        "seconds": round(baseline.seconds, 2),
    }


def _hospital(outcome: Outcome, name: str) -> Certificate:
    """What one hospital gave and what it cost, with what it signed."""
    facts = privacy_cost.privacy_cost(outcome, name)
    signed = [
        record.headers[purpose][name]
        for record in outcome.rounds
        for purpose in PURPOSES
        if name in record.headers.get(purpose, {})
    ]
    own = facts | {"statements": [{"message": s.message, "signature": s.signature} for s in signed]}
    headers = statements.read(own, outcome.plan)
    return own | {"log_sha256": headers[-1].log_sha256 if headers else None}


def _round(record: RoundRecord) -> Certificate:
    return {
        "round": record.round,
        "hospitals": sorted(record.trained),
        "groups": [list(names) for names in record.groups],
        "absent": record.absent,
        "evaluated": bool(record.metrics),
        "evaluators": sorted(record.evaluated),
        **{member: _weights_sha256(record, purpose) for purpose, member in WEIGHTS_IN.items()},
        "seconds": round(record.seconds, 2),
        "upload_bytes": record.upload_bytes,
    }


def _weights_sha256(record: RoundRecord, purpose: Purpose) -> str | None:
    """The hash of what a round's hospitals worked on, by their own word; None if there are none."""
    headers = record.headers.get(purpose, {})
    gave = record.trained if purpose == "train" else record.evaluated
    require(
        headers.keys() == set(gave),
        f"Each contribution to round {record.round} ({purpose}) must have the statement that its "
        "hospital signed, and one is missing: run train() again when all aggregators answer.",
        error=InvalidInput,
    )
    signed = [messages.claimed(ShareHeader, one) for one in headers.values()]
    return signed[0].weights_sha256 if signed else None


def _rounded(exact_metrics: Mapping[str, float]) -> dict[str, float | None]:
    """Six digits; what is no number is null, since JSON has no NaN."""
    return {k: round(v, 6) if math.isfinite(v) else None for k, v in exact_metrics.items()}
