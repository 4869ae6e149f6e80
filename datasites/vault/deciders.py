"""Who decides at one hospital, and by which rules: the acts in force, and whose they are.

    signed act ─▶ whose key? just now? once? ─▶ enough signatures? ─▶ in force, and in the log

Nothing is believed because it was written down once: each answer is worked out from signed acts
whose signatures are checked again. What these people let run is `mandate`'s to say.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from datasites import acts, keeping
from datasites.site import Site
from datasites.vault.audit_log import AuditLog
from datasites.vault.records import ActState, KeptAct, Records
from datasites.vault.store import Store
from policies.rules import KnownParties
from policies.site_policy import SitePolicy
from syft_code.errors import ConsiliumError, InvalidMessage, NotApproved, Refused, require
from syft_code.plans import messages
from syft_code.plans.messages import NO_PART, Signed
from syft_code.plans.plan import HEX_KEY, NAME

WAIT_S = 30 * 86_400.0
"""How long a signature waits for the others that an act needs."""
NOBODY = (
    "An act must be signed by somebody who decides at this hospital: ask its owner to enrol you."
)
NO_POLICY = (
    "This hospital has no policy in force: its owner must adopt one first (policy.toml, "
    "Owner.adopt)."
)


class Deciders:
    """The owner and the approvers of one hospital, and the rules that they have put into force."""

    def __init__(self, site: Site, store: Store, *, records: Records, log: AuditLog) -> None:
        self._owner_key = keeping.read_kept(site.vault / "owner.pub").hex()
        self._store = store
        self._records = records
        self._log = log

    def approvers(self) -> dict[str, str]:
        """The keys (hex) of those who decide here, with their names; the owner first."""
        found = {self._owner_key: "owner"}
        for kept in self._records.acts("Enrolment", "Dismissal"):
            act = self.verified(kept, set(found))
            if isinstance(act, acts.Enrolment):
                found[act.verify_key] = act.name
            elif isinstance(act, acts.Dismissal):
                found.pop(act.verify_key, None)
        return found

    def ever(self) -> set[str]:
        """The keys of everybody who decides here or once did."""
        keys = {self._owner_key}
        for kept in self._records.acts("Enrolment"):
            act = self.verified(kept, keys)
            keys |= {act.verify_key} if isinstance(act, acts.Enrolment) else set()
        return keys

    def policy(self) -> SitePolicy:
        """The policy in force; raise `Refused` if none was ever adopted."""
        act = self._newest("Adoption")
        if not isinstance(act, acts.Adoption):
            raise Refused(NO_POLICY)
        return act.policy

    def public(self, refusal: ConsiliumError) -> ConsiliumError:
        """What a researcher may read of a no: the reason only if the policy lets them."""
        try:
            told = self.policy().tell_researchers
        except ConsiliumError:
            told = False
        return refusal if told else Refused(NO_PART)

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
            (kept.name, self.verified(kept, self.ever()).subject, kept.signer)
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

    def verified(self, kept: KeptAct, signers: set[str]) -> acts.Act:
        """An act as it was signed; raise `NotApproved` if what is kept was changed since."""
        try:
            require(kept.signer in signers, "", error=InvalidMessage)
            return messages.verify(acts.KINDS[kept.name], kept.signed, kept.signer)
        except InvalidMessage:
            raise NotApproved(
                f"A kept {kept.name} no longer carries its signer's signature: it was changed after "
                "it was signed. Sign it again."
            ) from None

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
                    and act.verify_key not in self.ever()
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
        return self.verified(kept[-1], self.ever()) if kept else None
