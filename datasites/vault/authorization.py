"""What may run at one hospital: the plans that its approvers let run, and within which limits.

    plan hash ─▶ approvals that still verify, or a standing one ─▶ the policy's rules ─▶ Grant

A grant is computed anew for each round, and the signatures below it are checked again: a table
that somebody changed can refuse a plan, and can't let one run.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

from datasites.protocol import owner_actions
from datasites.vault.approvers import ApproverRegistry
from datasites.vault.db.actions import StoredAction
from datasites.vault.db.assets import StoredAsset
from datasites.vault.db.vault_database import VaultDatabase
from policies.decision import Approve, Decision
from policies.forecast import Account, Forecast, forecast
from policies.rules import PolicyCase, covered, forbidden, review
from policies.site_policy import Budget
from syft_code.errors import ConsiliumError, NotApproved, Refused, require
from syft_code.plans import traveller
from syft_code.plans.messages import NO_PART, Signed
from syft_code.plans.plan import Plan


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """What the approvals of a plan come to: the strictest of their limits, all of their budgets.

    Units: `rounds` counts training rounds.
    """

    plan: Plan
    asset: str
    asset_version: int
    researcher: str
    budgets: tuple[Budget, ...]
    rounds: int
    expires_unix_s: float
    signers: tuple[str, ...]


class Authorizer:
    """What the approvers of one hospital have decided on plans."""

    def __init__(
        self,
        db: VaultDatabase,
        approvers: ApproverRegistry,
        *,
        hospital: str,
        verify_key: str,
    ) -> None:
        self._db = db
        self._approvers = approvers
        self._hospital = hospital
        self._verify_key = verify_key

    def case(self, plan: Plan, researcher: str) -> PolicyCase:
        """A plan with what this hospital's records say, for the policy's rules."""
        entry = plan.hospital(self._hospital)
        return PolicyCase(
            plan=plan,
            hospital=self._hospital,
            known=self._approvers.known(),
            approvers=tuple(self._approvers.approvers()),
            spent=self._db.ledger.events(entry.asset, apart_from=plan.hash),
            of_researcher=self._db.ledger.of_researcher(
                entry.asset, researcher, plan.researcher_key
            ),
            now_unix_s=time.time(),
        )

    def weigh(self, plan: Plan, researcher: str) -> Decision:
        """What the policy says to a plan before anybody decides."""
        return review(self.case(plan, researcher), self._approvers.policy())

    def forecast(self, inspected: owner_actions.GetPlanStatus, signer: str) -> Forecast:
        """How far a plan gets under the approvals that stand, or with one that is yet to sign."""
        plan = Plan.decode(inspected.plan.encode("utf-8", "replace"))
        proposed = inspected.rounds is not None
        standing = [
            action
            for stored, action in self._good_approvals(plan.hash)
            if time.time() < action.expires_unix_s and not (proposed and stored.signer == signer)
        ]
        budgets = [action.budget for action in standing]
        budgets += [inspected.budget] if inspected.budget else []
        rounds = [action.rounds for action in standing] + [inspected.rounds or plan.rounds]
        accounts = self._accounts(plan, inspected.researcher, budgets)
        return forecast(plan, accounts, rounds=min(rounds))

    def _accounts(self, plan: Plan, researcher: str, study: Sequence[Budget]) -> list[Account]:
        """What the ledger holds each round of a plan against, apart from the plan's own part."""
        policy, asset = self._approvers.policy(), plan.hospital(self._hospital).asset
        accounts = [
            Account(
                name=f"the budget of {name}",
                spent=self._db.ledger.events(name, apart_from=plan.hash),
                budget=policy.budget(name),
            )
            for name in self._db.ledger.sharing(asset)
        ]
        cap = policy.terms.researcher_epsilon
        if cap is not None:
            theirs = self._db.ledger.of_researcher(
                asset, researcher, plan.researcher_key, apart_from=plan.hash
            )
            budget = replace(policy.budget(asset), epsilon=cap)
            accounts.append(Account(name="one researcher's limit", spent=theirs, budget=budget))
        return accounts + [
            Account(name="the approval's limit for this study", spent=(), budget=budget)
            for budget in study
        ]

    def approve(self, action: owner_actions.ApprovePlan, signer: str, signed: Signed) -> int:
        """Keep one person's approval of a plan; how many signatures are missing then."""
        plan = Plan.decode(action.plan.encode())
        with self._approvers.deciding(signer):
            asset = self._check_fits(plan, action.asset_version)
            require(
                plan.hospital(self._hospital).asset == action.asset
                and action.code_sha256 == traveller.source_sha256(plan.hash),
                "An approval must name the plan's own asset, and the code must be the plan's "
                "traveller: take both from the request.",
                error=NotApproved,
            )
            require(
                action.budget.delta
                <= self._approvers.policy().budget(asset.publication.asset).delta,
                "An approval's delta must be at most that of the asset's budget.",
                error=NotApproved,
            )
            self._check_policy(plan, action.researcher)
            self._approvers.keep(action, signer, signed)
            self._db.approvals.approve(plan, signer, signed)
            if self._from_approvals(plan) is None:
                present = {stored.signer for stored, _ in self._good_approvals(plan.hash)}
                return max(self._approvers.signatures_needed() - len(present), 1)
            if self._db.approvals.lift_refusal(plan.hash):
                self._db.log.append("refusal lifted", plan_hash=plan.hash)
            return 0

    def refuse(
        self, action: owner_actions.DenyPlan | owner_actions.RevokePlan, signer: str, signed: Signed
    ) -> None:
        """Take every approval of a plan away; one person is enough."""
        with self._approvers.deciding(signer):
            self._approvers.keep(action, signer, signed)
            self._db.approvals.refuse(action)

    def offer(self, plan: Plan) -> None:
        """Take a plan in that a standing approval covers; raise `NotApproved` for any other."""
        self._check_fits(plan, plan.hospital(self._hospital).asset_version)
        standing = self._approvers.policy().standing_for(plan.hash)
        require(
            standing is not None
            and isinstance(self.weigh(plan, standing.researcher), Approve)
            and self._db.approvals.refusal(plan.hash) is None,
            "No standing approval covers this plan: its owner will decide.",
            error=NotApproved,
        )
        with self._db.database.writing():
            if self._db.approvals.plan(plan.hash) is None:
                self._db.approvals.keep_plan(plan)
                self._db.log.append("plan taken in under a standing approval", plan_hash=plan.hash)

    def plan(self, plan_hash: str) -> Plan:
        """A plan that was approved or taken in here; raise `NotApproved` for any other."""
        plan = self._db.approvals.plan(plan_hash)
        if plan is None:
            raise NotApproved("No data owner here has approved this plan: ask the data owner.")
        return plan

    def grant(self, plan_hash: str) -> Grant:
        """What may run of a plan now; raise `NotApproved` with the reason if nothing may.

        Guarantee: enough approvals of people who decide here verify over exactly these bytes and
            have not expired, or a standing approval covers them; no rule of the policy in force
            forbids the plan; the asset is at the approved version.
        """
        plan = self.plan(plan_hash)
        refusal = self._db.approvals.refusal(plan_hash)
        if refusal is not None:
            raise NotApproved(
                f"Talk to the data owner, who has {refusal.kind} this plan: {refusal.reason}"
            )
        grant = self._from_approvals(plan) or self._from_standing(plan)
        if grant is None:
            raise NotApproved(self._why_not_yet(plan_hash))
        self._check_fits(grant.plan, grant.asset_version)
        self._check_policy(grant.plan, grant.researcher)
        return grant

    def public(self, refusal: ConsiliumError) -> ConsiliumError:
        """What a researcher may read of a refusal: the reason only if the policy lets them."""
        try:
            shown = self._approvers.policy().tell_researchers
        except ConsiliumError:
            shown = False
        return refusal if shown else Refused(NO_PART)

    def _from_approvals(self, plan: Plan) -> Grant | None:
        valid = [
            (stored.signer, action)
            for stored, action in self._good_approvals(plan.hash)
            if time.time() < action.expires_unix_s
        ]
        if len(valid) < self._approvers.signatures_needed():
            return None
        approvals = [action for _, action in valid]
        same = {(a.plan, a.code_sha256, a.asset, a.asset_version, a.researcher) for a in approvals}
        require(
            len(same) == 1
            and approvals[0].plan == plan.encode().decode()
            and approvals[0].code_sha256 == traveller.source_sha256(plan.hash),
            "The approvals of a plan must all be for the bytes of the plan and the code that would "
            "run now, and for one researcher, and are not: approve it again.",
            error=NotApproved,
        )
        return Grant(
            plan=plan,
            asset=approvals[0].asset,
            asset_version=approvals[0].asset_version,
            researcher=approvals[0].researcher,
            budgets=tuple(a.budget for a in approvals),
            rounds=min(a.rounds for a in approvals),
            expires_unix_s=min(a.expires_unix_s for a in approvals),
            signers=tuple(signer for signer, _ in valid),
        )

    def _from_standing(self, plan: Plan) -> Grant | None:
        policy, entry = self._approvers.policy(), plan.hospital(self._hospital)
        standing = policy.standing_for(plan.hash)
        if standing is None or not covered(self.case(plan, standing.researcher), policy):
            return None
        return Grant(
            plan=plan,
            asset=entry.asset,
            asset_version=standing.asset_version,
            researcher=standing.researcher,
            budgets=(policy.budget(entry.asset),),
            rounds=standing.rounds,
            expires_unix_s=standing.expires_unix_s,
            signers=(),
        )

    def _why_not_yet(self, plan_hash: str) -> str:
        stored = self._good_approvals(plan_hash)
        if any(action.expires_unix_s <= time.time() for _, action in stored):
            return "The approval of this plan has expired: ask the data owner."
        needed = self._approvers.signatures_needed()
        people = "person" if needed == 1 else "people"
        return (
            f"{needed} {people} must approve this plan here, and {len(stored)} did: ask the data "
            "owner."
        )

    def _good_approvals(
        self, plan_hash: str
    ) -> list[tuple[StoredAction, owner_actions.ApprovePlan]]:
        """The approvals of people who still decide here; a broken signature raises."""
        approvers, ever = self._approvers.approvers(), self._approvers.ever()
        good: list[tuple[StoredAction, owner_actions.ApprovePlan]] = []
        for stored in self._db.approvals.of_plan(plan_hash):
            action = self._approvers.verified(stored, ever)
            if stored.signer in approvers and isinstance(action, owner_actions.ApprovePlan):
                good.append((stored, action))
        return good

    def _check_fits(self, plan: Plan, asset_version: int) -> StoredAsset:
        """The plan says of the asset what its newest publication says."""
        entry = plan.hospital(self._hospital)
        stored = self._db.assets.newest(entry.asset)
        require(
            entry.asset_version == asset_version == stored.version,
            f"The approval is for version {asset_version} of {entry.asset}, which is now at "
            f"version {stored.version}: write the plan anew and ask for approval.",
            error=NotApproved,
        )
        require(
            entry.verify_key == self._verify_key
            and entry.patients == stored.publication.patients
            and plan.data == stored.publication.spec,
            "The plan must give this hospital's own key, and say of the asset what its publication "
            "says: write the plan from the catalogue.",
            error=NotApproved,
        )
        return stored

    def _check_policy(self, plan: Plan, researcher: str) -> None:
        refusal = forbidden(self.case(plan, researcher), self._approvers.policy())
        if refusal is not None:
            raise NotApproved(refusal.reason)
