"""The vault: the process of a hospital that holds its patients.

It does what a valid call asks for, and nothing else (`vault_process` is its socket):

    front desk ─ a researcher's signed round call ─▶ approval? roster? budget? reserve!
                                                     ─▶ training process ─▶ airlock ─▶ shares
    owner      ─ a signed act ─▶ publish, approve, deny, revoke, ask the ledger

Guarantee: whoever owns the front desk can delay or refuse service; it cannot read a
    patient, approve, or spend, because every act carries a signature that the vault checks.
Does not protect: against whoever can read this process's files or memory.
"""

import logging
import secrets
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from datasites import acts, airlock, cohort_file, keeping, wire
from datasites.ledger import Ledger, Spend
from datasites.records import Approved, Records
from datasites.site import Site
from datasites.trainer_messages import Job
from datasites.workroom import Workroom
from policies.decision import Deny
from policies.rules import review
from syft_code import accounting, canonical, envelope, messages, sharing, traveller
from syft_code.errors import (
    ConsiliumError,
    InvalidInput,
    InvalidMessage,
    NotApproved,
    Refused,
    require,
)
from syft_code.messages import RoundCall, Signed, Ticket
from syft_code.plan import Plan
from syft_code.recipes import parameter_count

LOG = logging.getLogger("consilium.vault")
FAILED = "The round failed inside the hospital; the data owner's log says why."
"""What leaves of an error that nobody foresaw."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Round:
    """A call that passed every check, with what it runs on."""

    ticket: str
    call: RoundCall
    approved: Approved
    weights: bytes


class Vault:
    """What the vault knows and does, apart from its socket."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._held = keeping.hold(site.vault / "lock")
        self._settings = site.settings()
        self._key = keeping.signing_key(site.vault / "key")
        self._owner_key = keeping.read_kept(site.vault / "owner.pub").hex()
        self._records = Records(site.vault / "records.db")
        self._ledger = Ledger(site.vault / "ledger.db")
        self._workroom = Workroom(site.vault / "vault.log")
        self._sealed = keeping.private_folder(site.vault / "sealed")
        self._cohorts = keeping.private_folder(site.vault / "cohorts")
        self._steps: dict[str, int] = {}
        self._deciding = threading.Lock()
        self._closing = threading.Event()
        self._worker = ThreadPoolExecutor(max_workers=1, thread_name_prefix="round")
        self._records.forget_unfinished()

    @property
    def verify_key(self) -> str:
        """The hospital's Ed25519 key, public half (hex)."""
        return self._key.verify_key.encode().hex()

    def close(self) -> None:
        """End the training process; what was under way is lost and stays paid."""
        self._closing.set()
        self._workroom.close()
        self._worker.shutdown(wait=True, cancel_futures=True)
        self._held.close()

    def answer(self, request: object, body: bytes) -> tuple[object, bytes]:
        """Do what one request asks for; raise a `ConsiliumError` to say no."""
        match request:
            case wire.AskHealth():
                return wire.Healthy(verify_key=self.verify_key), b""
            case wire.StartRound():
                return self.start_round(request.call, body), b""
            case wire.AskTicket():
                return self.ticket(request.ticket), b""
            case wire.FetchShare():
                return wire.Share(), self.share(request.ticket, request.party)
            case wire.OwnerAct():
                return self._obey(request, body), b""
            case _:
                raise InvalidMessage("A vault answers its own kinds of request and no others.")

    # What a researcher can cause, through the front desk

    def start_round(self, signed: Signed, weights: bytes) -> Ticket:
        """Check a round call, reserve its price durably, queue it, and return its ticket.

        The same call again returns the same ticket. A round that the vault's end cut short has
        none, and runs on the price that it has paid. One that failed is over: whether it fails
        can depend on its noised result, so each try would tell what only one has paid for.
        """
        asked = self._checked(signed, weights)
        plan, call = asked.approved.plan, asked.call
        with self._deciding:
            price = accounting.event(plan, call.purpose)
            spend = Spend(
                asset=plan.hospital(call.hospital).asset,
                plan_hash=call.plan_hash,
                purpose=call.purpose,
                round=call.round,
                weights_sha256=call.weights_sha256,
            )
            publication = self._records.publication(spend.asset)
            caps = (asked.approved.approval.budget, publication.budget)
            new = self._ledger.reserve(spend, price, study_budget=caps[0], budget=caps[1])
            if not new and self._records.has_ticket(asked.ticket):
                return self.ticket(asked.ticket)
            self._records.open_ticket(
                call.plan_hash,
                Ticket(
                    ticket=asked.ticket,
                    purpose=call.purpose,
                    round=call.round,
                    state="queued",
                    step=0,
                    steps=plan.dp_sgd.steps if call.purpose == "train" else 1,
                    epsilon=self._ledger.study_epsilon(call.plan_hash, delta=caps[1].delta),
                    delta=caps[1].delta,
                ),
            )
            self._worker.submit(self._run, asked)
        return self.ticket(asked.ticket)

    def ticket(self, ticket: str) -> Ticket:
        """How far a round is: its steps and epsilon, never a loss or a metric."""
        known = self._records.ticket(ticket)
        return replace(known, step=self._steps.get(ticket, known.step))

    def share(self, ticket: str, party: int) -> bytes:
        """The sealed share of a finished round for one aggregator: the same bytes each time."""
        known = self._records.ticket(ticket)
        require(
            known.state == "done" and 1 <= party <= len(known.shares),
            "Shares can be fetched when the ticket is done, one for each aggregator from 1.",
            error=Refused,
        )
        return keeping.read_kept(self._sealed / known.shares[party - 1])

    def _checked(self, signed: Signed, weights: bytes) -> _Round:
        """Approval, signature, roster, round and weights of a call, in that order."""
        claimed: RoundCall = canonical.parse(
            RoundCall, signed.message.encode("ascii", "replace"), what="round call"
        )
        approved = self._records.approved(claimed.plan_hash, now_unix_s=time.time())
        plan = approved.plan
        call = messages.verify(RoundCall, signed, plan.researcher_key)
        self._check_own_place(plan, call.hospital, approved.approval.asset_version)
        _check_round(plan, call)
        require(
            len(weights) == 4 * parameter_count(plan.recipe, plan.data)
            and canonical.sha256(weights) == call.weights_sha256,
            "The weights must be the bytes that the call names, of the size that the recipe has: "
            "upload them and call again.",
            error=InvalidMessage,
        )
        require(
            bool(np.isfinite(np.frombuffer(weights, "<f4")).all()),
            "The weights must be finite numbers: nothing was spent; call again with others.",
            error=InvalidMessage,
        )
        ticket = canonical.sha256(canonical.encode([call.plan_hash, call.purpose, call.round]))
        return _Round(ticket=ticket[:32], call=call, approved=approved, weights=weights)

    def _check_own_place(self, plan: Plan, hospital: str, asset_version: int) -> None:
        """The roster names this hospital with this key, and the asset as it is now."""
        entry = plan.hospital(hospital)
        require(
            entry.name == self._settings.name and entry.verify_key == self.verify_key,
            "The call is for another hospital than this one: send it where its roster says.",
            error=InvalidMessage,
        )
        newest = self._records.newest_version(entry.asset)
        require(
            entry.asset_version == asset_version == newest,
            f"The approval is for version {asset_version} of {entry.asset}, which is now at "
            f"version {newest}: write the plan anew and ask for approval.",
            error=NotApproved,
        )

    # The round itself, on a thread of its own

    def _run(self, asked: _Round) -> None:
        """Train or evaluate, and leave sealed shares or a sentence behind.

        The approval is looked up anew: it may have been revoked while the round was queued.
        """
        ticket = asked.ticket
        self._records.set_state(ticket, "running")
        try:
            self._records.approved(asked.call.plan_hash, now_unix_s=time.time())
            shares = self._shares(asked)
        except ConsiliumError as problem:
            LOG.warning("round %s failed: %s", ticket, problem)
            self._fail(ticket, FAILED if isinstance(problem, InvalidInput) else str(problem))
        except Exception:
            LOG.exception("round %s failed", ticket)
            self._fail(ticket, FAILED)
        else:
            hashes = tuple(canonical.sha256(share) for share in shares)
            for name, share in zip(hashes, shares, strict=True):
                keeping.write_private(self._sealed / name, share)
            self._records.set_state(ticket, "done", shares=hashes)
        finally:
            self._steps.pop(ticket, None)

    def _fail(self, ticket: str, sentence: str) -> None:
        """Say why a round failed; one that is cut by the vault's own end stays unfinished."""
        if not self._closing.is_set():
            self._records.set_state(ticket, "failed", sentence=sentence)

    def _shares(self, asked: _Round) -> list[bytes]:
        """Train in the training process, pass the airlock, encode, shard, seal."""
        plan, call = asked.approved.plan, asked.call
        entry = plan.hospital(call.hospital)
        weight = float(entry.patients) if call.purpose == "train" else 1.0
        job = Job(
            plan=asked.approved.approval.plan,
            hospital=call.hospital,
            purpose=call.purpose,
            cohort_path=str(self._cohort_path(entry.asset, entry.asset_version)),
            threads=1,
        )
        raw = self._workroom.run(
            job, asked.weights, on_step=lambda step: self._steps.update({asked.ticket: step})
        )
        length = envelope.vector_length(plan, call.purpose) - 1
        vector = airlock.inspect(raw, length=length, bound=plan.sharing.bound / weight)
        weighted = np.append(vector * weight, weight)
        encoded = sharing.encode(weighted, plan.sharing, hospitals=len(plan.hospitals))
        sealed = envelope.seal(
            plan,
            hospital=call.hospital,
            purpose=call.purpose,
            round_number=call.round,
            encoded=encoded,
            hospital_key=self._key,
            seeds=[secrets.token_bytes(sharing.SEED_BYTES) for _ in plan.aggregators[1:]],
        )
        return [share.to_bytes() for share in sealed]

    # What the owner can cause

    def _obey(self, request: wire.OwnerAct, body: bytes) -> object:
        """Check that the owner signed an act, just now and for the first time; then do it."""
        kind: Callable[..., acts.Act] = getattr(acts, request.name)
        act = messages.verify(kind, request.act, self._owner_key)  # type: ignore[arg-type]
        require(
            abs(time.time() - act.at_unix_s) <= acts.MAX_AGE_S,
            f"An owner's act must be at most {acts.MAX_AGE_S:.0f} s old: sign a new one.",
            error=InvalidMessage,
        )
        match act:
            case acts.Publication():
                return self._publish(act, request.act, body)
            case acts.Approval():
                return self._approve(act, request.act)
            case acts.Trust():
                self._records.remember(act, request.act)
                return wire.Accepted()
            case acts.Inquiry():
                return self._account(act)
            case _:
                self._records.remember(act, request.act)
                self._records.withdraw(act)
                return wire.Accepted()

    def _publish(self, act: acts.Publication, signed: Signed, body: bytes) -> wire.Accepted:
        """Check a cohort, keep it, then give it its version: all of it or nothing."""
        require(
            canonical.sha256(body) == act.cohort_sha256,
            "The cohort must be the bytes that the publication names: publish it again.",
            error=InvalidMessage,
        )
        cohort_file.unpack(body, act.spec)
        with self._deciding:
            version = self._records.newest_version(act.asset) + 1
            self._check_split(act, version)
            self._records.remember(act, signed)
            keeping.write_private(self._cohort_path(act.asset, version), body)
            return wire.Accepted(version=self._records.publish(act))

    def _check_split(self, act: acts.Publication, version: int) -> None:
        """No version may move a patient to the other group: groups are paid for in parallel."""
        if version == 1:
            return
        before = self._records.publication(act.asset)
        require(
            (act.split_rule, act.spec.patient_unit)
            == (before.split_rule, before.spec.patient_unit),
            f"A new version of {act.asset} must hold patients out by the rule of the one before "
            "(the same salt, fraction and unit): split it as before, or publish it under "
            "another name if its patients are others.",
            error=Refused,
        )

    def _approve(self, act: acts.Approval, signed: Signed) -> wire.Accepted:
        """Check that the approval fits this hospital, its asset and its policy; then keep it."""
        plan = Plan.decode(act.plan.encode("ascii"))
        self._check_own_place(plan, self._settings.name, act.asset_version)
        publication = self._records.publication(act.asset, act.asset_version)
        entry = plan.hospital(self._settings.name)
        require(
            entry.asset == act.asset
            and entry.patients == publication.patients
            and plan.data == publication.spec
            and act.code_sha256 == traveller.source_sha256(plan.hash),
            "The plan must say of the asset what its publication says, and the code must be the "
            "plan's traveller: ask the researcher to write the plan from the catalogue.",
            error=NotApproved,
        )
        decision = review(
            plan,
            hospital=self._settings.name,
            policy=self._settings.policy,
            known=self._records.known_parties(),
            spent=self._ledger.events(act.asset),
        )
        if isinstance(decision, Deny):
            raise NotApproved(decision.reason)
        self._records.remember(act, signed)
        self._records.approve(act, plan)
        return wire.Accepted()

    def _account(self, act: acts.Inquiry) -> wire.Account:
        budget = self._records.publication(act.asset).budget
        events = self._ledger.events(act.asset)
        return wire.Account(
            asset=act.asset,
            spent_epsilon=accounting.epsilon(events, delta=budget.delta),
            budget_epsilon=budget.epsilon,
            delta=budget.delta,
            events=tuple(canonical.encode(event).decode("ascii") for event in events),
            approved=self._records.standing(act.asset, now_unix_s=time.time()),
        )

    def _cohort_path(self, asset: str, version: int) -> Path:
        return self._cohorts / f"{asset}.{version}.safetensors"


def _check_round(plan: Plan, call: RoundCall) -> None:
    """The plan has such a round."""
    require(
        call.round in plan.rounds_of(call.purpose),
        f"The approved plan has no round {call.round} to {call.purpose}: call one that it has.",
        error=NotApproved,
    )
