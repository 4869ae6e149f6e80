"""The certificate that travels with a model: who took part, what it cost, who saw what.

    outcome ─ certificate ─▶ dict ─ write ─▶ JSON          JSON ─ read, check ─▶ what is wrong

Whoever gets a model reads the certificate with any text editor, and `check`
(`verification`) works out anew whatever follows from the plan.

Each hospital that contributed stands in it with a log anchor: the hash of its audit log's last
entry, in a header that it signed. A log that was shortened or rewritten since can't meet it.

Does not protect: a certificate as a whole is not signed. The hospitals' ledgers and signed
logs are the evidence; this is the account that can be held against them.
"""

import importlib.metadata
import json
import math
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

from federation.certificate import disclosure_statements, privacy_cost, second_accountant
from federation.certificate.verification import (
    FORMAT,
    SILENT,
    Certificate,
    facts_of_plan,
)
from federation.evaluation import exact_metrics, model_file
from federation.evaluation.baselines import Baseline
from federation.researcher.outcome import Outcome, RoundRecord, model_sha256
from syft_code import canonical
from syft_code.errors import InvalidInput, require
from syft_code.metrics import noise_errors
from syft_code.plans import messages
from syft_code.plans.messages import ShareHeader
from syft_code.privacy import accounting
from syft_code.recipes.recipe import parameter_count
from syft_code.runtime.durable_files import write_durably

SMALLEST_DELTA = 1e-6
RELATION = "add or remove one patient"
DEMO_ONLY = "possible only in a demo that owns all the data"
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
    """Write a study down; `exact` and `baselines` exist only where one owner has all the data."""
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


def write(path: Path, content: Certificate) -> str:
    """Write a certificate as readable JSON, and return the file's SHA-256.

    Guarantee: one with exact figures of real data only its writer may read (mode 0600).
    """
    text = json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False)
    data = f"{text}\n".encode()
    if OWNER_ONLY in content["utility"].get(DEMO_ONLY, {}).values():
        write_durably(path, data)
    else:
        path.write_bytes(data)
    return canonical.sha256(data)


def read(path: Path) -> Certificate:
    """Read a certificate's file; raise `InvalidInput` if it is no JSON object."""
    try:
        content = canonical.loads(path.read_bytes())
    except (OSError, ValueError) as problem:
        raise InvalidInput(f"{path} must be a certificate, and can't be read: {problem}.") from None
    require(isinstance(content, dict), f"{path} must be a JSON object.", error=InvalidInput)
    found: Certificate = content
    return found


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
    """What one hospital gave and what it cost, with its audit log's last hash when it gave it."""
    headers = [record.anchors[name] for record in outcome.rounds if name in record.anchors]
    facts = _spent(outcome, name)
    if not headers:
        return facts
    header = messages.verify(ShareHeader, headers[-1], outcome.plan.hospital(name).verify_key)
    anchor = {
        "sha256": header.log_sha256,
        "header": {"message": headers[-1].message, "signature": headers[-1].signature},
    }
    return facts | {"log_anchor": anchor}


def _spent(outcome: Outcome, name: str) -> Certificate:
    """What a hospital's patients paid, by its ledger or, where that is silent, by its events."""
    facts, part = privacy_cost.privacy_cost(outcome, name), privacy_cost.part_of(outcome, name)
    took_part = {*part.trained, *part.evaluated}
    stated = [record.round for record in outcome.rounds if name in record.epsilon]
    if not took_part or stated[-1:] >= [max(took_part)]:
        return facts
    deltas = [delta for record in outcome.rounds for delta in record.delta.values()]
    delta = min(deltas, default=SMALLEST_DELTA)
    anew = privacy_cost.recomputed(outcome.plan, part, delta=delta)
    events = accounting.plan_events(outcome.plan)
    return facts | {
        "epsilon": anew["epsilon_pld"],
        "delta": delta,
        "epsilon_stated_by_ledger": None,
        **anew,
        "epsilon_of_the_whole_plan": accounting.epsilon(events, delta=delta),
        "note": SILENT,
    }


def _round(record: RoundRecord) -> Certificate:
    return {
        "round": record.round,
        "hospitals": sorted(record.trained),
        "groups": [list(names) for names in record.groups],
        "absent": record.absent,
        "evaluated": bool(record.metrics),
        "evaluators": sorted(record.evaluated),
        "seconds": round(record.seconds, 2),
        "upload_bytes": record.upload_bytes,
    }


def _rounded(exact_metrics: Mapping[str, float]) -> dict[str, float | None]:
    """Six digits; what is no number is null, since JSON has no NaN."""
    return {k: round(v, 6) if math.isfinite(v) else None for k, v in exact_metrics.items()}
