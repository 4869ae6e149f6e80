"""What a data owner does: publish, review requests, decide, set the rules, read the ledger.

Runs on the owner's machine beside the vault, in a notebook or a command. A decision is
signed with the owner's key for the vault, and then entered at PySyft for the researcher; the
vault acts on the signature alone. Where only one of the two was done, an error says so,
and a request's evidence shows it.
"""

import importlib
import secrets
import time
from collections.abc import Callable
from dataclasses import replace
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from datasites import private_files
from datasites.data import patient_hashing, train_test_split
from datasites.data.cohort_file import SplitCohort
from datasites.data.folders.reading import Reading
from datasites.owner import decisions, publishing
from datasites.owner.decisions import ApprovalDraft, SignedApproval, SignedDecision
from datasites.owner.desk_client import DeskClient
from datasites.owner.publishing import MOCK_SLICES, Declaration, PySyftSession
from datasites.owner.refused_plans import RefusedPlans
from datasites.protocol import owner_actions, vault_api
from datasites.protocol.vault_client import VaultClient
from datasites.review.evidence import Evidence
from datasites.review.ledger_card import LedgerCard, PolicyCard
from datasites.review.log_card import LogCard
from datasites.review.parties_card import PartiesCard
from datasites.site import Site
from policies import site_policy
from policies.known_parties import Party
from policies.site_policy import Budget, SitePolicy
from syft_code import canonical
from syft_code.errors import (
    ConsiliumError,
    InvalidInput,
    InvalidPlan,
    NotApproved,
    Refused,
    require,
)
from syft_code.evidence import audit_chain
from syft_code.plans import key_fingerprint, traveller
from syft_code.plans.catalogue import AssetCard
from syft_code.plans.invitations import Invitation, InvitationOffer, check_email
from syft_code.plans.plan import Plan
from syft_code.recipes.recipe import DataSpec
from syft_code.runtime import durable_files

APPROVAL_DAYS = 30.0
INVITATION_DAYS = 7.0


