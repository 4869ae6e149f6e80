"""What a hospital told people before its vault was killed, and whether its folder keeps it.

told     shares that came out, tickets, acts that an owner was told are accepted
folder   as the kill left it, copied ─▶ a vault starts on the copy ─▶ `check`
"""

import contextlib
import json
import sqlite3
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from nacl.signing import SigningKey
from numpy.typing import NDArray

from datasites.protocol import owner_actions
from datasites.site import Site
from datasites.vault.vault import Vault
from syft_code import canonical
from syft_code.errors import ConsiliumError, Refused
from syft_code.evidence import audit_chain
from syft_code.evidence.audit_chain import Anchor, Entry
from syft_code.plans.messages import Purpose, ShareHeader, Ticket
from syft_code.plans.plan import Plan
from syft_code.privacy import accounting
from syft_code.privacy.accounting import DpSgdEvent, GaussianEvent
from syft_code.secret_sharing import envelope
from tests import opening
from tests.datasites.hospitals import signed_action
from tests.plans import Keys

ASSET = "skin-lesions"
DELTA = 1e-5
Round = tuple[str, Purpose, int]
"""A plan's hash, a purpose and a number: what is paid for once."""


class Broken(AssertionError):
    """A promise that the vault's folder does not keep."""


def demand(holds: bool, sentence: str) -> None:
    """Raise `Broken` unless a promise is kept."""
    if not holds:
        raise Broken(sentence)


@dataclass(kw_only=True)
class Books:
    """What the actions in a log come to, worked out without the vault's records."""

    policy: bool = False
    parties: int = 0
    version: int = 0
    approved: set[str] = field(default_factory=set)
    refused: set[str] = field(default_factory=set)
    removed: set[str] = field(default_factory=set)

    def take(self, action: owner_actions.OwnerAction) -> None:
        """An action is in force."""
        match action:
            case owner_actions.AdoptPolicy():
                self.policy = True
            case owner_actions.AddParty():
                self.parties += 1
            case owner_actions.PublishAsset():
                self.version += 1
            case owner_actions.RemovePatient(token=token):
                self.removed.add(token)
            case owner_actions.ApprovePlan(plan=text):
                plan_hash = Plan.decode(text.encode()).hash
                self.approved.add(plan_hash)
                self.refused.discard(plan_hash)
            case owner_actions.RevokePlan(plan_hash=plan_hash):
                self.approved.discard(plan_hash)
                self.refused.add(plan_hash)


@dataclass(kw_only=True)
class Told:
    """All that ever came out of one hospital's socket, and what was asked of it."""

    owner: SigningKey
    keys: Keys
    verify_key: str = ""
    plans: dict[str, Plan] = field(default_factory=dict)
    called: set[Round] = field(default_factory=set)
    paid: set[Round] = field(default_factory=set)
    done: dict[Round, Ticket] = field(default_factory=dict)
    shares: dict[tuple[Round, int], bytes] = field(default_factory=dict)
    anchors: dict[tuple[Round, int], Anchor] = field(default_factory=dict)
    accepted: set[str] = field(default_factory=set)
    asked: set[str] = field(default_factory=set)
    vanished: set[str] = field(default_factory=set)

    @property
    def released(self) -> set[Round]:
        """The rounds of which something left the hospital, or of which a ticket said so."""
        return set(self.done) | {key for key, _ in self.shares}

    def take_share(self, key: Round, party: int, share: bytes) -> None:
        """A share has come out: the same bytes as before, if it did before."""
        before = self.shares.setdefault((key, party), share)
        demand(before == share, f"Share {party} of {key} has other bytes than before.")
        signed = envelope.SealedShare.from_bytes(share).header
        header = canonical.parse(ShareHeader, signed.message.encode(), what="header")
        source = f"share {party} of round {key[2]} to {key[1]}"
        self.anchors[key, party] = Anchor(sha256=header.log_sha256, source=source)


def opened(told: Told, key: Round) -> tuple[NDArray[np.float64], int]:
    """What the shares of a round hold, and its weight."""
    plan, purpose = told.plans[key[0]], key[1]
    shares = [
        envelope.SealedShare.from_bytes(told.shares[key, party])
        for party in range(1, len(plan.aggregators) + 1)
    ]
    total = opening.encoded(plan, purpose, shares, [bytes(seal) for seal in told.keys.seals])
    return envelope.read_sum(plan, purpose, total)


