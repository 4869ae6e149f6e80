"""What the owner and the approvers of a hospital let happen: the acts in force, and their limits.

    signed act ─▶ whose key? just now? once? ─▶ enough signatures? ─▶ in force, and in the log
    plan hash  ─▶ approvals that still verify, or a standing one ─▶ the policy's rules ─▶ Grant

Nothing is believed because it was written down once: a grant is worked out anew for each
round, from signed acts whose signatures are checked again.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from datasites import acts, keeping
from datasites.site import Site
from datasites.vault.audit_log import AuditLog
from datasites.vault.ledger import Ledger
from datasites.vault.records import ActState, KeptAct, KeptAsset, Records
from datasites.vault.store import Store
from policies.decision import Approve, Decision
from policies.rules import Case, KnownParties, covered, forbidden, review
from policies.site_policy import Budget, SitePolicy
from syft_code import messages, traveller
from syft_code.errors import InvalidMessage, NotApproved, Refused, require
from syft_code.messages import Signed
from syft_code.plan import HEX_KEY, NAME, Plan

WAIT_S = 30 * 86_400.0
"""How long a signature waits for the others that an act needs."""
NOBODY = (
    "An act must be signed by somebody who decides at this hospital: ask its owner to enrol you."
)
NO_POLICY = (
    "This hospital has no policy in force: its owner must adopt one first (policy.toml, "
    "Owner.adopt)."
)


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


class Mandate:
    """Who may decide at one hospital, and what they have decided."""

    def __init__(
        self,
        site: Site,
        store: Store,
        *,
        verify_key: str,
        records: Records,
        ledger: Ledger,
        log: AuditLog,
    ) -> None:
        self.hospital = site.settings().name
        self._verify_key = verify_key
        self._owner_key = keeping.read_kept(site.vault / "owner.pub").hex()
        self._store = store
        self._records = records
        self._ledger = ledger
        self._log = log

    # Who decides, and under which policy

    def approvers(self) -> dict[str, str]:
        """The keys (hex) of those who decide here, with their names; the owner first."""
        found = {self._owner_key: "owner"}
        for kept in self._records.acts("Enrolment", "Dismissal"):
            act = self._verified(kept, set(found))
            if isinstance(act, acts.Enrolment):
                found[act.verify_key] = act.name
            elif isinstance(act, acts.Dismissal):
                found.pop(act.verify_key, None)
        return found

    def _ever(self) -> set[str]:
        """The keys of everybody who decides here or once did."""
        keys = {self._owner_key}
        for kept in self._records.acts("Enrolment"):
            act = self._verified(kept, keys)
            keys |= {act.verify_key} if isinstance(act, acts.Enrolment) else set()
        return keys

    def policy(self) -> SitePolicy:
        """The policy in force; raise `Refused` if none was ever adopted."""
        act = self._newest("Adoption")
        if not isinstance(act, acts.Adoption):
            raise Refused(NO_POLICY)
        return act.policy

    def known(self) -> KnownParties:
        """The parties that were named last; nobody, if none ever were."""
        act = self._newest("Trust")
        return act.parties if isinstance(act, acts.Trust) else KnownParties()

    def signatures_needed(self) -> int:
        """How many different people must sign what changes the rules, or approves."""
        act = self._newest("Adoption")
        return act.policy.terms.approvers if isinstance(act, acts.Adoption) else 1

    def waiting(self) -> list[tuple[str, str, str]]:
        """What waits for another signature: (name of the act, its subject, who has signed)."""
        return [
            (kept.name, self._verified(kept, self._ever()).subject, kept.signer)
            for kept in self._records.acts(*acts.KINDS, state="waiting")
        ]

    def authentic(self, signed: Signed, name: str, signer: str) -> acts.Act:
        """Read an act; raise `InvalidMessage` unless an approver signed it just now."""
        require(signer in self.approvers() and name in acts.KINDS, NOBODY, error=InvalidMessage)
        act = messages.verify(acts.KINDS[name], signed, signer)
        require(
            abs(time.time() - act.at_unix_s) <= acts.MAX_AGE_S,
            f"An owner's act must be at most {acts.MAX_AGE_S:.0f} s old: sign a new one.",
            error=InvalidMessage,
        )
        return act

    @contextmanager
    def deciding(self, signer: str) -> Iterator[None]:
        """One transaction in which a signer, who may have left since they were heard, decides."""
        with self._store.writing():
            require(signer in self.approvers(), NOBODY, error=InvalidMessage)
            yield

    def change_rules(self, act: acts.Rule, signer: str, signed: Signed) -> int:
        """Let a rule take force once enough have signed it; how many signatures are missing.

        When one does, signatures that waited for other rules are void: they were given under
        rules that are no longer the same.
        """
        with self.deciding(signer):
            self._check_rule(act)
            needed = self.signatures_needed()
            since = time.time() - WAIT_S
            before = self._records.waiting_signers(act.subject, since_unix_s=since)
            present = (before & set(self.approvers())) | {signer}
            missing = max(needed - len(present), 0)
            self.keep(act, signer, signed, state="waiting" if missing else "in force")
            if not missing:
                self._records.settle()
            if not missing and isinstance(act, acts.Dismissal):
                self._records.forget_approver(act.verify_key)
        return missing

    def keep(
        self, act: acts.Act, signer: str, signed: Signed, *, state: ActState = "in force"
    ) -> None:
        """Remember an act and log it, as it was signed; both or, if it was used before, neither."""
        with self._store.writing():
            self._records.remember(act, signer, signed, state=state)
            self._log.append(
                f"act: {type(act).__name__}",
                signer=signer,
                state=state,
                message=signed.message,
                signature=signed.signature,
            )

    # What may run

    def case(self, plan: Plan, researcher: str) -> Case:
        """A plan with what this hospital's records say, for the policy's rules."""
        entry = plan.hospital(self.hospital)
        return Case(
            plan=plan,
            hospital=self.hospital,
            known=self.known(),
            approvers=tuple(self.approvers()),
            spent=self._ledger.events(entry.asset, apart_from=plan.hash),
            of_researcher=self._ledger.of_researcher(entry.asset, researcher, plan.researcher_key),
            now_unix_s=time.time(),
        )

    def weigh(self, plan: Plan, researcher: str) -> Decision:
        """What the policy says to a plan before anybody decides."""
        return review(self.case(plan, researcher), self.policy())

    def approve(self, act: acts.Approval, signer: str, signed: Signed) -> int:
        """Keep one person's approval of a plan; how many signatures are missing then."""
        plan = Plan.decode(act.plan.encode("ascii"))
        with self.deciding(signer):
            asset = self._check_fits(plan, act.asset_version)
            require(
                plan.hospital(self.hospital).asset == act.asset
                and act.code_sha256 == traveller.source_sha256(plan.hash),
                "An approval must name the plan's own asset, and the code must be the plan's "
                "traveller: take both from the request.",
                error=NotApproved,
            )
            require(
                act.budget.delta <= self.policy().budget(asset.publication.asset).delta,
                "An approval's delta must be at most that of the asset's budget.",
                error=NotApproved,
            )
            self._check_policy(plan, act.researcher)
            self.keep(act, signer, signed)
            self._records.approve(plan, signer, signed)
            if self._from_approvals(plan) is None:
                present = {kept.signer for kept, _ in self._good_approvals(plan.hash)}
                return max(self.signatures_needed() - len(present), 1)
            if self._records.forget_refusal(plan.hash):
                self._log.append("refusal lifted", plan_hash=plan.hash)
            return 0

    def refuse(self, act: acts.Denial | acts.Revocation, signer: str, signed: Signed) -> None:
        """Take every approval of a plan away; one person is enough."""
        with self.deciding(signer):
            self.keep(act, signer, signed)
            self._records.refuse(act)

    def offer(self, plan: Plan) -> None:
        """Take a plan in that a standing approval covers; raise `NotApproved` for any other."""
        self._check_fits(plan, plan.hospital(self.hospital).asset_version)
        standing = self.policy().standing_for(plan.hash)
        require(
            standing is not None
            and isinstance(self.weigh(plan, standing.researcher), Approve)
            and self._records.refusal(plan.hash) is None,
            "No standing approval covers this plan: its owner will decide.",
            error=NotApproved,
        )
        with self._store.writing():
            if self._records.plan(plan.hash) is None:
                self._records.keep_plan(plan)
                self._log.append("plan taken in under a standing approval", plan_hash=plan.hash)

    def plan(self, plan_hash: str) -> Plan:
        """A plan that was approved or taken in here; raise `NotApproved` for any other."""
        plan = self._records.plan(plan_hash)
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
        refusal = self._records.refusal(plan_hash)
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

    def _from_approvals(self, plan: Plan) -> Grant | None:
        found = [
            (kept.signer, act)
            for kept, act in self._good_approvals(plan.hash)
            if time.time() < act.expires_unix_s
        ]
        if len(found) < self.signatures_needed():
            return None
        approvals = [act for _, act in found]
        same = {(a.plan, a.code_sha256, a.asset, a.asset_version, a.researcher) for a in approvals}
        require(
            len(same) == 1
            and approvals[0].plan == plan.encode().decode("ascii")
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
            signers=tuple(signer for signer, _ in found),
        )

    def _from_standing(self, plan: Plan) -> Grant | None:
        policy, entry = self.policy(), plan.hospital(self.hospital)
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
        kept = self._good_approvals(plan_hash)
        if any(act.expires_unix_s <= time.time() for _, act in kept):
            return "The approval of this plan has expired: ask the data owner."
        needed = self.signatures_needed()
        people = "person" if needed == 1 else "people"
        return (
            f"{needed} {people} must approve this plan here, and {len(kept)} did: ask the data "
            "owner."
        )

    def _good_approvals(self, plan_hash: str) -> list[tuple[KeptAct, acts.Approval]]:
        """The approvals of people who still decide here; a broken signature raises."""
        approvers, ever = self.approvers(), self._ever()
        found: list[tuple[KeptAct, acts.Approval]] = []
        for kept in self._records.approvals(plan_hash):
            act = self._verified(kept, ever)
            if kept.signer in approvers and isinstance(act, acts.Approval):
                found.append((kept, act))
        return found

    def _check_fits(self, plan: Plan, asset_version: int) -> KeptAsset:
        """The plan says of the asset what its newest publication says."""
        entry = plan.hospital(self.hospital)
        kept = self._records.asset(entry.asset)
        require(
            entry.asset_version == asset_version == kept.version,
            f"The approval is for version {asset_version} of {entry.asset}, which is now at "
            f"version {kept.version}: write the plan anew and ask for approval.",
            error=NotApproved,
        )
        require(
            entry.verify_key == self._verify_key
            and entry.patients == kept.publication.patients
            and plan.data == kept.publication.spec,
            "The plan must give this hospital's own key, and say of the asset what its publication "
            "says: write the plan from the catalogue.",
            error=NotApproved,
        )
        return kept

    def _check_policy(self, plan: Plan, researcher: str) -> None:
        refusal = forbidden(self.case(plan, researcher), self.policy())
        if refusal is not None:
            raise NotApproved(refusal.reason)

    def _check_rule(self, act: acts.Rule) -> None:
        approvers = self.approvers()
        match act:
            case acts.Adoption():
                require(
                    act.policy.terms.approvers <= len(approvers),
                    f"A policy that asks for {act.policy.terms.approvers} approvers needs as many "
                    f"people enrolled, and there are {len(approvers)}: enrol another first.",
                    error=Refused,
                )
            case acts.Enrolment():
                require(
                    NAME.fullmatch(act.name) is not None
                    and HEX_KEY.fullmatch(act.verify_key) is not None
                    and act.verify_key not in self._ever()
                    and act.name not in approvers.values(),
                    "An approver needs a name of 1 to 40 lower-case letters and a key of 64 "
                    f"hexadecimal digits, both nobody else's here; got {act.name[:40]!r} with the "
                    f"key {act.verify_key[:16]!r}…: choose another name, or check the key.",
                    error=Refused,
                )
            case acts.Dismissal():
                require(
                    act.verify_key in approvers
                    and act.verify_key != self._owner_key
                    and len(approvers) > self.signatures_needed(),
                    "Whoever leaves must be an approver beside the owner, and as many people must "
                    f"stay as the policy asks for ({self.signatures_needed()}); got the key "
                    f"{act.verify_key[:16]!r}…, and {len(approvers)} decide here: see who is "
                    "enrolled, or enrol another first.",
                    error=Refused,
                )

    def _newest(self, name: str) -> acts.Act | None:
        kept = self._records.acts(name)
        return self._verified(kept[-1], self._ever()) if kept else None

    def _verified(self, kept: KeptAct, signers: set[str]) -> acts.Act:
        """An act as it was signed; raise `NotApproved` if what is kept was changed since."""
        try:
            require(kept.signer in signers, "", error=InvalidMessage)
            return messages.verify(acts.KINDS[kept.name], kept.signed, kept.signer)
        except InvalidMessage:
            raise NotApproved(
                f"A kept {kept.name} no longer carries its signer's signature: it was changed after "
                "it was signed. Sign it again."
            ) from None
