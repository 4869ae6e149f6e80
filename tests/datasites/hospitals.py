"""A vault with an owner, without a front desk: for tests of what the vault decides."""

import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from nacl.signing import SigningKey

from datasites import private_files, site
from datasites.data import cohort_file, patient_hashing
from datasites.data.cohort_file import SplitCohort
from datasites.protocol import owner_actions, vault_api
from datasites.site import Site, SiteSettings
from datasites.vault.vault import Vault
from policies.known_parties import Party
from policies.site_policy import Budget, SitePolicy
from syft_code import canonical
from syft_code.cohort import Cohort
from syft_code.local_training import local_round
from syft_code.plans import messages, traveller
from syft_code.plans.catalogue import Terms
from syft_code.plans.messages import Purpose, RoundCall, Signed, Ticket
from syft_code.plans.plan import Plan
from syft_code.runtime import durable_files
from syft_code.secret_sharing.vector_layout import VectorLayout
from tests.plans import SKIN, Keys, parties, plan, public

BUDGET = Budget(epsilon=8.0, delta=1e-5)
RESEARCHER = "alice@example.org"


def policy(budget: Budget = BUDGET, **changes: object) -> SitePolicy:
    """A policy that lets the plans of `tests.plans` through, without a release schedule, and tells why it says no."""
    own = {name: changes.pop(name) for name in ("assets", "standing") if name in changes}
    told = bool(changes.pop("tell_researchers", True))
    fields: dict[str, object] = {
        "epsilon": budget.epsilon,
        "delta": budget.delta,
        "min_noise_multiplier": 0.3,
        "min_patients": 5,
        "most_ticks": 0,
    }
    terms = Terms(**(fields | changes))  # type: ignore[arg-type]
    return SitePolicy(terms=terms, tell_researchers=told, **own)  # type: ignore[arg-type]


POLICY = policy()


def cohort(patients: int = 40, *, seed: int = 0) -> SplitCohort:
    """Drawn slices, one a patient, a quarter held out."""
    rng = np.random.default_rng(seed)
    return SplitCohort(
        cohort=Cohort(
            images=rng.integers(0, 256, (patients, 3, 16, 16), dtype=np.uint8),
            labels=rng.integers(0, 7, patients, dtype=np.uint8),
            patient=np.arange(patients, dtype=np.int32),
        ),
        held_out=np.arange(patients) % 4 == 3,
        tokens=patient_hashing.tokens([f"patient-{i}" for i in range(patients)], bytes(32)),
        split_rule="every fourth",
    )


def publication(
    body: bytes,
    *,
    patients: int = 41,
    split_rule: str = "every fourth",
    asset: str = "skin-lesions",
    **changes: float,
) -> owner_actions.PublishAsset:
    return owner_actions.PublishAsset(
        asset=asset,
        spec=SKIN,
        patients=patients,
        cohort_sha256=canonical.sha256(body),
        split_rule=split_rule,
        **changes,  # type: ignore[arg-type]
    )


def approval(agreed: Plan, **changes: object) -> owner_actions.ApprovePlan:
    fields: dict[str, object] = {
        "plan": agreed.encode().decode("ascii"),
        "code_sha256": traveller.source_sha256(agreed.hash),
        "asset": "skin-lesions",
        "asset_version": 1,
        "researcher": RESEARCHER,
        "budget": BUDGET,
        "rounds": agreed.rounds,
        "expires_unix_s": time.time() + 3600,
    }
    return owner_actions.ApprovePlan(**(fields | changes))  # type: ignore[arg-type]


def introduction(party: Party) -> owner_actions.AddParty:
    """An owner's word for a party whose words were heard."""
    return owner_actions.AddParty(party=party, words=party.words)


def signed_action(
    action: owner_actions.OwnerAction, key: SigningKey
) -> vault_api.OwnerActionRequest:
    """An action as the vault's socket takes it."""
    return vault_api.OwnerActionRequest(
        action=messages.sign(action, key), name=type(action).__name__, signer=public(key)
    )


@dataclass(kw_only=True)
class OneHospital:
    """hospital-1 of `tests.plans.plan`, with its owner's and the researcher's keys."""

    home: Path
    budget: Budget = BUDGET
    keys: Keys = field(default_factory=Keys)

    def __post_init__(self) -> None:
        settings = SiteSettings(name="hospital-1", port=1)
        self.site: Site = site.create(self.home, settings)
        key = self.site.vault / "key"
        if not key.exists():
            durable_files.write_durably(key, bytes(self.keys.hospitals[0]))
        self.owner_key = private_files.signing_key(self.site.owner / "key")

    def publish(self, vault: Vault) -> None:
        """Adopt a policy, name the other parties and hand the cohort over."""
        self.perform(vault, owner_actions.AdoptPolicy(policy=policy(self.budget)))
        self.vouch(vault, self.plan())
        body = cohort_file.pack(cohort())
        self.perform(vault, publication(body), body)

    def vouch(self, vault: Vault, agreed: Plan) -> None:
        """Name everybody on a plan's roster, in one write to the disk."""
        with vault._db.database.writing():
            for party in parties(agreed):
                self.perform(vault, introduction(party))

    def perform(
        self,
        vault: Vault,
        action: owner_actions.OwnerAction,
        body: bytes = b"",
        *,
        key: SigningKey | None = None,
    ) -> Any:
        """Sign an action as the owner, or with another key, and hand it to the vault."""
        return vault.answer(signed_action(action, key or self.owner_key), body)[0]

    def plan(self, **changes: object) -> Plan:
        return plan(self.keys, **changes)

    def weights(self, agreed: Plan, purpose: Purpose = "train") -> bytes:
        """The start weights; for a training round of SCAFFOLD then a control variate of zeros."""
        start = local_round.first_weights(agreed)
        common = bytes(4 * (VectorLayout.of(agreed).broadcast_length(purpose) - len(start)))
        return start.astype("<f4").tobytes() + common

    def call(self, agreed: Plan, number: int, purpose: Purpose = "train", **changes: str) -> Signed:
        """A round call as the researcher signs it."""
        fields: dict[str, object] = {
            "plan_hash": agreed.hash,
            "hospital": "hospital-1",
            "purpose": purpose,
            "round": number,
            "weights_sha256": canonical.sha256(self.weights(agreed, purpose)),
        }
        call = RoundCall(**(fields | changes))  # type: ignore[arg-type]
        return messages.sign(call, self.keys.researcher)

    def finished(self, vault: Vault, ticket: Ticket, *, timeout_s: float = 90.0) -> Ticket:
        """Wait for a round to end."""
        deadline = time.monotonic() + timeout_s
        while ticket.state in ("queued", "running"):
            assert time.monotonic() < deadline, "the round must end"
            time.sleep(0.05)
            ticket = vault.ticket(ticket.ticket)
        return ticket