class Owner:
    """Somebody who decides at one hospital: its data owner, or an approver beside them.

    An approver has made a key of their own in the folder `keys`, and the owner has enrolled
    them. The front desk has one account for all of them; the vault tells them apart.
    """

    def __init__(self, home: Path, *, keys: Path | None = None) -> None:
        self._site = Site(home.resolve())
        self.settings = self._site.settings()
        self.name = self.settings.name
        key = private_files.signing_key((keys or self._site.owner) / "key")
        self._vault = VaultClient(self._site.vault, key)

    @cached_property
    def _session(self) -> PySyftSession:
        """The owner's login; PySyft is loaded when it is needed."""
        module = importlib.import_module("datasites.owner.syft_session")
        session: PySyftSession = module.OwnerSession(self._site)
        return session

    @cached_property
    def _desk(self) -> DeskClient:
        return DeskClient(self._site)

    # Who works here, and by which rules

    @property
    def signing_key(self) -> str:
        """The public half (hex) of the key that signs here, to be enrolled as an approver."""
        return self._vault.signing_key

    @property
    def verify_key(self) -> str:
        """The hospital's own key (hex), to be made known to the others."""
        return self._vault.verify_key()

    def invite(self, email: str, *, days: float = INVITATION_DAYS) -> Invitation:
        """Invite a researcher: what they need to make an account at the front desk, once, in so many days.

        Raises:
            Refused: if the e-mail has an account: `remove_account` comes first.
        """
        code = secrets.token_urlsafe(24)
        expires_unix_s = int(time.time() + days * 86_400)
        invitation = Invitation(
            hospital=self.name,
            institution=self.settings.institution,
            url=self.settings.url,
            certificate=self._site.shown_certificate() if self.settings.tls == "own" else "",
            verify_key=self.verify_key,
            email=email,
            code=code,
            expires_unix_s=expires_unix_s,
        )
        self._desk.invite(
            InvitationOffer(
                email=email,
                code_sha256=canonical.sha256(code.encode()),
                expires_unix_s=expires_unix_s,
            )
        )
        return invitation

    def remove_account(self, email: str) -> None:
        """Take a researcher's account away: password and key are nobody's from now on, requests stay.

        An invitation that waits is void. Approvals stay: revoke what shall never run again.

        Raises:
            Refused: if the e-mail has neither account nor invitation.
        """
        check_email(email)
        self._desk.remove_account(email)

    def adopt_policy(self, policy: SitePolicy | None = None) -> SignedDecision:
        """Sign a policy, that of policy.toml unless told; it says whether it is in force.

        Budgets are part of it: nothing else can raise them.
        """
        wanted = policy or self._written_policy()
        missing = self._vault.perform(owner_actions.AdoptPolicy(policy=wanted)).missing
        if not missing:
            page = self._site.owner / "terms.json"  # a vault that lost its ledger does not start
            durable_files.write_durably(page, canonical.encode(wanted.terms), owned_as_folder=True)
        return decisions.rule_change(self.name, "The policy", missing)

    def policy(self) -> SitePolicy:
        """The policy in force; raise `Refused` if there is none yet."""
        policy = self.site_status().policy
        if policy is None:
            raise Refused(f"{self.name} has no policy in force yet: adopt one first.")
        return policy

    def add_party(self, party: Party, *, words: str) -> SignedDecision:
        """Vouch for a hospital or an aggregator; a plan that names any other is refused.

        `words` are the fingerprint of its keys, as somebody whom you know there reads it to you. Take
        neither them nor the keys from a plan.

        Raises:
            Refused: if the words are not those of the keys, or a name or a key is taken.
        """
        heard = key_fingerprint.written(words)
        missing = self._vault.perform(owner_actions.AddParty(party=party, words=heard)).missing
        return decisions.rule_change(self.name, f"The word for {party.name} as a party", missing)

    def remove_party(self, name: str) -> SignedDecision:
        """Take a party off the list of those who are known; no plan with it runs from now on."""
        missing = self._vault.perform(owner_actions.RemoveParty(name=name)).missing
        return decisions.rule_change(self.name, f"The removal of {name} as a party", missing)

    def enroll_approver(self, name: str, verify_key: str) -> SignedDecision:
        """Let another person approve here, by a key that they made."""
        action = owner_actions.EnrollApprover(name=name, verify_key=verify_key)
        missing = self._vault.perform(action).missing
        return decisions.rule_change(self.name, f"The enrollment of {name} as approver", missing)

    def remove_approver(self, verify_key: str) -> SignedDecision:
        """An approver leaves, and their approvals with them."""
        missing = self._vault.perform(owner_actions.RemoveApprover(verify_key=verify_key)).missing
        return decisions.rule_change(self.name, "The removal of an approver", missing)

    def site_status(self) -> vault_api.SiteStatus:
        """The rules in force: policy, approvers, known parties, what waits for a signature."""
        return self._vault.read(owner_actions.GetSiteStatus(), vault_api.SiteStatus)

    def policy_card(self) -> PolicyCard:
        """The same as a card to look at."""
        return PolicyCard(hospital=self.name, status=self.site_status())

    def parties_card(self) -> PartiesCard:
        """Who is known here, with the words of their keys, and this hospital's own to read out."""
        return PartiesCard(
            hospital=self.name, verify_key=self.verify_key, known=self.site_status().known
        )

    # Patients

    def split(
        self,
        reading: Reading,
        *,
        chosen: NDArray[np.bool_] | None = None,
        held_out: float = train_test_split.HELD_OUT,
    ) -> SplitCohort:
        """Pick this hospital's patients out of a reading and hold some out, each for itself.

        `chosen` (bool `[patients]`) are the hospital's patients, all by default. `held_out` is
        their part that no training sees, however many they are; with 0, evaluations of this
        hospital count nobody. A later version must be split with the fraction of the first.
        """
        salt = private_files.read_required(self._site.owner / "salt")
        return train_test_split.split(
            reading, chosen, hospital=self.name, salt=salt, held_out=held_out
        )

    def publish(
        self,
        split: SplitCohort,
        *,
        spec: DataSpec,
        asset: str,
        declared: Declaration,
        other_people: int = 0,
    ) -> AssetCard:
        """Hand a cohort to the vault and show its card and a mock in the catalogue.

        Publishing again under the same name makes the next version. What was spent on a patient
        stays spent, under any asset's name. All assets whose data has no identifiers have one
        budget together. `declared` is what the public reads of the cohort, in your words.

        Does not protect: a patient whom the data files under two identifiers, if what is filed
            differs too much (`datasites.data.fingerprints`), or if `other_people` counts them among
            those who are two; nor one who is in an asset without identifiers and in one with them,
            which have a budget each.
        Raises:
            Refused: if patients are alike earlier ones under other names; the sentence says how many.
                `other_people` is your signed word that so many are other people, no more and no
                fewer; it stands in the audit log for ever.
        """
        return publishing.publish(
            split,
            spec=spec,
            asset=asset,
            hospital=self.name,
            vault=self._vault,
            desk=self._session,
            declared=declared,
            other_people=other_people,
        )

    def remove_patient(self, patient_id: str) -> SignedDecision:
        """Take a patient out of every cohort; from the next round on nothing trains on them.

        Later versions leave the patient out too. What earlier rounds have spent stays spent.
        """
        salt = private_files.read_required(self._site.owner / "salt")
        self._vault.perform(
            owner_actions.RemovePatient(
                token=bytes(patient_hashing.tokens([patient_id], salt)[0]).hex()
            )
        )
        return SignedDecision(
            sentence=f"The patient is out of every cohort of {self.name}: from the next round on "
            "nothing trains on them. What earlier rounds have spent stays spent."
        )

    # Decisions

    def requests(self) -> list[Evidence]:
        """Every code request with what there is to know about it, oldest first.

        All but a mock run, which takes longer: `examine` adds it.
        """
        return [self.weigh(evidence) for evidence in self.submitted()]

    def submitted(self) -> list[Evidence]:
        """Every code request as the front desk has it, oldest first: who asks, and what was said.

        What it would cost and what was decided takes longer to work out: `weigh` adds it.
        """
        return [
            Evidence(
                request=request,
                hospital=self.name,
                approval_days=APPROVAL_DAYS,
                notes=request.notes,
            )
            for request in self._desk.requests()
        ]

    def weigh(self, evidence: Evidence) -> Evidence:
        """The same with its plan, the vault's word on it and what it would cost.

        What is wrong with it becomes a sentence.
        """
        try:
            return self._weighed(evidence)
        except ConsiliumError as problem:
            return replace(evidence, problem=str(problem))

    def examine(self, evidence: Evidence) -> Evidence:
        """The same with a mock run: the plan tried out on the public mock, fewer steps, no patient.

        Takes up to half a minute (`datasites.review.mock_run`). What fails in it is its result.

        Raises:
            NotApproved: if there is no plan to try out.
        """
        if evidence.plan is None:
            raise NotApproved(f"There is no plan here to try out: {evidence.problem}")
        mock_run = importlib.import_module("datasites.review.mock_run")  # which loads PyTorch
        mock = mock_run.run(evidence.plan, hospital=self.name, slices=MOCK_SLICES)
        return replace(evidence, mock=mock)

    def draft_approval(
        self,
        evidence: Evidence,
        *,
        days: float = APPROVAL_DAYS,
        epsilon: float | None = None,
        rounds: int | None = None,
        anyway: bool = False,
    ) -> ApprovalDraft:
        """What `approve` would sign with these limits, and at which round the plan would stop.

        Raises:
            InvalidInput: if an approval can't have such limits.
            NotApproved: if there is no plan to approve, or the plan would stop early and `anyway`
                does not say that this is meant.
        """
        decisions.check_limits(days=days, epsilon=epsilon)
        plan = evidence.plan
        if plan is None:
            raise NotApproved(f"This request can't be approved: {evidence.problem}")
        most = plan.rounds if rounds is None else rounds
        require(
            1 <= most <= plan.rounds,
            f"rounds must lie between 1 and the plan's {plan.rounds}, got {most}.",
            error=InvalidInput,
        )
        budget = self.policy().budget(plan.hospital(self.name).asset)
        most_epsilon = budget.epsilon if epsilon is None else epsilon
        require(
            most_epsilon <= budget.epsilon,
            f"The epsilon of an approval must be at most the asset's budget of {budget.epsilon:g}, got "
            f"{most_epsilon:g}.",
            error=InvalidInput,
        )
        limit = replace(budget, epsilon=most_epsilon)
        state = self._status(evidence, plan, budget=limit, rounds=most)
        asked_for = rounds is not None and state.rounds_that_fit == most
        if state.stops and state.verdict != "deny" and not (anyway or asked_for):
            raise NotApproved(
                f"An approval must let the whole plan run. {state.stops} Ask for a plan that fits, "
                "or sign it all the same with --anyway (in Python anyway=True)."
            )
        return ApprovalDraft(
            evidence=evidence,
            plan=plan,
            budget=limit,
            rounds=most,
            expires_unix_s=time.time() + days * 86_400,
            study_epsilon=state.study_epsilon,
            study_epsilon_alone=state.study_epsilon_alone,
            stops=state.stops,
            own_limit=epsilon is not None,
            again=state.state == "in force",
        )

    def has_approved(self, evidence: Evidence) -> bool:
        """Whether a plan is in force here by this person's signature too, and PySyft knows."""
        state, name = evidence.state, dict(self.site_status().approvers).get(self.signing_key)
        return (
            state is not None
            and state.state == "in force"
            and name in state.signers
            and not evidence.disagreement
        )

    def sign_approval(self, draft: ApprovalDraft) -> SignedApproval:
        """Sign a draft for the vault, then tell PySyft once enough people have signed.

        Raises:
            NotApproved: if the site's policy forbids the plan.
        """
        plan = draft.plan
        entry = plan.hospital(self.name)
        approval = owner_actions.ApprovePlan(
            plan=plan.encode().decode(),
            code_sha256=traveller.source_sha256(plan.hash),
            asset=entry.asset,
            asset_version=entry.asset_version,
            researcher=draft.evidence.request.researcher,
            budget=draft.budget,
            rounds=draft.rounds,
            expires_unix_s=draft.expires_unix_s,
        )
        missing = self._vault.perform(approval).missing
        if not missing:
            self._tell(lambda: self._session.approve(draft.evidence.request_id))
        return SignedApproval(draft=draft, missing=missing)

    def approve(
        self,
        evidence: Evidence,
        *,
        days: float = APPROVAL_DAYS,
        epsilon: float | None = None,
        rounds: int | None = None,
        anyway: bool = False,
    ) -> SignedApproval:
        """Let a plan run: sign for the vault, then tell PySyft; it says what was signed.

        `epsilon` caps this study, else the asset's budget does; `rounds` limits its training
        rounds, else the plan does. A plan that would stop before these rounds, under `epsilon` or
        under what is left of a budget, is signed only with `anyway`.

        Raises:
            NotApproved: if the site's policy forbids it, if there is no plan to approve, or if the
                plan would stop early; the sentence says at which round.
        """
        draft = self.draft_approval(
            evidence, days=days, epsilon=epsilon, rounds=rounds, anyway=anyway
        )
        return self.sign_approval(draft)

    def deny(
        self, evidence: Evidence, reason: str, *, tell_researcher: bool = False
    ) -> SignedDecision:
        """Refuse a request, with a reason that the researcher reads only if they shall.

        Untold, the researcher can't tell a refusal from a request that nobody has looked at.
        """
        plan_hash = evidence.subject
        self._vault.perform(
            owner_actions.DenyPlan(
                plan_hash=plan_hash, reason=reason, tell_researcher=tell_researcher
            )
        )
        self._close(evidence, plan_hash, reason, tell_researcher)
        return decisions.refusal("Denied", evidence, told=tell_researcher)

    def revoke(
        self, evidence: Evidence, reason: str, *, tell_researcher: bool = False
    ) -> SignedDecision:
        """Take an approval back; from now on the vault runs no round of the plan."""
        plan_hash = evidence.subject
        self._revoke(plan_hash, reason, tell_researcher)
        self._close(evidence, plan_hash, reason, tell_researcher)
        return decisions.refusal("Revoked", evidence, told=tell_researcher)

    def revoke_plan(self, plan_hash: str, reason: str) -> SignedDecision:
        """The same in the vault alone, for a plan that the front desk does not show any more."""
        self._revoke(plan_hash, reason, False)
        return SignedDecision(
            sentence=f"Revoked at {self.name}: the plan {plan_hash}. The front desk does not show "
            "it, and nobody was told."
        )

    def ask(self, evidence: Evidence, question: str) -> SignedDecision:
        """Ask the researcher something; what was decided, or not yet, stays as it is."""
        plan_hash = evidence.subject
        self._vault.perform(owner_actions.AskResearcher(plan_hash=plan_hash, reason=question))
        self._tell(lambda: self._desk.add_note(plan_hash, question))
        subject = decisions.subject(evidence)
        state = "undecided" if evidence.state is None else evidence.state.state
        stays = {
            "undecided": "The request stays undecided until you decide.",
            "in force": "The approval stays in force: `revoke` stops it.",
        }.get(state, "What was decided stays.")
        return SignedDecision(sentence=f"Asked about {subject}. {stays}")

    # Ledger and audit log

    def ledger_summary(self, asset: str) -> vault_api.LedgerSummary:
        """What the ledger says of an asset."""
        return self._vault.read(owner_actions.GetLedger(asset=asset), vault_api.LedgerSummary)

    def ledger_card(self, asset: str) -> LedgerCard:
        """The same as a card to look at, with the remarks on the asset's patients."""
        return LedgerCard(
            hospital=self.name, ledger=self.ledger_summary(asset), remarks=self.remarks(asset)
        )

    def remarks(self, asset: str) -> tuple[str, ...]:
        """What was remarked on an asset's patients when its newest version was read.

        Does not protect: the patients, whom these sentences count. They are for the owner alone.
        """
        kept = self._vault.read(owner_actions.GetRemarks(asset=asset), vault_api.CohortRemarks)
        return kept.remarks

    def log_card(self) -> LogCard:
        """What happened here, the newest first."""
        return LogCard(hospital=self.name, entries=audit_chain.entries(self.audit_log()))

    def audit_log(self) -> bytes:
        """The whole audit log, in a form that anybody can check (`syft_code.evidence.audit_chain.verify`)."""
        reply, body = self._vault.ask(owner_actions.ExportAuditLog())
        require(
            isinstance(reply, vault_api.AuditLogFile), "The vault gave no audit log.", error=Refused
        )
        return body

    def _weighed(self, evidence: Evidence) -> Evidence:
        plan = self._plan(evidence.request.plan_hash)
        return replace(
            evidence,
            plan=plan,
            ledger=self.ledger_summary(plan.hospital(self.name).asset),
            state=self._status(evidence, plan),
        )

    def _status(
        self,
        evidence: Evidence,
        plan: Plan,
        *,
        budget: Budget | None = None,
        rounds: int | None = None,
    ) -> vault_api.PlanStatus:
        """What the vault says of a plan, as it stands or under an approval with these limits."""
        question = owner_actions.GetPlanStatus(
            plan=plan.encode().decode(),
            researcher=evidence.request.researcher,
            budget=budget,
            rounds=rounds,
        )
        return self._vault.read(question, vault_api.PlanStatus)

    def _plan(self, plan_hash: str) -> Plan:
        """The plan of a request. Bytes that were no plan once are not read again."""
        refused = RefusedPlans(self._site.owner)
        known = refused.sentence(plan_hash)
        require(not known, known)
        data = self._desk.plan(plan_hash)
        require(
            canonical.sha256(data) == plan_hash,
            "The plan at the front desk is not the one that the code names: ask the researcher.",
            error=NotApproved,
        )
        try:
            return Plan.decode(data)
        except InvalidPlan as problem:
            refused.note(plan_hash, str(problem))
            raise

    def _revoke(self, plan_hash: str, reason: str, tell: bool) -> None:
        self._vault.perform(
            owner_actions.RevokePlan(plan_hash=plan_hash, reason=reason, tell_researcher=tell)
        )

    def _close(self, evidence: Evidence, plan_hash: str, reason: str, tell: bool) -> None:
        self._tell(lambda: self._session.deny(evidence.request_id, reason))
        if tell:
            self._tell(lambda: self._desk.add_note(plan_hash, reason))

    def _tell(self, tell: Callable[[], object]) -> None:
        """Tell the front desk what the vault already holds; say so if that does not work."""
        try:
            tell()
        except ConsiliumError as problem:
            raise type(problem)(
                f"Your decision is signed and in force in the vault, and the front desk was not "
                f"told: {problem} Decide the same again when it answers."
            ) from None

    def _written_policy(self) -> SitePolicy:
        try:
            text = self._site.policy.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError):
            raise InvalidInput(
                f"There must be a policy to adopt, as text in {self._site.policy}: write one, see "
                "policies/site_policy.py."
            ) from None
        return site_policy.read(text)
