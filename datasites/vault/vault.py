"""The vault: the process of a hospital that holds its patients.

It does what a valid call asks for, and nothing else (`vault_process` is its socket):

    front desk ─ a researcher's signed round call ─▶ grant? roster? cohort? budget? reserve!
                                                     ─▶ `round_executor` ─▶ sealed shares
    owner      ─ a signed action ─▶ `owner_service`

Guarantee: an attacker who owns the front desk can delay or refuse service, and cannot read a
    patient, approve, or spend, because every action carries a signature that the vault checks.
Does not protect: against an attacker who can read or write this process's files or memory.
"""

import logging
import threading
from dataclasses import replace

import numpy as np

from datasites import private_files
from datasites.protocol import vault_api
from datasites.site import Site
from datasites.vault.approvers import ApproverRegistry
from datasites.vault.authorization import Authorizer
from datasites.vault.db import integrity_check, ledger
from datasites.vault.db.ledger import Caps
from datasites.vault.db.vault_database import VaultDatabase
from datasites.vault.owner_service import OwnerService
from datasites.vault.round_executor import RoundExecutor
from datasites.vault.update_sealer import ApprovedRound, UpdateSealer
from datasites.vault.vault_files import VaultFiles
from datasites.vault.worker import compute_device
from datasites.vault.worker.training_worker import TrainingWorker
from syft_code import canonical
from syft_code.errors import (
    BudgetExceeded,
    ConsiliumError,
    InvalidMessage,
    NotApproved,
    Refused,
    Unavailable,
    require,
)
from syft_code.local_training import broadcast
from syft_code.plans import messages
from syft_code.plans.messages import NO_PART, PURPOSES, RoundCall, Signed, Ticket
from syft_code.plans.plan import Plan
from syft_code.privacy import accounting
from syft_code.runtime import durable_files, trace
from syft_code.runtime.encoder_files import EncoderFiles
from syft_code.secret_sharing.vector_layout import VectorLayout

LOG = logging.getLogger("consilium.vault")
TRAINING_LOG = "training.log"
"""What contained processes print: any words, and those of an error may quote patients."""


def _ticket_of(call: RoundCall) -> str:
    """The ticket of a round: the same for the same round, whatever its weights."""
    identity = canonical.encode([call.plan_hash, call.purpose, call.round])
    return canonical.sha256(identity)[:32]


def _check_broadcast(call: RoundCall, plan: Plan, body: bytes) -> None:
    """The weights, and what a plan sends after them, are the call's and can be trained on."""
    require(
        len(body) == 4 * VectorLayout.of(plan).broadcast_length(call.purpose)
        and canonical.sha256(body) == call.weights_sha256,
        "The weights must be the bytes that the call names, of the size that the recipe has, and in "
        "a training round what else the plan sends after them: upload them and call again.",
        error=InvalidMessage,
    )
    numbers = np.frombuffer(body, "<f4")
    require(
        bool(np.isfinite(numbers).all()),
        "The weights must be finite numbers: nothing was spent; call again with others.",
        error=InvalidMessage,
    )
    sent = broadcast.unpack(plan, call.purpose, numbers)
    broadcast.check(plan, call.purpose, call.round, sent)


