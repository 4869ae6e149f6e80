"""No sequence of acts and rounds passes a budget: the vault's own mandate and ledger, at random."""

import shutil
import tempfile
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from nacl.signing import SigningKey

from datasites.data import cohort_file
from datasites.protocol import owner_actions
from datasites.vault.vault import Vault
from policies.site_policy import Budget
from syft_code.errors import ConsiliumError
from syft_code.plans.plan import Plan
from syft_code.plans.plan_parts import DpSgd
from syft_code.privacy import accounting
from syft_code.privacy.accounting import DpSgdEvent, GaussianEvent
from tests.datasites.hospitals import OneHospital, approval, cohort, policy, publication
from tests.plans import public

pytestmark = pytest.mark.thorough

STUDIES = ("a", "b", "c")
ASSETS = {"a": "skin-lesions", "b": "skin-lesions", "c": "again"}
RESEARCHERS = {"a": "alice@example.org", "b": "bob@example.org", "c": "alice@example.org"}
EPSILON = st.sampled_from([0.5, 1.0, 2.0, 3.0, 5.0])
DELTA = 1e-5
Events = list[DpSgdEvent | GaussianEvent]


class Hospital(RuleBasedStateMachine):
    """Everything that people may sign or call, in any order, with restarts between."""

    @initialize()
    def open(self) -> None:
        self.folder = Path(tempfile.mkdtemp())
        self.hospital = OneHospital(
            home=self.folder / "hospital-1", budget=Budget(epsilon=3.0, delta=DELTA)
        )
        self.second = SigningKey.generate()
        self.terms: dict[str, object] = {}
        self.budget = 3.0
        self.granted: list[tuple[str, str, int]] = []
        self.approved: dict[str, dict[str, tuple[float, int]]] = {name: {} for name in STUDIES}
        self.start()
        self.hospital.publish(self.vault)
        again = cohort_file.pack(cohort(seed=2))
        self.hospital.perform(self.vault, publication(again, asset="again"), again)
        enrol = owner_actions.EnrollApprover(name="second", verify_key=public(self.second))
        self.hospital.perform(self.vault, enrol)

    def start(self) -> None:
        self.vault = Vault(self.hospital.site)
        self.vault._worker.submit = lambda *call: None  # type: ignore[assignment, method-assign, misc]

    def teardown(self) -> None:
        if hasattr(self, "vault"):
            self.vault.close()
            shutil.rmtree(self.folder)

    def plan(self, study: str) -> Plan:
        dp = DpSgd(noise_multiplier=1.0, max_grad_norm=1.0, sample_rate=0.2, steps=6)
        plan = self.hospital.plan(study=f"study-{study}", dp_sgd=dp, rounds=4)
        entries = tuple(replace(h, asset=ASSETS[study]) for h in plan.hospitals)
        return replace(plan, hospitals=entries)

    def keys(self) -> dict[str, SigningKey]:
        return {"owner": self.hospital.owner_key, "second": self.second}

    @property
    def approvers(self) -> int:
        return int(self.terms.get("approvers", 1))  # type: ignore[call-overload]

    @rule(
        study=st.sampled_from(STUDIES),
        who=st.sampled_from(["owner", "second"]),
        epsilon=EPSILON,
        rounds=st.integers(1, 4),
    )
    def approve(self, study: str, who: str, epsilon: float, rounds: int) -> None:
        act = approval(
            self.plan(study),
            asset=ASSETS[study],
            researcher=RESEARCHERS[study],
            budget=Budget(epsilon=epsilon, delta=DELTA),
            rounds=rounds,
        )
        try:
            self.hospital.perform(self.vault, act, key=self.keys()[who])
        except ConsiliumError:
            return
        self.approved[study][who] = (epsilon, rounds)

    @rule(study=st.sampled_from(STUDIES), who=st.sampled_from(["owner", "second"]))
    def revoke(self, study: str, who: str) -> None:
        act = owner_actions.RevokePlan(plan_hash=self.plan(study).hash, reason="No.")
        self.hospital.perform(self.vault, act, key=self.keys()[who])
        self.approved[study] = {}

    @rule(
        epsilon=EPSILON,
        study=st.none() | EPSILON,
        researcher=st.none() | EPSILON,
        approvers=st.sampled_from([1, 2]),
    )
    def adopt(
        self, epsilon: float, study: float | None, researcher: float | None, approvers: int
    ) -> None:
        terms = {"study_epsilon": study, "researcher_epsilon": researcher, "approvers": approvers}
        wanted = policy(Budget(epsilon=epsilon, delta=DELTA), **terms)
        for key in list(self.keys().values())[: self.approvers]:
            self.hospital.perform(self.vault, owner_actions.AdoptPolicy(policy=wanted), key=key)
        self.terms, self.budget = terms, epsilon

    @rule()
    def restart(self) -> None:
        self.vault.close()
        self.start()

    @rule(study=st.sampled_from(STUDIES), number=st.integers(1, 4), wrong=st.booleans())
    def call(self, study: str, number: int, wrong: bool) -> None:
        plan = self.plan(study)
        purpose = "evaluate" if wrong and number == 3 else "train"
        before = self.events()
        try:
            call = self.hospital.call(plan, number, purpose)  # type: ignore[arg-type]
            self.vault.start_round(call, self.hospital.weights(plan))
        except ConsiliumError:
            assert self.events() == before, "a refusal costs nothing"
            return
        name = (study, purpose, number)
        if name not in self.granted:
            self.granted.append(name)
            self.check_grant(study)

    def check_grant(self, study: str) -> None:
        """What was granted just now stood within everything that was in force just now."""
        limits = self.approved[study]
        assert len(limits) >= self.approvers
        epsilon = min(epsilon for epsilon, _ in limits.values())
        rounds = min(rounds for _, rounds in limits.values())
        assert sum(s == study and p == "train" for s, p, _ in self.granted) <= rounds
        assert self.epsilon(study) <= epsilon
        assert self.epsilon() <= self.budget
        cap = self.terms.get("researcher_epsilon")
        theirs = [s for s in STUDIES if RESEARCHERS[s] == RESEARCHERS[study]]
        assert cap is None or self.epsilon(*theirs) <= cap  # type: ignore[operator]

    def epsilon(self, *studies: str) -> float:
        """Of what was granted to these studies, or to all: one patient is in both assets."""
        events: Events = [
            accounting.event(self.plan(study), purpose)  # type: ignore[arg-type]
            for study, purpose, _ in self.granted
            if not studies or study in studies
        ]
        return accounting.epsilon(events, delta=DELTA)

    def events(self) -> Events:
        return self.vault._db.ledger.events("skin-lesions")

    @invariant()
    def the_ledger_holds_what_was_granted_and_nothing_else(self) -> None:
        if hasattr(self, "vault"):
            assert len(self.events()) == len(self.granted)
            assert accounting.epsilon(self.events(), delta=DELTA) == self.epsilon()


TestHospital = Hospital.TestCase
TestHospital.settings = settings(
    max_examples=12,
    stateful_step_count=25,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
