"""The data owner's desk: publish, look at requests, approve, deny, revoke, ask the ledger.

Runs on the owner's machine beside the vault, in a notebook or a command. A decision is
signed with the owner's key for the vault, and told to PySyft for the researcher; the
vault acts on the signature alone.
"""

import secrets
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from datasites import acts, cohort_file, keeping, partition, stand_ins, wire
from datasites.blobs import Blobs
from datasites.cohort_file import SplitCohort
from datasites.evidence import Evidence, Statement
from datasites.readers import Reading
from datasites.server import CodeRequest, OwnerSession
from datasites.site import Site
from policies.rules import KnownParties, review
from syft_code import accounting, canonical, messages, traveller
from syft_code.accounting import Event
from syft_code.catalogue import AssetCard
from syft_code.errors import ConsiliumError, InvalidData, NotApproved, Refused, require
from syft_code.plan import Plan
from syft_code.recipes import DataSpec

HELD_OUT = 0.2
"""Part of the patients that no training sees, unless the owner says otherwise."""
FEW_PATIENTS = 10
MOCK_SLICES = 32
APPROVAL_DAYS = 30.0


class Owner:
    """One hospital's data owner."""

    def __init__(self, home: Path) -> None:
        self._site = Site(home.resolve())
        self.settings = self._site.settings()
        self.name = self.settings.name
        self._key = keeping.signing_key(self._site.owner / "key")
        self._session = OwnerSession(self._site)

    def invite(self, email: str) -> str:
        """Make a researcher's account at the front desk, and return its random password."""
        password = secrets.token_urlsafe(24)
        self._session.invite(email, password)
        return password

    @property
    def verify_key(self) -> str:
        """The hospital's own key (hex), to be made known to the others."""
        healthy, _ = wire.ask(self._site.vault, wire.AskHealth())
        return str(healthy.verify_key)

    def trust(self, parties: KnownParties) -> None:
        """Name the hospitals and aggregators that this hospital works with.

        Take their keys from the parties themselves, never from a plan: a plan that names any
        other is refused.
        """
        self._act(acts.Trust(parties=parties))
        keeping.write_private(self._site.owner / "known.json", canonical.encode(parties))

    def split(
        self,
        reading: Reading,
        *,
        chosen: NDArray[np.bool_] | None = None,
        held_out: float | None = None,
    ) -> SplitCohort:
        """Pick this hospital's patients out of a reading and hold some out, each for itself.

        `chosen` (bool `[patients]`) are the hospital's patients, all unless told. With fewer
        than `FEW_PATIENTS` nobody is held out unless `held_out` says so, and evaluations
        of this hospital then count nobody. A later version must be split with the fraction of
        the first, however many patients it has: say `held_out` then.
        """
        picked = np.ones(len(reading.patient_ids), np.bool_) if chosen is None else chosen
        ids = [name for name, mine in zip(reading.patient_ids, picked, strict=True) if mine]
        require(
            bool(ids),
            f"{self.name} must have at least one patient, and the data leaves it none: use fewer "
            "hospitals or more data.",
            error=InvalidData,
        )
        part = held_out if held_out is not None else HELD_OUT if len(ids) >= FEW_PATIENTS else 0.0
        salt = self._split_salt()
        return SplitCohort(
            cohort=reading.cohort.select(picked),
            held_out=partition.held_out(ids, part, salt),
            split_rule=partition.rule(part, salt),
        )

    def publish(
        self,
        split: SplitCohort,
        *,
        spec: DataSpec,
        asset: str,
    ) -> AssetCard:
        """Hand a cohort to the vault and show its card and a mock in the catalogue.

        Publishing again under the same name makes the next version; what was spent on the
        patients stays spent. The number of training patients is declared in public, rounded
        down to two digits.

        Does not protect: patients who are published under two names. The ledger counts per
            asset, so they then have two budgets.
        """
        body = cohort_file.pack(split)
        patients = declared(int((~split.held_out).sum()))
        publication = acts.Publication(
            asset=asset,
            spec=spec,
            patients=patients,
            cohort_sha256=canonical.sha256(body),
            split_rule=split.split_rule,
            budget=self.settings.policy.budget,
        )
        accepted = self._act(publication, body)
        card = self._card(publication, accepted.version, held_out=bool(split.held_out.any()))
        mock = stand_ins.mock(spec, seed=accepted.version, slices=MOCK_SLICES)
        self._session.publish(
            card, {"images": mock.images, "labels": mock.labels, "patient": mock.patient}
        )
        return card

    def requests(self) -> list[Evidence]:
        """Every code request with what there is to know about it, oldest first."""
        return [self._evidence(request) for request in self._session.requests()]

    def approve(
        self, evidence: Evidence, *, days: float = APPROVAL_DAYS, epsilon: float | None = None
    ) -> None:
        """Let a plan run: sign for the vault, then tell PySyft.

        `epsilon` caps this study; without it, the asset's whole budget does.

        Raises:
            NotApproved: if the site's policy forbids it, or there is no plan to approve.
        """
        plan = evidence.plan
        if plan is None:
            raise NotApproved(f"This request can't be approved: {evidence.problem}")
        entry = plan.hospital(self.name)
        budget = self.settings.policy.budget
        approval = acts.Approval(
            plan=plan.encode().decode("ascii"),
            code_sha256=traveller.source_sha256(plan.hash),
            asset=entry.asset,
            asset_version=entry.asset_version,
            budget=budget if epsilon is None else replace(budget, epsilon=epsilon),
            expires_unix_s=time.time() + days * 86_400,
        )
        self._act(approval)
        self._session.approve(evidence.request_id)

    def deny(self, evidence: Evidence, reason: str) -> None:
        """Refuse a request, with a reason that the researcher reads."""
        plan_hash = evidence.request.plan_hash  # of the code: a plan can be deleted at the desk
        self._act(acts.Denial(plan_hash=plan_hash, reason=reason))
        self._session.deny(evidence.request_id, reason)

    def revoke(self, evidence: Evidence, reason: str) -> None:
        """Take an approval back; from now on the vault runs no round of the plan."""
        self.revoke_plan(evidence.request.plan_hash, reason)
        self._session.deny(evidence.request_id, reason)

    def revoke_plan(self, plan_hash: str, reason: str) -> None:
        """The same in the vault alone, for a plan that the front desk does not show any more."""
        self._act(acts.Revocation(plan_hash=plan_hash, reason=reason))

    def account(self, asset: str) -> wire.Account:
        """What the ledger says of an asset."""
        account = self._ask(acts.Inquiry(asset=asset))
        if not isinstance(account, wire.Account):
            raise Refused("The vault gave no account of this asset.")
        return account

    def statement(self, asset: str) -> Statement:
        """The same as a card to look at."""
        return Statement(hospital=self.name, account=self.account(asset))

    def _evidence(self, request: CodeRequest) -> Evidence:
        """Read the request's plan and weigh it; what is wrong with it becomes a sentence."""
        try:
            return self._weighed(request)
        except ConsiliumError as problem:
            return Evidence(request=request, hospital=self.name, problem=str(problem))

    def _weighed(self, request: CodeRequest) -> Evidence:
        plan = self._plan(request.plan_hash)
        account = self.account(plan.hospital(self.name).asset)
        spent = [
            canonical.parse(Event, text.encode("ascii"), what="ledger entry")
            for text in account.events
        ]
        policy = self.settings.policy
        whole = accounting.plan_events(plan)
        return Evidence(
            request=request,
            hospital=self.name,
            plan=plan,
            decision=review(
                plan, hospital=self.name, policy=policy, known=self._known(), spent=spent
            ),
            study_epsilon=accounting.epsilon(whole, delta=account.delta),
            after_epsilon=accounting.epsilon([*spent, *whole], delta=account.delta),
            account=account,
        )

    def _plan(self, plan_hash: str) -> Plan:
        data = Blobs(self._site.desk / "blobs").path(plan_hash).read_bytes()
        plan = Plan.decode(data)
        require(
            plan.hash == plan_hash,
            "The plan at the front desk is not the one that the code names: ask the researcher.",
            error=NotApproved,
        )
        return plan

    def _known(self) -> KnownParties:
        path = self._site.owner / "known.json"
        if not path.exists():
            return KnownParties()
        known: KnownParties = canonical.parse(
            KnownParties, keeping.read_kept(path), what="list of known parties"
        )
        return known

    def _split_salt(self) -> bytes:
        path = self._site.owner / "split_salt"
        if not path.exists():
            keeping.write_private(path, secrets.token_bytes(32))
        return keeping.read_kept(path)

    def _card(self, publication: acts.Publication, version: int, *, held_out: bool) -> AssetCard:
        policy = self.settings.policy
        return AssetCard(
            hospital=self.name,
            verify_key=self.verify_key,
            asset=publication.asset,
            version=version,
            patients=publication.patients,
            held_out=held_out,
            spec=publication.spec,
            budget_epsilon=policy.budget.epsilon,
            delta=policy.budget.delta,
            min_hospitals=policy.min_hospitals,
            min_noise_multiplier=policy.min_noise_multiplier,
            min_patients=policy.min_patients,
        )

    def _act(self, act: acts.Act, body: bytes = b"") -> wire.Accepted:
        reply = self._ask(act, body)
        if not isinstance(reply, wire.Accepted):
            raise Refused("The vault did not accept the act.")
        return reply

    def _ask(self, act: acts.Act, body: bytes = b"") -> object:
        signed = messages.sign(act, self._key)
        request = wire.OwnerAct(act=signed, name=type(act).__name__)  # type: ignore[arg-type]
        reply, _ = wire.ask(self._site.vault, request, body)
        return reply


def declared(patients: int) -> int:
    """The number of training patients that is told to the public: two digits, rounded down.

    >>> declared(7), declared(176), declared(2527)
    (7, 170, 2500)
    """
    unit: int = 10 ** max(len(str(patients)) - 2, 0)
    return patients // unit * unit
