"""Before a vault goes on: its tables say what its audit log says, and the log was not shortened.

`AuditLog.check` has verified the log as a chain first. Somebody who changes a table behind the
vault's back must change the log too, and can't without the hospital's key.

Does not protect: the whole folder put back as it was earlier, head and all. Aggregators and
    certificates hold later anchors; a newer export than the log itself shows it too.
"""

from typing import TypeVar

from datasites.protocol import owner_actions
from datasites.vault.db.actions import ActionStore
from datasites.vault.db.vault_database import VaultDatabase
from syft_code import canonical
from syft_code.errors import Unavailable, require
from syft_code.evidence.audit_chain import Entry

T = TypeVar("T")
RESERVED = "round reserved"
RELEASED = "round released"
COHORT_STORED = "cohort kept"
REFUSALS: dict[str, type[owner_actions.DenyPlan] | type[owner_actions.RevokePlan]] = {
    "action: DenyPlan": owner_actions.DenyPlan,
    "action: RevokePlan": owner_actions.RevokePlan,
}


def check(db: VaultDatabase) -> None:
    """Raise `Unavailable` if anything was added, changed or taken out since it was logged."""
    entries = db.log.entries()
    same = {
        "its last entry": db.log.reaches_its_head(),
        "the rounds that were paid for": db.ledger.rows() == _facts(entries, RESERVED),
        "the actions of its owners": _actions_stored(db.actions) == _actions_logged(entries),
        "the plans that were refused": db.approvals.refused_plans() == _refused(entries),
        "the patients who left": db.assets.removed_patients() == _removed_patients(entries),
        "what its plans keep between rounds": db.approvals.client_states()
        == _client_states(entries),
        "the files of its assets": db.assets.cohorts_by_version() == _cohort_files(entries),
        "the patients of its assets": all(
            db.ledger.registered_sha256(asset) == digest
            for asset, digest in _patients(entries).items()
        ),
        "the fingerprints of its patients": db.fingerprints.hashes() == _fingerprints(entries),
    }
    wrong = ", ".join(what for what, holds in same.items() if not holds)
    require(
        not wrong,
        f"The vault must hold what its audit log records, and does not in: {wrong}. Something was "
        "changed or taken out. Put the vault's folder back from its newest copy, and know that an "
        "older one forgets what was spent since.",
        error=Unavailable,
    )


def _facts(entries: list[Entry], kind: str) -> list[dict[str, str]]:
    return [dict(entry.facts) for entry in entries if entry.kind == kind]


def _actions_stored(actions: ActionStore) -> list[tuple[str, str, str, str, bool]]:
    return [
        (stored.name, stored.signer, stored.signed.message, stored.signed.signature, in_force)
        for stored, in_force in actions.every()
    ]


def _actions_logged(entries: list[Entry]) -> list[tuple[str, str, str, str, bool]]:
    return [
        (
            entry.kind.removeprefix("action: "),
            entry.facts["signer"],
            entry.facts["message"],
            entry.facts["signature"],
            entry.facts["state"] == "in force",
        )
        for entry in entries
        if entry.kind.startswith("action: ")
    ]


def _refused(entries: list[Entry]) -> set[str]:
    """Refusals less those that enough approvals have lifted, in the order of the log."""
    refused: set[str] = set()
    for entry in entries:
        if entry.kind in REFUSALS:
            refused.add(_read(REFUSALS[entry.kind], entry).plan_hash)
        elif entry.kind == "refusal lifted":
            refused.discard(entry.facts["plan_hash"])
    return refused


def _client_states(entries: list[Entry]) -> dict[str, str]:
    """The last release's word on each plan, unless the plan was refused after it."""
    states: dict[str, str] = {}
    for entry in entries:
        if entry.kind == RELEASED and "client_state" in entry.facts:
            states[entry.facts["plan_hash"]] = entry.facts["client_state"]
        elif entry.kind in REFUSALS:
            states.pop(_read(REFUSALS[entry.kind], entry).plan_hash, None)
    return states


def _removed_patients(entries: list[Entry]) -> set[str]:
    return {
        _read(owner_actions.RemovePatient, entry).token
        for entry in entries
        if entry.kind == "action: RemovePatient"
    }


def _cohort_files(entries: list[Entry]) -> dict[tuple[str, int], str]:
    return {
        (facts["asset"], int(facts["version"])): facts["cohort_sha256"]
        for facts in _facts(entries, COHORT_STORED)
    }


def _patients(entries: list[Entry]) -> dict[str, str]:
    """The last word on each asset's patients: a publication's."""
    return {
        facts["asset"]: facts["patients_sha256"]
        for facts in _facts(entries, COHORT_STORED)
        if "patients_sha256" in facts
    }


def _fingerprints(entries: list[Entry]) -> dict[tuple[str, int], str]:
    return {
        (facts["asset"], int(facts["version"])): facts["fingerprints_sha256"]
        for facts in _facts(entries, COHORT_STORED)
        if "fingerprints_sha256" in facts
    }


def _read(kind: type[T], entry: Entry) -> T:
    action: T = canonical.parse(kind, entry.facts["message"].encode(), what="owner's action")
    return action
