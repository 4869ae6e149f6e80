"""What an owner sees of a code request: who asks, what would run, what it would cost.

    front desk ─ code, status, notes ─┐
    vault ─ plan's state, ledger ─────┼─▶ Evidence ─▶ card (notebook), text (terminal), JSON
    mock run, if one was asked for ───┘

It says what both hold, the front desk, which the researcher sees, and the vault, which
alone lets anything run. Where the two disagree, that comes first.
"""

import json
import time
from dataclasses import dataclass, replace
from typing import Any

from datasites.protocol import vault_api
from datasites.protocol.code_request import CodeRequest
from datasites.review import (
    aggregation_summary,
    disclosures,
    ledger_card,
    mock_result,
    model_summary,
    parties_card,
    plan_card,
    plan_diff,
)
from datasites.review.html_card import Card, Figure, Section, Tone
from datasites.review.ledger_card import LedgerCard, PolicyCard
from datasites.review.mock_result import MockRun
from datasites.review.parties_card import PartiesCard
from syft_code import canonical
from syft_code.plans import traveller
from syft_code.plans.notes import Note
from syft_code.plans.plan import Plan
from syft_code.privacy import epsilons

__all__ = ["Evidence", "LedgerCard", "PartiesCard", "PolicyCard"]

FORMAT = "consilium-evidence-1"
_VERDICTS: dict[str, tuple[Tone, str]] = {
    "approve": ("good", "A standing approval covers it"),
    "ask owner": ("open", "The rules allow it: yours to decide"),
    "deny": ("bad", "The rules forbid it"),
}
_STATES: dict[str, Tone] = {"in force": "good", "denied": "bad", "revoked": "bad"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """One code request, weighed. Shows itself as a card in a notebook; `text` for a terminal.

    Units: epsilons at the asset's delta; `approval_days` is what an approval gives by default.
    Without a `plan` there is a `problem` instead. `mock` is there once `Owner.examine` ran it.
    """

    request: CodeRequest
    hospital: str
    approval_days: float
    plan: Plan | None = None
    problem: str = ""
    ledger: vault_api.LedgerSummary | None = None
    state: vault_api.PlanStatus | None = None
    notes: tuple[Note, ...] = ()
    mock: MockRun | None = None

    @property
    def request_id(self) -> str:
        """The id of the request at the front desk."""
        return self.request.id

    @property
    def status(self) -> str:
        """What PySyft says: pending, approved or rejected."""
        return self.request.status

    @property
    def subject(self) -> str:
        """What a decision is on: the plan that the code names, or the code if it names none."""
        return self.request.subject

    @property
    def code_sha256(self) -> str:
        """The hash of the submitted text."""
        return self.request.code_sha256

    @property
    def code_is_fixed(self) -> bool:
        """Whether the code is, byte for byte, the one function that carries a plan."""
        return self.subject != self.code_sha256

    @property
    def last_approved(self) -> Plan | None:
        """The newest other plan that was approved here."""
        text = self.state.last_approved if self.state else ""
        return Plan.decode(text.encode()) if text else None

    @property
    def disclosures(self) -> tuple[disclosures.Disclosure, ...]:
        """Everything that the plan would let out, to the byte."""
        return disclosures.of_plan(self.plan, self.hospital) if self.plan else ()

    @property
    def disagreement(self) -> str:
        """How the front desk and the vault contradict each other; empty if they do not."""
        return disagreement(self.status, self.state)

    def as_json(self) -> str:
        """All of it as JSON, with full keys: for a file, a meeting or another program.

        The keys, always all of them; `null` where there is nothing:

        - `format`, `hospital`, `problem`, `disagreement`, `approval_days`
        - `request`: `id`, `researcher`, `status`, `code`, `code_sha256`, `code_is_fixed`
        - `notes`: each `author`, `text`, `at_unix_s`
        - `plan_hash`, `plan`: the plan field by field, as it is hashed
        - `plan_diff`: `compared_with` (plan hash), `fields` (each `field`, `before`, `after`),
          `code_diff`
        - `ledger`: `asset`, `spent_epsilon`, `spent_epsilon_alone`, `budget` (`epsilon`, `delta`,
          `epsilon_alone`: null if as `epsilon`), `events`, `sharing`, `in_force`
        - `state`: `state`, `sentence`, `verdict`, `weighed`, `study_epsilon`, `after_epsilon`,
          `study_epsilon_alone`, `after_epsilon_alone` (if all other hospitals collude), `signers`, `signatures_needed`, `expires_unix_s` (0 if nothing is in force),
          `rounds_called`, `rounds_that_fit`, `evaluations_that_fit`, `stops` (where the plan ends
          early, empty if it does not), `last_approved`, `known` (each `party`, `added_by`,
          `added_at_unix_s`)
        - `disclosures`: each `purpose`, `times`, `meaning`, `parts` (each `name`, `shape`, `dtype`,
          `bytes`, `to`); `bytes_in_all`
        - `mock`: the fields of `mock_result.MockRun`, and `ok`
        """
        facts = json.loads(canonical.encode(self._facts()))
        return json.dumps(facts, indent=2, sort_keys=True, ensure_ascii=True)

    def text(self) -> str:
        """The card as lines of text."""
        return self._card().text()

    def brief(self) -> str:
        """Its head as lines of text: where it stands, and what it costs."""
        card = self._card()
        return replace(card, sections=card.sections[:3]).text()

    def page(self) -> str:
        """The card as a web page of its own."""
        head = "<!doctype html><meta charset='utf-8'><title>Evidence</title>"
        return f"{head}<body style='font-family:sans-serif'>{self._repr_html_()}</body>"

    def _repr_html_(self) -> str:
        return self._card().html()

    def _facts(self) -> dict[str, Any]:
        return {
            "format": FORMAT,
            "hospital": self.hospital,
            "problem": self.problem,
            "disagreement": self.disagreement,
            "approval_days": self.approval_days,
            "request": {
                "id": self.request.id,
                "researcher": self.request.researcher,
                "status": self.status,
                "code": self.request.code,
                "code_sha256": self.code_sha256,
                "code_is_fixed": self.code_is_fixed,
            },
            "notes": self.notes,
            "plan_hash": self.plan.hash if self.plan else None,
            "plan": self.plan,
            "plan_diff": self._changes(),
            "ledger": _fields(self.ledger),
            "state": _fields(self.state),
            "disclosures": self.disclosures,
            "bytes_in_all": sum(release.bytes_in_all for release in self.disclosures),
            "mock": _fields(self.mock, ok=self.mock.ok) if self.mock else None,
        }

    def _changes(self) -> dict[str, Any] | None:
        before = self.last_approved
        if self.plan is None or before is None:
            return None
        return {
            "compared_with": before.hash,
            "fields": plan_diff.of_plans(before, self.plan),
            "code_diff": plan_diff.of_code(traveller.source(before.hash), self.request.code),
        }

    def _card(self) -> Card:
        other_code = "" if self.code_is_fixed else plan_card.OTHER_CODE
        alarms = tuple(filter(None, (self.disagreement, other_code, self.problem)))
        if self.plan is None or self.ledger is None or self.state is None:
            return Card(
                title=f"A request at {self.hospital} that can't be weighed",
                verdicts=(("bad", "Nothing of it can run"),),
                alarms=alarms,
                sections=(
                    self._asked(),
                    self._code(),
                    *self._notes(),
                ),
            )
        return Card(
            title=f"{self.plan.study} at {self.hospital}",
            verdicts=self._verdicts(self.plan, self.state),
            figures=_figures(self.ledger, self.state),
            alarms=alarms,
            decisive=plan_card.decisive(
                self.plan, self.ledger, self.state, self.disclosures, before=self.last_approved
            ),
            sections=self._sections(self.plan, self.ledger, self.state),
        )

    def _verdicts(self, plan: Plan, state: vault_api.PlanStatus) -> tuple[tuple[Tone, str], ...]:
        verdicts = [
            _verdict(plan, state),
            (_STATES.get(state.state, "open"), f"Vault: {state.state}"),
            _desk(self.status),
        ]
        if plan.data.stand_in:
            verdicts.insert(0, ("open", "STAND-INS, by its plan: drawn data, no patients"))
        if self.mock is not None:
            verdicts.append(("good", "Mock run ok") if self.mock.ok else ("bad", "Mock run failed"))
        return tuple(verdicts)

    def _sections(
        self, plan: Plan, ledger: vault_api.LedgerSummary, state: vault_api.PlanStatus
    ) -> tuple[Section, ...]:
        before = self.last_approved
        return (
            plan_card.purpose(plan),
            self._asked(),
            *self._notes(),
            plan_card.privacy(plan, ledger, state),
            model_summary.model_section(plan, self.hospital),
            plan_card.what_changed(
                before,
                plan,
                code_before=traveller.source(before.hash) if before else "",
                code=self.request.code,
            ),
            self._code(),
            mock_result.tried_out(self.mock),
            plan_card.what_leaves(self.disclosures, plan),
            aggregation_summary.aggregation_section(plan),
            plan_card.who(plan, self.hospital, self.request.researcher, state.known),
        )

    def _asked(self) -> Section:
        """Who asks, and where the request stands with everybody who has a say."""
        rows = [("Researcher", self.request.researcher), ("The front desk says", self.status)]
        if self.state is not None:
            rows += self._standing(self.state)
        if self.state is not None and self.plan is not None:
            roster = parties_card.describe_roster(self.plan, self.hospital, self.state.known)
            rows.append(("Who takes part", roster))
        rows.append(("Plan or code, SHA-256", self.subject))
        return Section(title="Where it stands", rows=tuple(rows))

    def _code(self) -> Section:
        return plan_card.code(self.request.code, self.code_sha256, fixed=self.code_is_fixed)

    def _standing(self, state: vault_api.PlanStatus) -> list[tuple[str, str]]:
        needed, signers = state.signatures_needed, state.signers
        if state.expires_unix_s:
            expiry = f"the approval ends {ledger_card.format_time(state.expires_unix_s)}"
        else:
            end = time.time() + self.approval_days * 86_400
            expiry = (
                f"an approval would hold for {self.approval_days:g} days, until "
                f"{ledger_card.format_time(end)}, unless you say otherwise"
            )
        weighed = [("The policy says", f"{state.verdict}: {state.weighed}")]
        return [
            ("The vault says", f"{state.state}: {state.sentence}".removesuffix(": ")),
            *(() if _is_settled(state) else weighed),
            ("Signatures", f"{len(signers)} of {needed}: {', '.join(signers) or 'nobody yet'}"),
            ("Expiry", expiry),
        ]

    def _notes(self) -> tuple[Section, ...]:
        if not self.notes:
            return ()
        rows = tuple(
            (note.author, ledger_card.format_time(note.at_unix_s), note.text) for note in self.notes
        )
        return (Section(title="Notes", head=("who", "when", "what"), rows=rows),)


def disagreement(status: str, state: vault_api.PlanStatus | None) -> str:
    """What the front desk (`status`) says against the vault (`state`), and what to do; or nothing.

    A denial that the researcher is not told of leaves the front desk as it was: both say no.

    >>> disagreement("approved", None)[:48]
    'The front desk says approved, and the vault know'
    """
    if state is None:
        if status != "approved":
            return ""
        return (
            "The front desk says approved, and the vault knows no plan of this request: nothing "
            "runs. Deny it, so that the researcher sees that."
        )
    if state.state == "in force" and status != "approved":
        return (
            f"The vault holds an approval in force, and the front desk says {status}: the vault "
            "would run the plan, and the researcher is told otherwise. Approve it again, or revoke "
            "it."
        )
    if state.state != "in force" and status == "approved":
        return (
            f"The front desk says approved, and in the vault the plan is {state.state}: nothing "
            "runs, and the researcher is told otherwise. Approve it here, or deny it."
        )
    if state.state in ("waiting", "undecided") and status == "rejected":
        return (
            f"The front desk says rejected, and in the vault the plan is {state.state}: an approval "
            "that is signed would still run it. Deny it here too, or approve it."
        )
    return ""


def _verdict(plan: Plan, state: vault_api.PlanStatus) -> tuple[Tone, str]:
    """What was decided, else the policy's answer; a plan that stops early is never one that the rules simply allow."""
    if state.state in ("denied", "revoked"):
        return "bad", "Refused: nothing of it runs any more"
    if state.stops and state.verdict != "deny":
        return "bad", f"It does not fit: {state.rounds_that_fit} of {plan.rounds} rounds would run"
    if _is_settled(state):
        paid = state.rounds_called >= plan.rounds
        return "good", "All of its rounds are paid" if paid else "Approved: it may run"
    return _VERDICTS[state.verdict]


def _is_settled(state: vault_api.PlanStatus) -> bool:
    """Whether a plan may run and the rules still agree, so that they ask nothing of anybody."""
    return state.state == "in force" and state.verdict != "deny"


def _figures(ledger: vault_api.LedgerSummary, state: vault_api.PlanStatus) -> tuple[Figure, ...]:
    budget = ledger.budget.epsilon
    return (
        (f"ε {epsilons.at_least(state.study_epsilon)}", "this study, all rounds"),
        (
            f"ε {epsilons.at_least(ledger.spent_epsilon)}",
            f"spent so far, of {epsilons.limit(budget)}",
        ),
        _left(budget - state.after_epsilon),
    )


def _left(epsilon: float) -> Figure:
    """What a plan would leave, in red if that is nothing."""
    if epsilon < 0:
        return "ε 0.00", "left after it: it does not fit", "bad"
    text = f"ε {epsilons.at_most(epsilon)}"
    return (text, "left after it") if float(text[2:]) else (text, "left after it: nothing", "bad")


def _desk(status: str) -> tuple[Tone, str]:
    tones: dict[str, Tone] = {"approved": "good", "rejected": "bad"}
    return tones.get(status, "open"), f"Front desk: {status}"


def _fields(message: object, **more: object) -> dict[str, Any] | None:
    """The fields of a message, apart from its kind."""
    facts: dict[str, Any] | None = json.loads(canonical.encode(message))
    if facts is None:
        return None
    return {name: value for name, value in facts.items() if name != "kind"} | more
