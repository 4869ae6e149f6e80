"""The vault's office: it does what owners and approvers have signed, and shows them the books.

signed act ─▶ Deciders: whose, just now, enough signatures? ─▶ done, kept, logged
"""

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Literal

from datasites import acts, wire
from datasites.data import cohort_file
from datasites.data.cohort_file import SplitCohort
from datasites.vault.audit_log import AuditLog
from datasites.vault.cohorts import Cohorts
from datasites.vault.deciders import Deciders
from datasites.vault.ledger import Ledger
from datasites.vault.mandate import Mandate
from datasites.vault.records import Records
from policies.decision import AskOwner, Decision, Deny
from syft_code import canonical
from syft_code.errors import ConsiliumError, InvalidData, InvalidMessage, Refused, require
from syft_code.plans.messages import Signed
from syft_code.plans.plan import Plan
from syft_code.privacy import accounting


class Office:
    """What the owner's side can cause in a vault."""

    def __init__(
        self,
        deciders: Deciders,
        mandate: Mandate,
        *,
        records: Records,
        ledger: Ledger,
        log: AuditLog,
        cohorts: Cohorts,
        after_rounds: Callable[[Callable[[], None]], object],
        stop_unless_granted: Callable[[], None],
    ) -> None:
        self._deciders = deciders
        self._mandate = mandate
        self._records = records
        self._ledger = ledger
        self._log = log
        self._cohorts = cohorts
        self._after_rounds = after_rounds
        self._stop_unless_granted = stop_unless_granted
        self._changing = threading.Lock()  # one at a time changes cohort files

    def obey(self, request: wire.OwnerAct, body: bytes) -> tuple[object, bytes]:
        """Do what an approver signed just now, and for the first time."""
        act = self._deciders.authentic(request.act, request.name, request.signer)
        signer, signed = request.signer, request.act
        match act:
            case acts.Adoption() | acts.Trust() | acts.Enrolment() | acts.Dismissal():
                missing = self._deciders.change_rules(act, signer, signed)
                self._stop_unless_granted()
                return wire.Accepted(missing=missing), b""
            case acts.Approval():
                return wire.Accepted(missing=self._mandate.approve(act, signer, signed)), b""
            case acts.Denial() | acts.Revocation():
                self._mandate.refuse(act, signer, signed)
                self._stop_unless_granted()
                return wire.Accepted(), b""
            case acts.Question():
                with self._deciders.deciding(signer):
                    self._deciders.keep(act, signer, signed)
                return wire.Accepted(), b""
            case acts.Publication():
                with self._changing:
                    return wire.Accepted(version=self._publish(act, signer, signed, body)), b""
            case acts.Strike():
                with self._changing:
                    self._strike(act, signer, signed)
                return wire.Accepted(), b""
            case acts.Inquiry():
                return self._account(act), b""
            case acts.Inspection():
                return self._plan_state(act), b""
            case acts.Overview():
                return self._house(), b""
            case acts.Export():
                return wire.LogFile(), self._log.export()
        raise InvalidMessage("A vault does the acts of datasites.acts and no others.")

    # Patients

    def _publish(self, act: acts.Publication, signer: str, signed: Signed, body: bytes) -> int:
        """Check a cohort, keep it without those who have left, then give it its version."""
        require(
            canonical.sha256(body) == act.cohort_sha256,
            "The cohort must be the bytes that the publication names: publish it again.",
            error=InvalidMessage,
        )
        self._deciders.policy()
        split = cohort_file.unpack(body, act.spec)
        require(
            split.split_rule == act.split_rule,
            "The cohort must be split by the rule that the publication names: publish it again.",
            error=InvalidMessage,
        )
        struck = self._records.struck() & set(split.names())
        kept = split.without(struck) if struck else split
        require(
            bool((~kept.held_out).any()),
            "At least one patient must be left for training, and without those who have left or "
            "are held out there is none: publish a larger cohort.",
            error=InvalidData,
        )
        digest = self._cohorts.keep(cohort_file.pack(kept) if struck else body)
        with self._deciders.deciding(signer):
            self._check_neighbours(act, kept)  # a refusal leaves a file, which a start deletes
            self._deciders.keep(act, signer, signed)
            groups = dict(zip(kept.names(), kept.held_out.tolist(), strict=True))
            patients = self._ledger.register(act.asset, groups)
            version = self._records.publish(act, cohort_sha256=digest)
            self._note_cohort(act.asset, version, digest, patients_sha256=patients)
        return version

    def _check_neighbours(self, act: acts.Publication, split: SplitCohort) -> None:
        """Whoever shares a patient must hold patients out alike: groups are paid in parallel."""
        for name in self._ledger.sharing(act.asset, split.names()):
            for other in self._records.versions(name):
                published = other.publication
                require(
                    (act.split_rule, act.spec.patient_unit)
                    == (published.split_rule, published.spec.patient_unit),
                    f"{act.asset} version {self._records.newest_version(act.asset) + 1} must hold "
                    f"patients out by the rule of {name}, with which it shares patients or its "
                    "name (the same salt, fraction and unit): split it as before.",
                    error=Refused,
                )

    def _strike(self, act: acts.Strike, signer: str, signed: Signed) -> None:
        """Write every cohort of a patient anew without them; rounds under way end as they began."""
        assets = self._ledger.holding(act.token)
        require(
            bool(assets),
            "No asset here holds this patient: see that the identifier is written as in the data.",
            error=Refused,
        )
        rewritten = [new for asset in assets for new in self._without(asset, act.token)]
        with self._deciders.deciding(signer):
            self._deciders.keep(act, signer, signed)
            self._records.strike(act.token)
            for asset, version, digest in rewritten:
                self._records.replace_cohort(asset, version, cohort_sha256=digest)
                self._note_cohort(asset, version, digest)
        self._after_rounds(self._forget)

    def _without(self, asset: str, token: str) -> Iterator[tuple[str, int, str]]:
        """Each version of an asset that holds a patient, with the hash of its new file."""
        for kept in self._records.versions(asset):
            self._cohorts.check(kept.cohort_sha256)
            data = self._cohorts.path(kept.cohort_sha256).read_bytes()
            split = cohort_file.unpack(data, kept.publication.spec)
            if token in split.names():
                body = cohort_file.pack(split.without({token}))
                yield asset, kept.version, self._cohorts.keep(body)

    def _forget(self) -> None:
        """Delete the files that no asset has any more."""
        with self._changing:
            self._cohorts.forget_others(self._records.cohorts())

    def _note_cohort(self, asset: str, version: int, digest: str, **facts: str) -> None:
        self._log.append(
            "cohort kept", asset=asset, version=str(version), cohort_sha256=digest, **facts
        )

    # The books

    def _account(self, act: acts.Inquiry) -> wire.Account:
        asset = self._records.asset(act.asset).publication.asset
        budget = self._deciders.policy().budget(asset)
        events = self._ledger.events(asset)
        return wire.Account(
            asset=asset,
            spent_epsilon=accounting.epsilon(events, delta=budget.delta),
            budget=budget,
            events=tuple(canonical.encode(event).decode("ascii") for event in events),
            sharing=tuple(self._ledger.sharing(asset)[1:]),
            in_force=tuple(h for h in self._records.plans() if self._runs(h, asset)),
        )

    def _runs(self, plan_hash: str, asset: str) -> bool:
        try:
            return self._mandate.grant(plan_hash).asset == asset
        except ConsiliumError:
            return False

    def _plan_state(self, act: acts.Inspection) -> wire.PlanState:
        """A plan before the policy, and what was decided on it."""
        plan = Plan.decode(act.plan.encode("ascii", "replace"))
        case = self._mandate.case(plan, act.researcher)
        delta = self._deciders.policy().budget(case.entry.asset).delta
        whole = accounting.plan_events(plan)
        names = self._deciders.approvers()
        signers = tuple(
            names[kept.signer]
            for kept in self._records.approvals(plan.hash)
            if kept.signer in names
        )
        verdict, weighed = _in_words(self._mandate.weigh(plan, act.researcher))
        state = wire.PlanState(
            state="undecided",
            sentence="",
            verdict=verdict,
            weighed=weighed,
            study_epsilon=accounting.epsilon(whole, delta=delta),
            after_epsilon=accounting.epsilon([*case.spent, *whole], delta=delta),
            signers=signers,
            signatures_needed=self._deciders.signatures_needed(),
            rounds_called=self._ledger.count(plan.hash, purpose="train"),
            last_approved=self._last_approved(plan.hash),
        )
        return self._decided(state, plan.hash)

    def _decided(self, state: wire.PlanState, plan_hash: str) -> wire.PlanState:
        """Every kind of not running is told from the others."""
        refusal = self._records.refusal(plan_hash)
        if refusal is not None:
            return replace(state, state=refusal.kind, sentence=refusal.reason)
        try:
            grant = self._mandate.grant(plan_hash)
        except ConsiliumError as problem:
            if not state.signers:
                return replace(state, sentence="Nobody here has decided on this plan yet.")
            enough = len(state.signers) >= state.signatures_needed
            return replace(
                state, state="not in force" if enough else "waiting", sentence=str(problem)
            )
        until = time.strftime("%Y-%m-%d %H:%M", time.gmtime(grant.expires_unix_s))
        return replace(
            state,
            state="in force",
            sentence=f"{state.rounds_called} of {grant.rounds} rounds called, until {until} UTC, "
            f"epsilon at most {min(b.epsilon for b in grant.budgets):.2f}",
            signers=state.signers or ("a standing approval",),
            expires_unix_s=grant.expires_unix_s,
        )

    def _last_approved(self, plan_hash: str) -> str:
        others = [name for name in self._records.plans() if name != plan_hash]
        plan = self._records.plan(others[-1]) if others else None
        return plan.encode().decode("ascii") if plan else ""

    def _house(self) -> wire.House:
        try:
            policy = self._deciders.policy()
        except Refused:
            policy = None
        return wire.House(
            policy=policy,
            approvers=tuple(self._deciders.approvers().items()),
            known=self._deciders.known(),
            waiting=tuple(self._deciders.waiting()),
            assets=tuple(self._records.assets()),
        )


def _in_words(decision: Decision) -> tuple[Literal["approve", "deny", "ask owner"], str]:
    match decision:
        case Deny(reason):
            return "deny", reason
        case AskOwner(question):
            return "ask owner", question
        case _:
            return "approve", "A standing approval covers this very plan."
