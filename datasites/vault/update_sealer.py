"""One round's result on its way from the patients to sealed shares.

    cohort ─ training process ─▶ airlock ─ client update: compress ─▶ encode, shard, seal ─▶ shares

Nothing here decides whether a round may run (`authorization`) or lets shares out
(`round_executor`).
"""

import secrets
from dataclasses import dataclass

import numpy as np
from nacl.signing import SigningKey

from datasites.vault import airlock
from datasites.vault.authorization import Grant
from datasites.vault.client_state import ClientState
from datasites.vault.db.ledger import Spend
from datasites.vault.db.vault_database import VaultDatabase
from datasites.vault.release_timer import ReleaseTimer
from datasites.vault.vault_files import VaultFiles
from datasites.vault.worker.encoded_cohorts import CohortOnDisk
from datasites.vault.worker.job_messages import TrainingJob
from datasites.vault.worker.training_worker import TrainingWorker
from syft_code.arrays import Vector
from syft_code.local_training import broadcast, client_update
from syft_code.plans.messages import RoundCall, RoundStatement
from syft_code.plans.plan import Plan
from syft_code.plans.plan_parts import Engine
from syft_code.runtime import trace
from syft_code.secret_sharing import envelope, keystream
from syft_code.secret_sharing.vector_layout import VectorLayout


@dataclass(frozen=True, slots=True, kw_only=True)
class ApprovedRound:
    """A call that passed every check, with what it runs on."""

    ticket: str
    call: RoundCall
    grant: Grant
    broadcast: bytes

    @property
    def engine(self) -> Engine | None:
        """What its template must have loaded; an evaluation takes any."""
        return self.grant.plan.dp_sgd.engine if self.call.purpose == "train" else None

    @property
    def spend(self) -> Spend:
        """What the ledger keeps of it."""
        return Spend(
            asset=self.grant.asset,
            plan_hash=self.call.plan_hash,
            researcher=self.grant.researcher,
            researcher_key=self.grant.plan.researcher_key,
            purpose=self.call.purpose,
            round=self.call.round,
            weights_sha256=self.call.weights_sha256,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class SealedUpdate:
    """What a round has come to: sealed shares, and what the plan's next round starts from.

    `before` names the state that the round started from, `after` the next one; both are empty if
    the plan keeps none.
    """

    shares: list[bytes]
    before: str
    after: str


class UpdateSealer:
    """Trains or evaluates for one hospital, one round at a time, and seals what comes out."""

    def __init__(
        self,
        key: SigningKey,
        db: VaultDatabase,
        files: VaultFiles,
        worker: TrainingWorker,
    ) -> None:
        self._key = key
        self._db = db
        self._files = files
        self._worker = worker

    def make(
        self, approved: ApprovedRound, timer: ReleaseTimer, *, log_sha256: str
    ) -> SealedUpdate:
        """Train in the training process, pass the airlock, correct or compress, encode, seal.

        The shares state `log_sha256`, the hash of an entry of the log, and what its ticket says that
        the study has spent.
        """
        plan, call = approved.grant.plan, approved.call
        paid = self._db.tickets.read(approved.ticket)
        statement = RoundStatement(
            weights_sha256=call.weights_sha256,
            epsilon=paid.epsilon,
            epsilon_alone=paid.epsilon_alone,
            delta=paid.delta,
            log_sha256=log_sha256,
        )
        state = self._files.client_states.read(plan, call.purpose)
        result = self._trained(approved, state, timer)
        if call.purpose == "evaluate":
            shares = self._sealed_shares(approved, result, statement)
            return SealedUpdate(shares=shares, before="", after="")
        sent = broadcast.unpack(plan, call.purpose, np.frombuffer(approved.broadcast, "<f4"))
        update = client_update.from_result(
            plan,
            call.hospital,
            call.round,
            result,
            common=sent.control.astype(np.float64),
            kept=state.numbers,
        )
        shares = self._sealed_shares(approved, update.values, statement)
        after = "" if update.kept is None else self._files.client_states.write(update.kept)
        return SealedUpdate(shares=shares, before=state.sha256, after=after)

    def cohort(self, plan: Plan, asset: str) -> CohortOnDisk:
        """What a plan trains on here: an asset's cohort, or what the plan's front says of it.

        Raises:
            Unavailable, InvalidData, TrainingFailed: as `EncodedCohorts.of`.
        """
        digest = self._db.assets.newest(asset).cohort_sha256
        whole = CohortOnDisk(self._files.cohorts.path(digest), digest)
        return self._files.encoded.of(plan, whole)

    def _trained(self, approved: ApprovedRound, state: ClientState, timer: ReleaseTimer) -> Vector:
        """What the training process makes of a round, once it has passed the airlock."""
        plan, call = approved.grant.plan, approved.call
        cohort = self.cohort(plan, approved.grant.asset)
        job = TrainingJob(
            plan=plan.encode().decode(),
            hospital=call.hospital,
            purpose=call.purpose,
            round=call.round,
            cohort_sha256=cohort.sha256,
            threads=1,
        )
        body = approved.broadcast + state.numbers.astype("<f8").tobytes()
        with trace.span("vault: train in the worker"):
            raw = self._worker.run(
                job,
                body,
                cohort.path,
                on_step=timer.note,
                limit_s=timer.left_s,
            )
        return airlock.inspect(
            raw,
            length=VectorLayout.of(plan).result_length(call.purpose),
            bound=airlock.result_bound(plan, call.purpose),
        )

    def _sealed_shares(
        self, approved: ApprovedRound, values: Vector, statement: RoundStatement
    ) -> list[bytes]:
        plan, call = approved.grant.plan, approved.call
        airlock.check(values, bound=plan.sharing_of(call.purpose).bound)
        with trace.span("vault: shard and seal"):
            sealed = envelope.seal(
                plan,
                hospital=call.hospital,
                purpose=call.purpose,
                round_number=call.round,
                values=values,
                hospital_key=self._key,
                statement=statement,
                seeds=_fresh(envelope.scheme(plan).pieces - 1, keystream.SEED_BYTES),
                content_keys=_fresh(len(plan.aggregators), envelope.KEY_BYTES),
            )
        return [share.to_bytes() for share in sealed]


def _fresh(count: int, size_bytes: int) -> list[bytes]:
    """Strings from the operating system's generator, which nobody has used before."""
    return [secrets.token_bytes(size_bytes) for _ in range(count)]
