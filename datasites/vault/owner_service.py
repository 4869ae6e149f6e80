"""The vault's owner service: it does what owners and approvers have signed, and answers what they
ask about ledger, plans and rules.

    signed action ─▶ approvers: known signer, recent, enough signatures? ─▶ done, kept, logged
"""

import contextlib
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Literal

from datasites.data import cohort_file, fingerprints
from datasites.data.cohort_file import SplitCohort
from datasites.data.fingerprints import Fingerprints
from datasites.protocol import owner_actions, vault_api
from datasites.vault.approvers import ApproverRegistry
from datasites.vault.authorization import Authorizer
from datasites.vault.db import integrity_check, ledger
from datasites.vault.db.vault_database import VaultDatabase
from datasites.vault.round_executor import RoundExecutor
from datasites.vault.vault_files import VaultFiles
from policies.decision import AskOwner, Decision, Deny
from policies.site_policy import SitePolicy
from syft_code import canonical
from syft_code.errors import (
    ConsiliumError,
    InvalidData,
    InvalidMessage,
    InvalidPlan,
    Refused,
    require,
)
from syft_code.plans.messages import Signed
from syft_code.plans.plan import Plan
from syft_code.privacy import accounting, epsilons


class OwnerService:
    """What the owner's side can cause in a vault."""

    def __init__(
        self,
        db: VaultDatabase,
        files: VaultFiles,
        approvers: ApproverRegistry,
        authorizer: Authorizer,
        rounds: RoundExecutor,
    ) -> None:
        self._db = db
        self._files = files
        self._approvers = approvers
        self._authorizer = authorizer
        self._rounds = rounds
        self._changing = threading.Lock()  # one at a time changes cohort files

    def handle(self, request: vault_api.OwnerActionRequest, body: bytes) -> tuple[object, bytes]:
        """Do what an approver signed just now, and for the first time."""
        action = self._approvers.authentic(request.action, request.name, request.signer)
        match action:
            case owner_actions.GetLedger():
                return self._ledger_summary(action), b""
            case owner_actions.GetRemarks():
                return self._remarks(action), b""
            case owner_actions.GetPlanStatus():
                return self._plan_status(action, request.signer), b""
            case owner_actions.GetSiteStatus():
                return self._site_status(), b""
            case owner_actions.ExportAuditLog():
                return vault_api.AuditLogFile(), self._db.log.export()
            case _:
                return self._perform(action, request.signer, request.action, body), b""

    def _perform(
        self, action: owner_actions.OwnerAction, signer: str, signed: Signed, body: bytes
    ) -> vault_api.Accepted:
        """Do an action that changes something."""
        match action:
            case (
                owner_actions.AdoptPolicy()
                | owner_actions.AddParty()
                | owner_actions.RemoveParty()
                | owner_actions.EnrollApprover()
                | owner_actions.RemoveApprover()
            ):
                missing = self._approvers.change_rules(action, signer, signed)
                self._rounds.stop_unless_granted()
                return vault_api.Accepted(missing=missing)
            case owner_actions.ApprovePlan():
                return vault_api.Accepted(missing=self._approve(action, signer, signed))
            case owner_actions.DenyPlan() | owner_actions.RevokePlan():
                self._authorizer.refuse(action, signer, signed)
                self._rounds.stop_unless_granted()
            case owner_actions.AskResearcher():
                with self._approvers.deciding(signer):
                    self._approvers.keep(action, signer, signed)
            case owner_actions.PublishAsset():
                with self._changing:
                    version = self._publish(action, signer, signed, body)
                return vault_api.Accepted(version=version)
            case owner_actions.RemovePatient():
                with self._changing:
                    self._remove_patient(action, signer, signed)
            case _:
                raise InvalidMessage("A vault does the actions of `owner_actions` and no others.")
        return vault_api.Accepted()

    def _approve(self, action: owner_actions.ApprovePlan, signer: str, signed: Signed) -> int:
        """Keep an approval; once there are enough, have the plan's encoder look at the pictures.

        That takes as long as there are pictures, so it begins before anybody waits for a round.
        """
        plan = Plan.decode(action.plan.encode())
        self._files.encoded.check(plan)
        missing = self._authorizer.approve(action, signer, signed)
        if not missing:
            self._rounds.encode_ahead(plan, action.asset)
        return missing

    # Patients

    def _publish(
        self, action: owner_actions.PublishAsset, signer: str, signed: Signed, body: bytes
    ) -> int:
        """Check a cohort, keep it without those who have left, then give it its version."""
        self._approvers.policy()
        split = _unpacked(action, body)
        removed = self._db.assets.removed_patients() & set(split.names())
        stored = split.without(removed) if removed else split
        require(
            bool((~stored.held_out).any()),
            "At least one patient must be left for training, and without those who have left or "
            "are held out there is none: publish a larger cohort.",
            error=InvalidData,
        )
        prints = fingerprints.take(stored, action.spec, self._db.fingerprints.key)
        alike = self._check_names(action, prints)
        digest = self._files.cohorts.keep(cohort_file.pack(stored) if removed else body)
        with self._approvers.deciding(signer):
            self._check_same_split(action, stored)  # a refusal leaves a file, which a start deletes
            self._approvers.keep(action, signer, signed)
            groups = dict(zip(stored.names(), stored.held_out.tolist(), strict=True))
            anybody = {} if stored.named else {ledger.ANYBODY: False}
            patients = self._db.ledger.register(action.asset, groups | anybody)
            version = self._db.assets.publish(action, cohort_sha256=digest)
            self._note_cohort(
                action.asset,
                version,
                digest,
                patients_sha256=patients,
                fingerprints_sha256=self._db.fingerprints.keep(
                    action.asset, version, prints.encode()
                ),
                under_other_names=str(alike),
            )
        return version

    def _check_names(self, action: owner_actions.PublishAsset, prints: Fingerprints) -> int:
        """How many are alike patients who were published under other names.

        Raises:
            Refused: if the owner has not signed that this many are other people.
        """
        earlier = [fingerprints.decode(data) for data in self._db.fingerprints.every()]
        alike = len(fingerprints.under_other_names(prints, earlier))
        signed = (
            f"other_people={action.other_people} was signed, and " if action.other_people else ""
        )
        require(
            alike == action.other_people,
            f"A patient must keep their name: {signed}{alike} of {action.asset} are alike patients who "
            "were published here under other names, where a new name would have a new budget. "
            "Publish them under the identifiers and in the columns that they had; if they are other "
            f"people, all of them, sign that with other_people={alike}.",
            error=Refused,
        )
        return alike

    def _check_same_split(self, action: owner_actions.PublishAsset, split: SplitCohort) -> None:
        """Assets that share a patient must hold patients out alike: groups are paid in parallel."""
        names = [*split.names(), *([] if split.named else [ledger.ANYBODY])]
        for name in self._db.ledger.sharing(action.asset, names):
            for other in self._db.assets.versions(name):
                published = other.publication
                require(
                    (action.split_rule, action.spec.patient_unit)
                    == (published.split_rule, published.spec.patient_unit),
                    f"{action.asset} version {self._db.assets.newest_version(action.asset) + 1} must hold "
                    f"patients out by the rule of {name}, with which it shares patients or its "
                    "name, or which has no identifiers either (the same salt, fraction and unit): "
                    "split it as before.",
                    error=Refused,
                )

    def _remove_patient(
        self, action: owner_actions.RemovePatient, signer: str, signed: Signed
    ) -> None:
        """Write every cohort of a patient anew without them; rounds under way end as they began."""
        assets = self._db.ledger.holding(action.token)
        require(
            bool(assets),
            "No asset here holds this patient: see that the identifier is written as in the data.",
            error=Refused,
        )
        rewritten = [new for asset in assets for new in self._without(asset, action.token)]
        with self._approvers.deciding(signer):
            self._approvers.keep(action, signer, signed)
            self._db.assets.remove_patient(action.token)
            for asset, version, digest in rewritten:
                self._db.assets.replace_cohort(asset, version, cohort_sha256=digest)
                self._note_cohort(asset, version, digest)
        self._rounds.after_rounds(self._delete_unused_cohorts)

    def _without(self, asset: str, token: str) -> Iterator[tuple[str, int, str]]:
        """Each version of an asset that holds a patient, with the hash of its new file."""
        for stored in self._db.assets.versions(asset):
            self._files.cohorts.check(stored.cohort_sha256)
            data = self._files.cohorts.path(stored.cohort_sha256).read_bytes()
            split = cohort_file.unpack(data, stored.publication.spec)
            if token in split.names():
                digest = self._files.cohorts.keep(cohort_file.pack(split.without({token})))
                self._files.encoded.without(stored.cohort_sha256, digest, {token})
                yield asset, stored.version, digest

    def _delete_unused_cohorts(self) -> None:
        """Delete the files that no asset has any more."""
        with self._changing:
            self._files.delete_unused_cohorts()

    def _note_cohort(self, asset: str, version: int, digest: str, **facts: str) -> None:
        self._db.log.append(
            integrity_check.COHORT_STORED,
            asset=asset,
            version=str(version),
            cohort_sha256=digest,
            **facts,
        )

    # What the owner's side may read

    def _ledger_summary(self, action: owner_actions.GetLedger) -> vault_api.LedgerSummary:
        asset = self._db.assets.newest(action.asset).publication.asset
        budget = self._approvers.policy().budget(asset)
        events = self._db.ledger.events(asset)
        return vault_api.LedgerSummary(
            asset=asset,
            spent_epsilon=accounting.epsilon(events, delta=budget.delta),
            spent_epsilon_alone=accounting.epsilon_alone(events, delta=budget.delta),
            budget=budget,
            events=tuple(canonical.text(event) for event in events),
            sharing=tuple(self._db.ledger.sharing(asset)[1:]),
            in_force=tuple(h for h in self._db.approvals.plans() if self._runs(h, asset)),
        )

    def _remarks(self, action: owner_actions.GetRemarks) -> vault_api.CohortRemarks:
        """Out of the cohort's file, once its bytes are known to be those that were published."""
        stored = self._db.assets.newest(action.asset)
        self._files.cohorts.check(stored.cohort_sha256)
        return vault_api.CohortRemarks(
            asset=action.asset,
            version=stored.version,
            remarks=cohort_file.remarks(self._files.cohorts.path(stored.cohort_sha256)),
        )

    def _runs(self, plan_hash: str, asset: str) -> bool:
        try:
            return self._authorizer.grant(plan_hash).asset == asset
        except ConsiliumError:
            return False

    def _plan_status(
        self, action: owner_actions.GetPlanStatus, signer: str
    ) -> vault_api.PlanStatus:
        """A plan before the policy, and what was decided on it."""
        plan = Plan.decode(action.plan.encode("utf-8", "replace"))
        case = self._authorizer.case(plan, action.researcher)
        delta = self._approvers.policy().budget(case.entry.asset).delta
        whole = accounting.plan_events(plan)
        names = self._approvers.approvers()
        signers = tuple(
            names[stored.signer]
            for stored in self._db.approvals.of_plan(plan.hash)
            if stored.signer in names
        )
        reach = self._authorizer.forecast(action, signer)
        verdict, weighed = _in_words(self._authorizer.weigh(plan, action.researcher))
        state = vault_api.PlanStatus(
            state="undecided",
            sentence="",
            verdict=verdict,
            weighed=weighed,
            study_epsilon=accounting.epsilon(whole, delta=delta),
            after_epsilon=accounting.epsilon([*case.spent, *whole], delta=delta),
            study_epsilon_alone=accounting.epsilon_alone(whole, delta=delta),
            after_epsilon_alone=accounting.epsilon_alone([*case.spent, *whole], delta=delta),
            signers=signers,
            signatures_needed=self._approvers.signatures_needed(),
            rounds_called=self._db.ledger.count(plan.hash, purpose="train"),
            rounds_that_fit=reach.rounds,
            evaluations_that_fit=reach.evaluations,
            stops=reach.stops,
            last_approved=self._last_approved(plan.hash),
            known=case.known,
        )
        return self._decided(state, plan.hash)

    def _decided(self, state: vault_api.PlanStatus, plan_hash: str) -> vault_api.PlanStatus:
        """The state with what was decided: denied, revoked, waiting, expired or in force."""
        refusal = self._db.approvals.refusal(plan_hash)
        if refusal is not None:
            return replace(state, state=refusal.kind, sentence=refusal.reason)
        try:
            grant = self._authorizer.grant(plan_hash)
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
            f"epsilon at most {epsilons.limit(min(b.epsilon for b in grant.budgets))}",
            signers=state.signers or ("a standing approval",),
            expires_unix_s=grant.expires_unix_s,
        )

    def _last_approved(self, plan_hash: str) -> str:
        """The newest other plan that this version can read: one of an earlier format runs no more."""
        for name in reversed(self._db.approvals.plans()):
            with contextlib.suppress(InvalidPlan):
                plan = self._db.approvals.plan(name) if name != plan_hash else None
                if plan is not None:
                    return plan.encode().decode()
        return ""

    def terms(self) -> vault_api.TermsInForce:
        """What any member may read of the policy in force."""
        policy = self._policy()
        return vault_api.TermsInForce(terms=policy.terms if policy else None)

    def _policy(self) -> SitePolicy | None:
        try:
            return self._approvers.policy()
        except Refused:
            return None

    def _site_status(self) -> vault_api.SiteStatus:
        return vault_api.SiteStatus(
            policy=self._policy(),
            approvers=tuple(self._approvers.approvers().items()),
            known=self._approvers.known(),
            waiting=tuple(self._approvers.waiting()),
            assets=tuple(self._db.assets.names()),
        )


def _unpacked(action: owner_actions.PublishAsset, body: bytes) -> SplitCohort:
    """A publication's cohort; raise `InvalidMessage` unless it is the one that was signed for."""
    require(
        canonical.sha256(body) == action.cohort_sha256,
        "The cohort must be the bytes that the publication names: publish it again.",
        error=InvalidMessage,
    )
    split = cohort_file.unpack(body, action.spec)
    require(
        split.split_rule == action.split_rule,
        "The cohort must be split by the rule that the publication names: publish it again.",
        error=InvalidMessage,
    )
    require(
        (split.cells is not None) == (action.spec.kind in ("table", "series")),
        "A table and a series, and nothing else, must come with what their cells say: publish what "
        "the reader gave.",
        error=InvalidMessage,
    )
    return split


def _in_words(decision: Decision) -> tuple[Literal["approve", "deny", "ask owner"], str]:
    match decision:
        case Deny(reason):
            return "deny", reason
        case AskOwner(question):
            return "ask owner", question
        case _:
            return "approve", "A standing approval covers this very plan."