class Vault:
    """What the vault knows and does, apart from its socket."""

    def __init__(self, site: Site) -> None:
        self._lock = private_files.lock_file(site.vault / "lock")
        durable_files.remove_unfinished(site.vault)
        settings = site.settings()
        self._name = settings.name
        self._key = private_files.signing_key(site.vault / "key")
        self._db = VaultDatabase.open(site.vault, hospital=self._name, key=self._key)
        self._approvers = ApproverRegistry(site, self._db)
        self._authorizer = Authorizer(
            self._db, self._approvers, hospital=self._name, verify_key=self.verify_key
        )
        self._limit_s, self._precision = settings.round_limit_s, settings.precision
        self.device = compute_device.choose(settings.device)
        self._worker = TrainingWorker(
            site.vault / TRAINING_LOG,
            limit_s=self._limit_s,
            processes=settings.training_processes,
            device=self.device.device,
            precision=settings.precision,
        )
        self._files = VaultFiles.open(
            site.vault, self._db, self._worker, EncoderFiles(site.encoders)
        )
        sealer = UpdateSealer(self._key, self._db, self._files, self._worker)
        self._rounds = RoundExecutor(self._db, self._files, self._authorizer, sealer, self._worker)
        self._owner_service = OwnerService(
            self._db, self._files, self._approvers, self._authorizer, self._rounds
        )
        self._reserving = threading.Lock()
        try:
            self._open()
        except ConsiliumError:
            self.close()
            raise

    def _open(self) -> None:
        """Check that nothing was taken out since the last time, and go on."""
        self._db.log.check()
        integrity_check.check(self._db)
        self._db.tickets.forget_unfinished()
        self._files.delete_unused()
        self._files.cohorts.read_ahead()
        self._db.log.append(
            "vault started",
            verify_key=self.verify_key,
            device=self.device.device,
            precision=self._precision,
        )

    @property
    def verify_key(self) -> str:
        """The hospital's Ed25519 key, public half (hex)."""
        return self._key.verify_key.encode().hex()

    def close(self) -> None:
        """End the training process; what was under way is lost and stays paid."""
        self._rounds.close()
        self._lock.close()

    def answer(self, request: object, body: bytes) -> tuple[object, bytes]:
        """Do what one request asks for; raise a `ConsiliumError` to say no."""
        match request:
            case vault_api.GetHealth():
                return vault_api.Healthy(verify_key=self.verify_key), b""
            case vault_api.StartRound():
                started = self._start_or_refuse(request.call, body)
                return self._at_end(started, request.wait_s), b""
            case vault_api.GetTicket():
                return self._at_end(self.ticket(request.ticket), request.wait_s), b""
            case vault_api.GetShare():
                return vault_api.Share(), self.share(request.ticket, request.party)
            case vault_api.OfferPlan():
                self._authorizer.offer(Plan.decode(request.plan.encode("utf-8", "replace")))
                return vault_api.Accepted(), b""
            case vault_api.GetPlanInForce():
                return vault_api.PlanInForce(in_force=self._is_in_force(request.plan_hash)), b""
            case vault_api.GetTerms():
                return self._owner_service.terms(), b""
            case vault_api.OwnerActionRequest():
                return self._owner_service.handle(request, body)
            case _:
                raise InvalidMessage("A vault answers its own kinds of request and no others.")

    def check_action(self, request: vault_api.OwnerActionRequest) -> None:
        """Raise `InvalidMessage` unless somebody who decides here signed an action just now."""
        self._approvers.authentic(request.action, request.name, request.signer)

    # What a researcher can cause, through the front desk

    def start_round(self, signed: Signed, weights: bytes) -> Ticket:
        """Check a round call, reserve its price durably, queue it, and return its ticket.

        The same call again returns the same ticket. A round that the vault's end cut short has
        none, and runs on the price that it has paid. One that failed is over: whether it fails
        can depend on its noised result, so each try would tell what only one has paid for.
        """
        with trace.span("vault: check a call"):
            call, plan = self._authentic(signed)
            _check_broadcast(call, plan, weights)
        ticket = _ticket_of(call)
        try:
            with trace.span("vault: check the cohort"):
                self._check_asset(plan, call)
                self._files.encoded.check(plan)
            with (
                self._reserving,
                trace.span("vault: grant, price, commit"),
                self._db.database.writing(),
            ):
                if self._db.ledger.is_paid(call) and self._db.tickets.has(ticket):
                    return self.ticket(ticket)
                # Read before anything is paid: a state that was changed stops the round here.
                self._files.client_states.read(plan, call.purpose)
                grant = self._authorizer.grant(call.plan_hash)
                approved = ApprovedRound(ticket=ticket, call=call, grant=grant, broadcast=weights)
                self._reserve(approved)
        except (NotApproved, BudgetExceeded, Unavailable) as refusal:
            self._note_refusal(call, str(refusal))
            raise
        self._rounds.submit(approved)
        return self.ticket(ticket)

    def broadcast_bytes(self, signed: Signed) -> int:
        """What comes with a round call; raise a `ConsiliumError` unless the plan's researcher signed it."""
        call, plan = self._authentic(signed)
        return 4 * VectorLayout.of(plan).broadcast_length(call.purpose)

    def ticket(self, ticket: str) -> Ticket:
        """How far a round is: its steps and epsilon, never a loss or a metric."""
        known = self._db.tickets.read(ticket)
        step = self._rounds.step(ticket) if known.state == "running" else None
        return known if step is None else replace(known, step=step)

    def _at_end(self, known: Ticket, wait_s: float) -> Ticket:
        """A ticket when its round is over, or as it is when the time is up."""
        if not wait_s or known.state in ("done", "failed"):
            return known
        self._rounds.wait(known.ticket, wait_s)
        return self.ticket(known.ticket)

    def share(self, ticket: str, party: int) -> bytes:
        """The sealed share of a finished round for one aggregator: the same bytes each time."""
        known = self._db.tickets.read(ticket)
        require(
            self._db.approvals.refusal(self._db.tickets.plan_of(ticket)) is None,
            NO_PART,  # taken back before this left
            error=Refused,
        )
        require(
            known.state == "done" and 1 <= party <= len(known.shares),
            "Shares can be fetched when the ticket is done, one for each aggregator from 1.",
            error=Refused,
        )
        return self._files.shares.read(known.shares[party - 1])

    def _is_in_force(self, plan_hash: str) -> bool:
        """Whether a round of a plan may run now, without the reason why not."""
        try:
            self._authorizer.grant(plan_hash)
        except ConsiliumError:
            return False
        return True

    def _start_or_refuse(self, signed: Signed, weights: bytes) -> Ticket:
        """Start a round; a researcher learns why this hospital refuses only if its policy shows it."""
        try:
            return self.start_round(signed, weights)
        except (NotApproved, BudgetExceeded, Unavailable) as refusal:
            LOG.info("refused a round: %s", refusal)
            raise self._authorizer.public(refusal) from None

    def _authentic(self, signed: Signed) -> tuple[RoundCall, Plan]:
        """A call of a plan that is known here, by the researcher that the plan names."""
        claimed = messages.claimed(RoundCall, signed)
        plan = self._authorizer.plan(claimed.plan_hash)
        call = messages.verify(RoundCall, signed, plan.researcher_key)
        entry = plan.hospital(call.hospital)
        require(
            entry.name == self._name and entry.verify_key == self.verify_key,
            "The call is for another hospital than this one: send it where its roster says.",
            error=InvalidMessage,
        )
        self._check_schedule(plan)
        require(
            call.round in plan.rounds_of(call.purpose),
            f"The plan has no round {call.round} to {call.purpose}: call one that it has.",
            error=InvalidMessage,
        )
        return call, plan

    def _check_schedule(self, plan: Plan) -> None:
        """Raise `InvalidMessage` if a round's schedule could hold this hospital's queue past its limit."""
        schedule = plan.release_schedule
        longest_s = 0.0 if schedule is None else max(map(schedule.last_s, PURPOSES))
        require(
            longest_s <= self._limit_s,
            "A round's release schedule must be over within this hospital's limit of "
            f"{self._limit_s:g} s, and takes up to {longest_s:g} s: plan shorter ticks, or fewer.",
            error=InvalidMessage,
        )

    def _check_asset(self, plan: Plan, call: RoundCall) -> None:
        """The asset's file has the bytes that its owner published; raise `NotApproved` if not.

        Raises:
            Refused: to an evaluation where the card says that nobody is held out. There would be noise
                alone in what is sent, paid for by nobody's figure, and it would count as a hospital.
        """
        asset = self._db.assets.newest(plan.hospital(self._name).asset)
        require(
            call.purpose == "train" or asset.publication.held_out,
            f"{self._name} holds no patient out, as its card in the catalogue says: it takes part in "
            "training, and in no evaluation.",
            error=Refused,
        )
        self._files.cohorts.check(asset.cohort_sha256)

    def _reserve(self, approved: ApprovedRound) -> None:
        """Price, log and ticket, in the transaction under way."""
        plan, call, spend = approved.grant.plan, approved.call, approved.spend
        price = accounting.event(plan, call.purpose)
        policy = self._approvers.policy()
        budget, cap = policy.budget(spend.asset), policy.terms.researcher_epsilon
        caps = Caps(
            of_asset=policy.budget,
            study=approved.grant.budgets,
            researcher=None if cap is None else replace(budget, epsilon=cap),
            rounds=approved.grant.rounds,
        )
        if self._db.ledger.reserve(spend, price, caps):
            self._db.log.append(integrity_check.RESERVED, **ledger.facts(spend, price))
        spent = self._db.ledger.of_study(call.plan_hash)
        ticket = Ticket(
            ticket=approved.ticket,
            purpose=call.purpose,
            round=call.round,
            state="queued",
            step=0,
            steps=plan.dp_sgd.steps if call.purpose == "train" else 1,
            epsilon=accounting.epsilon(spent, delta=budget.delta),
            epsilon_alone=accounting.epsilon_alone(spent, delta=budget.delta),
            delta=budget.delta,
        )
        self._db.tickets.open(call.plan_hash, ticket)

    def _note_refusal(self, call: RoundCall, reason: str) -> None:
        """Once for each round and reason: a call can be repeated without end."""
        facts = {
            "plan_hash": call.plan_hash,
            "purpose": call.purpose,
            "round": str(call.round),
            "reason": reason,
        }
        if not self._db.log.has("round refused", **facts):
            self._db.log.append("round refused", **facts)
