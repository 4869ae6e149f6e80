"""Who decides at one hospital, and by which rules: the signed actions that are in force.

    signed action ─▶ known key? recent? first use? ─▶ enough signatures? ─▶ in force, and in the log

No table row is believed by itself: each answer is computed from signed actions, and their
signatures are checked again. `authorization` says what these people let run.
"""

import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager

from datasites import private_files
from datasites.protocol import owner_actions
from datasites.site import Site
from datasites.vault.db.actions import ActionState, StoredAction
from datasites.vault.db.vault_database import VaultDatabase
from policies.known_parties import Known, KnownParty, Party
from policies.site_policy import SitePolicy
from syft_code.errors import InvalidMessage, NotApproved, Refused, require
from syft_code.plans import messages
from syft_code.plans.messages import Signed
from syft_code.plans.roster import HEX_KEY, NAME

WAIT_S = 30 * 86_400.0
"""How long a signature waits for the others that an action needs."""
NOBODY = "An action must be signed by somebody who decides at this hospital: ask its owner to enroll you."
NO_POLICY = (
    "This hospital has no policy in force: its owner must adopt one first (policy.toml, "
    "Owner.adopt_policy)."
)


class ApproverRegistry:
    """The owner and the approvers of one hospital, and the rules that they have put into force."""

    def __init__(self, site: Site, db: VaultDatabase) -> None:
        self._owner_key = private_files.read_required(site.vault / "owner.pub").hex()
        self._db = db

    def approvers(self) -> dict[str, str]:
        """The keys (hex) of those who decide here, with their names; the owner first."""
        names = {self._owner_key: "owner"}
        for stored in self._db.actions.named("EnrollApprover", "RemoveApprover"):
            action = self.verified(stored, names)
            if isinstance(action, owner_actions.EnrollApprover):
                names[action.verify_key] = action.name
            elif isinstance(action, owner_actions.RemoveApprover):
                names.pop(action.verify_key, None)
        return names

    def ever(self) -> dict[str, str]:
        """The keys of all present and former approvers, the owner's among them, with their names."""
        names = {self._owner_key: "owner"}
        for stored in self._db.actions.named("EnrollApprover"):
            action = self.verified(stored, names)
            if isinstance(action, owner_actions.EnrollApprover):
                names[action.verify_key] = action.name
        return names

    def policy(self) -> SitePolicy:
        """The policy in force; raise `Refused` if none was ever adopted."""
        action = self._newest("AdoptPolicy")
        if not isinstance(action, owner_actions.AdoptPolicy):
            raise Refused(NO_POLICY)
        return action.policy

    def known(self) -> Known:
        """The parties that somebody here has vouched for and nobody has removed, oldest first."""
        names, known = self.ever(), dict[str, KnownParty]()
        for stored in self._db.actions.named("AddParty", "RemoveParty"):
            action = self.verified(stored, names)
            if isinstance(action, owner_actions.AddParty):
                known[action.party.name] = KnownParty(
                    party=action.party,
                    added_by=names[stored.signer],
                    added_at_unix_s=action.at_unix_s,
                )
            elif isinstance(action, owner_actions.RemoveParty):
                known.pop(action.name, None)
        return tuple(known.values())

    def signatures_needed(self) -> int:
        """How many different people must sign what changes the rules, or approves."""
        action = self._newest("AdoptPolicy")
        return action.policy.terms.approvers if isinstance(action, owner_actions.AdoptPolicy) else 1

    def waiting(self) -> list[tuple[str, str, str]]:
        """What waits for another signature: (name of the action, its subject, who has signed)."""
        return [
            (stored.name, self.verified(stored, self.ever()).subject, stored.signer)
            for stored in self._db.actions.named(*owner_actions.ACTIONS, state="waiting")
        ]

    def authentic(self, signed: Signed, name: str, signer: str) -> owner_actions.OwnerAction:
        """Read an action; raise `InvalidMessage` unless an approver signed it just now."""
        require(
            signer in self.approvers() and name in owner_actions.ACTIONS,
            NOBODY,
            error=InvalidMessage,
        )
        action = messages.verify(owner_actions.ACTIONS[name], signed, signer)
        require(
            abs(time.time() - action.at_unix_s) <= owner_actions.MAX_ACTION_AGE_S,
            f"An owner's action must be at most {owner_actions.MAX_ACTION_AGE_S:.0f} s old: sign a new one.",
            error=InvalidMessage,
        )
        return action

    @contextmanager
    def deciding(self, signer: str) -> Iterator[None]:
        """One transaction in which a signer, who may have left since they were heard, decides."""
        with self._db.database.writing():
            require(signer in self.approvers(), NOBODY, error=InvalidMessage)
            yield

    def change_rules(self, action: owner_actions.RuleChange, signer: str, signed: Signed) -> int:
        """Let a rule take force once enough have signed it; how many signatures are missing.

        When one does, signatures that waited for other rules are void: they were given under
        rules that are no longer the same. Parties can wait side by side.
        """
        with self.deciding(signer):
            self._check_rule(action)
            needed = self.signatures_needed()
            since = time.time() - WAIT_S
            before = self._db.actions.waiting_signers(action.subject, since_unix_s=since)
            present = (before & set(self.approvers())) | {signer}
            missing = max(needed - len(present), 0)
            self.keep(action, signer, signed, state="waiting" if missing else "in force")
            if not missing:
                alone = isinstance(action, owner_actions.AddParty | owner_actions.RemoveParty)
                self._db.actions.void_waiting(action.subject if alone else None)
            if not missing and isinstance(action, owner_actions.RemoveApprover):
                self._db.approvals.remove_signer(action.verify_key)
        return missing

    def keep(
        self,
        action: owner_actions.OwnerAction,
        signer: str,
        signed: Signed,
        *,
        state: ActionState = "in force",
    ) -> None:
        """Remember an action and log it, as it was signed; both or, if it was used before, neither."""
        with self._db.database.writing():
            self._db.actions.add(action, signer, signed, state=state)
            self._db.log.append(
                f"action: {type(action).__name__}",
                signer=signer,
                state=state,
                message=signed.message,
                signature=signed.signature,
            )

    def verified(self, stored: StoredAction, signers: Collection[str]) -> owner_actions.OwnerAction:
        """An action as it was signed; raise `NotApproved` if what is kept was changed since."""
        try:
            require(stored.signer in signers, "", error=InvalidMessage)
            return messages.verify(owner_actions.ACTIONS[stored.name], stored.signed, stored.signer)
        except InvalidMessage:
            raise NotApproved(
                f"A kept {stored.name} no longer carries its signer's signature: it was changed after "
                "it was signed. Sign it again."
            ) from None

    def _check_rule(self, action: owner_actions.RuleChange) -> None:
        approvers = self.approvers()
        match action:
            case owner_actions.AdoptPolicy():
                require(
                    action.policy.terms.approvers <= len(approvers),
                    f"A policy that asks for {action.policy.terms.approvers} approvers needs as many "
                    f"people enrolled, and there are {len(approvers)}: enroll another first.",
                    error=Refused,
                )
            case owner_actions.AddParty():
                self._check_party(action.party, action.words)
            case owner_actions.RemoveParty():
                require(
                    action.name in [one.party.name for one in self.known()],
                    f"A party that is removed must be known here, and {action.name[:40]!r} is not: "
                    "see who is with `consilium parties list`.",
                    error=Refused,
                )
            case owner_actions.EnrollApprover():
                require(
                    NAME.fullmatch(action.name) is not None
                    and HEX_KEY.fullmatch(action.verify_key) is not None
                    and action.verify_key not in self.ever()
                    and action.name not in approvers.values(),
                    "An approver needs a name of 1 to 40 lower-case letters and a key of 64 "
                    f"hexadecimal digits, both nobody else's here; got {action.name[:40]!r} with the "
                    f"key {action.verify_key[:16]!r}…: choose another name, or check the key.",
                    error=Refused,
                )
            case owner_actions.RemoveApprover():
                require(
                    action.verify_key in approvers
                    and action.verify_key != self._owner_key
                    and len(approvers) > self.signatures_needed(),
                    "An approver who is removed must be enrolled and not the owner, and as many people must "
                    f"stay as the policy asks for ({self.signatures_needed()}); got the key "
                    f"{action.verify_key[:16]!r}…, and {len(approvers)} decide here: see who is "
                    "enrolled, or enroll another first.",
                    error=Refused,
                )

    def _check_party(self, party: Party, words: str) -> None:
        """Its words were heard, and neither its name nor one of its keys is anybody's here already."""
        needed, got = len(party.words.split()), len(words.split())
        require(
            needed == got,
            f"{needed} words are needed to know {party.name}, got {got}: ask somebody at "
            f"{party.institution} to read all of them to you.",
            error=Refused,
        )
        require(
            words == party.words,
            f"The words that somebody at {party.institution} reads to you must be those of the keys "
            f"that you have for {party.name}, and are not: a word was misheard, or the keys are "
            "somebody else's. Ask a person whom you know there for all of them again.",
            error=Refused,
        )
        keys = {party.verify_key, party.seal_key} - {""}
        for one in self.known():
            require(
                one.party.name != party.name,
                f"A name must stand for one party, and {party.name} is known here already, "
                f"{'as this one' if one.party == party else 'as another institution or with other keys'}: "
                "remove that one first if it has changed.",
                error=Refused,
            )
            require(
                not keys & {one.party.verify_key, one.party.seal_key},
                f"A key must be one party's, and one of {party.name}'s is known here as "
                f"{one.party.name}'s: ask both which of them holds it.",
                error=Refused,
            )

    def _newest(self, name: str) -> owner_actions.OwnerAction | None:
        stored = self._db.actions.named(name)
        return self.verified(stored[-1], self.ever()) if stored else None