def opens(told: Told, key: Round) -> bool:
    """Whether all shares of a round open, and add up to a vector with the weight that is due."""
    values, weight = opened(told, key)
    due = 1 if key[1] == "evaluate" else told.plans[key[0]].hospital("hospital-1").patients
    return bool(weight == due and np.abs(values).max() > 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A folder that keeps its word: its books, and what the kill had cut."""

    books: Books
    traces: Counter[str]


def check(site: Site, told: Told) -> Found:
    """Start a vault on a copied folder, and hold everything that was told against it.

    Raises:
        Broken: naming the first promise that is not kept.
    """
    before = _files(site.vault)
    try:
        with contextlib.closing(Vault(site)) as vault:
            return _check(vault, site, told, before)
    except ConsiliumError as problem:
        raise Broken(f"{type(problem).__name__}: {problem}") from problem


def _check(vault: Vault, site: Site, told: Told, before: dict[str, int]) -> Found:
    demand(
        told.verify_key in ("", vault.verify_key),
        "The hospital must keep its key, and has another one.",
    )
    entries = _log(vault, told)
    books, traces = _acts(vault, entries, told)
    traces += _ledger(site, entries, told)
    _tickets(vault, site, told, books)
    _states(vault, entries, told)
    traces += _folder(site, before)
    return Found(books=books, traces=+traces)


def _log(vault: Vault, told: Told) -> list[Entry]:
    """The log verifies, and meets every anchor that ever left."""
    _, data = vault.answer(signed_action(owner_actions.ExportAuditLog(), told.owner), b"")
    verdict = audit_chain.verify(
        data, verify_key=vault.verify_key, anchors=list(told.anchors.values())
    )
    demand(not verdict.problems, " ".join(verdict.problems))
    return audit_chain.entries(data)


def _acts(vault: Vault, entries: Iterable[Entry], told: Told) -> tuple[Books, Counter[str]]:
    """What was accepted is in the log, and the records are what the log's acts come to."""
    books, ids, traces = Books(), set[str](), Counter[str]()
    for entry in entries:
        kind, _, name = entry.kind.partition("action: ")
        if not kind:
            message = entry.facts["message"].encode()
            action = canonical.parse(owner_actions.ACTIONS[name], message, what="owner's action")
            demand(action.action_id not in ids, f"The log has the action {action.action_id} twice.")
            ids.add(action.action_id)
            books.take(action)
    demand(told.accepted <= ids, f"The log lost an accepted act: {told.accepted - ids}")
    demand(ids <= told.accepted | told.asked, "The log has an action that nobody sent.")
    demand(not ids & told.vanished, "The log has an action now that it had not after the kill.")
    traces["an action was done, its owner not told"] += len(told.asked & ids)
    traces["an action was sent, and not done"] += len(told.asked - ids)
    told.accepted |= told.asked & ids
    told.vanished |= told.asked - ids
    told.asked.clear()
    _records(vault, books, told)
    return books, traces


def _records(vault: Vault, books: Books, told: Told) -> None:
    assets, approvals = vault._db.assets, vault._db.approvals
    demand(
        assets.removed_patients() == books.removed,
        "The patients who left are not those of the log.",
    )
    demand(assets.newest_version(ASSET) == books.version, "A version is not that of the log.")
    for plan_hash in told.plans:
        approved, refused = approvals.of_plan(plan_hash), approvals.refusal(plan_hash)
        demand(bool(approved) == (plan_hash in books.approved), "An approval is not the log's.")
        demand(
            (refused is not None) == (plan_hash in books.refused), "A revocation is not the log's."
        )
    for kept in assets.versions(ASSET):
        vault._files.cohorts.check(kept.cohort_sha256)
    actions = vault._db.actions
    demand(bool(actions.named("AdoptPolicy")) == books.policy, "No policy.")
    demand(len(actions.named("AddParty")) == books.parties, "A party is not the log's.")


def _ledger(site: Site, entries: Iterable[Entry], told: Told) -> Counter[str]:
    """What left is paid for, once, with its own event; and nothing was paid that nobody called."""
    query = "SELECT plan_hash, purpose, round, event, released FROM spent ORDER BY number"
    rows = _rows(site, query)
    spent = {(row[0], row[1], row[2]): _event(row[3]) for row in rows}
    demand(len(spent) == len(rows), "A round is charged twice.")
    reserved = [_round(entry) for entry in entries if entry.kind == "round reserved"]
    demand(reserved == list(spent), "The ledger has not the rounds of the log, in their order.")
    demand(told.released | told.paid <= set(spent), "Something left that the ledger has not.")
    demand(set(spent) <= told.called, "The ledger has a round that nobody called.")
    for (plan_hash, purpose, _), event in spent.items():
        price = accounting.event(told.plans[plan_hash], purpose)
        demand(event == price, "The ledger has another event than the round's.")
    left = accounting.epsilon([spent[key] for key in told.released], delta=DELTA)
    paid = accounting.epsilon(list(spent.values()), delta=DELTA)
    demand(paid >= left, f"Epsilon {left} has left and {paid} is in the ledger.")
    marked = {(row[0], row[1], row[2]) for row in rows if row[4]}
    logged = {_round(entry) for entry in entries if entry.kind == "round released"}
    demand(told.released <= marked == logged, "Something left that is not marked as released.")
    traces = Counter(
        {
            "a round was paid for, its researcher not told": len(set(spent) - told.paid),
            "a round was released, its researcher not told": len(marked - told.released),
            "a round was paid for, and cut": len(set(spent) - marked),
        }
    )
    told.paid |= set(spent)
    return traces


def _tickets(vault: Vault, site: Site, told: Told, books: Books) -> None:
    """What a ticket said stays so, what came out comes out again, what was cut can run again."""
    for key, ticket in told.done.items():
        demand(vault.ticket(ticket.ticket) == ticket, f"The ticket of {key} says something else.")
    for (key, party), share in told.shares.items():
        if key[0] in books.refused:
            with contextlib.suppress(Refused):
                vault.share(told.done[key].ticket, party)
                demand(False, f"Share {party} of {key} leaves, and its plan was taken back.")
            continue
        again = vault.share(told.done[key].ticket, party)
        demand(again == share, f"Share {party} of {key} has other bytes after the kill.")
    states = {state for (state,) in _rows(site, "SELECT state FROM ticket")}
    demand(states <= {"done"}, f"A vault that starts has tickets that are {states}.")


def _states(vault: Vault, entries: Iterable[Entry], told: Told) -> None:
    """A control variate is the sum of the changes that left since its plan was last taken back."""
    counted: dict[str, list[Round]] = {}
    for entry in entries:
        if entry.kind == "round released" and entry.facts["purpose"] == "train":
            key = _round(entry)
            counted.setdefault(key[0], []).append(key)
        elif entry.kind == "action: RevokePlan":
            counted.pop(json.loads(entry.facts["message"])["plan_hash"], None)
    for plan_hash, plan in told.plans.items():
        rounds = counted.get(plan_hash, [])
        fetched = all((key, party) in told.shares for key in rounds for party in (1, 2, 3))
        if plan.algorithm.kind != "scaffold" or not fetched:
            continue
        factor = plan.hospital("hospital-1").patients / plan.most_patients
        changes = [np.split(opened(told, key)[0], 2)[1] / factor for key in rounds]
        state = vault._files.client_states.read(plan, "train").numbers
        rounding = len(rounds) * 2.0**-plan.sharing.fraction_bits
        apart = np.abs(state - np.sum(changes, axis=0)).max()
        demand(apart <= rounding, f"The state of {plan.study} is not what its rounds left.")


def _folder(site: Site, before: dict[str, int]) -> Counter[str]:
    """A vault that has started keeps no file that nothing needs."""
    cohorts = _rows(site, "SELECT cohort_sha256 FROM asset")
    shares = _rows(site, "SELECT shares FROM ticket")
    needed = {f"cohorts/{digest}.safetensors" for (digest,) in cohorts}
    needed |= {
        f"client_state/{digest}" for (digest,) in _rows(site, "SELECT sha256 FROM client_state")
    }
    needed |= {f"sealed/{digest}" for (row,) in shares for digest in row.split()}
    always = {"key", "lock", "log_head", "owner.pub", "vault.db"}
    after = set(_files(site.vault)) - {"training.log", "vault.log"}
    demand(after == needed | always, f"The folder has other files: {after ^ (needed | always)}")
    spare = set(before) - after
    return Counter(
        {
            "the first start was cut before the key": int("key" not in before),
            "the first start was cut between key and tables": int(
                "key" in before and "vault.db" not in before
            ),
            "a file was half written": int(any(name.endswith(".unfinished") for name in spare)),
            "a transaction was open (hot journal)": int(before.get("vault.db-journal", 0) > 0),
            "shares were written, not released": int(_any_of("sealed/", spare)),
            "a state was written or over, and not deleted": int(_any_of("client_state/", spare)),
            "a cohort was written, no version has it": int(_any_of("cohorts/", spare)),
        }
    )


def _rows(site: Site, query: str) -> list[tuple[Any, ...]]:
    """What stands on the disk, without the vault's code between."""
    with contextlib.closing(sqlite3.connect(site.vault / "vault.db")) as database:
        return database.execute(query).fetchall()


def _any_of(folder: str, names: Iterable[str]) -> bool:
    return any(name.startswith(folder) and not name.endswith(".unfinished") for name in names)


def _files(folder: Path) -> dict[str, int]:
    """Every file below a folder, with its size in bytes."""
    found = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.stat().st_size for path in found}


def _round(entry: Entry) -> Round:
    facts = entry.facts
    purpose: Purpose = "train" if facts["purpose"] == "train" else "evaluate"
    return facts["plan_hash"], purpose, int(facts["round"])


def _event(text: str) -> DpSgdEvent | GaussianEvent:
    event: DpSgdEvent | GaussianEvent = canonical.parse(
        accounting.Event, text.encode(), what="ledger entry"
    )
    return event
