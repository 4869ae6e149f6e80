"""Kill a vault's process at random moments, and look each time whether its folder keeps its word.

    life    start the process ─▶ owner's actions, rounds, shares by its socket ─▶ kill -9 at a moment
    after   copy the folder as the kill left it ─▶ a vault on the copy ─▶ `promises.check`
    next    the process again, on the folder itself: no repair, and what was cut runs again

The process, its training process and its socket are the real ones. The moments stand in `lives`.
A seed gives the same choices again; how long each step takes is the machine's own.

Does not protect: against a machine that loses its power. The page cache outlives a killed
    process, so what was not synced is not lost here.
"""

import itertools
import random
import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from nacl.signing import SigningKey
from numpy.typing import NDArray

from datasites.data import cohort_file, patient_hashing
from datasites.data.cohort_file import SplitCohort
from datasites.protocol import owner_actions, vault_api
from datasites.vault import vault
from syft_code.errors import ConsiliumError
from syft_code.plans.algorithms import Scaffold
from syft_code.plans.messages import Ticket
from syft_code.plans.plan import Plan
from syft_code.plans.plan_parts import Compression, DpSgd, Evaluation
from tests.datasites import promises
from tests.datasites.hospitals import (
    OneHospital,
    approval,
    cohort,
    introduction,
    policy,
    publication,
)
from tests.datasites.hospitals import signed_action as sign_act
from tests.datasites.lives import AIMS, Aim, Clock, Killed, Life, Phase, open_files
from tests.datasites.promises import ASSET, Books, Broken, Round, Told, demand
from tests.plans import parties

KILLS_OF_A_HOSPITAL = 20
"""Then another hospital begins, with an empty folder."""
ORPHAN_S = 15.0
"""A training process that outlives its vault by this much is one that was left behind. One that still
loads its libraries, on a busy machine for seconds, looks up when it has."""
PATIENTS = 40
KINDS: tuple[dict[str, Any], ...] = (
    {"algorithm": Scaffold()},
    {"compression": Compression(kept=0.5)},
    {},
)
"""What studies differ in, one after the other: two kinds keep something between their rounds."""


@dataclass(kw_only=True)
class Tally:
    """What a run of kills came to. Units: `seconds` is wall time."""

    kills: int = 0
    hospitals: int = 0
    starts: int = 0
    rounds: int = 0
    rerun: int = 0
    owner_actions: Counter[str] = field(default_factory=Counter)
    phases: Counter[str] = field(default_factory=Counter)
    aims: Counter[str] = field(default_factory=Counter)
    traces: Counter[str] = field(default_factory=Counter)
    clock: Clock = field(default_factory=Clock)
    slowest_orphan_s: float = 0.0
    seconds: float = 0.0
    broken: list[str] = field(default_factory=list)


class Hospital:
    """One hospital, from its empty folder on, with everybody who talks to its vault."""

    def __init__(self, folder: Path, rng: random.Random, tally: Tally) -> None:
        self._folder = folder
        self._rng = rng
        self._tally = tally
        self.home = folder / "home"
        self._one = OneHospital(home=self.home)
        (self._one.site.vault / "key").unlink()  # the vault makes its own
        self.told = Told(owner=self._one.owner_key, keys=self._one.keys)
        self.books = Books()
        self._life: Life
        self._orphans: dict[int, float] = {}

    def die(self, aim: Aim) -> None:
        """Live until the kill, then look whether the folder keeps what was told."""
        self._life = Life(self.home, self._folder / "process.log", self._tally.clock)
        try:
            self._life.aim(aim, self._rng)
            self._live()
        except Killed:
            pass
        finally:
            phase = self._life.end()
        self._tally.kills += 1
        self._tally.phases[phase] += 1
        self._tally.aims[aim.name] += 1
        self._watch_orphans()
        self._check()

    def leave_nothing(self) -> None:
        """Wait until no process of this hospital is left."""
        while self._orphans:
            self._watch_orphans()
            time.sleep(0.05)

    # After a kill

    def _check(self) -> None:
        copy = self._folder / "copy"
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(self.home, copy, ignore=shutil.ignore_patterns("*.sock"))
        site = replace(self._one.site, home=copy)
        found = promises.check(site, self.told)
        self.books = found.books
        self._tally.traces += found.traces

    def _watch_orphans(self) -> None:
        """Training processes keep their log open; after a kill they must end."""
        log, now = str(self._one.site.vault / vault.TRAINING_LOG), time.monotonic()
        alive = {
            int(folder.name)
            for folder in Path("/proc").iterdir()
            if folder.name.isdigit() and log in open_files(f"{folder}/fd")
        }
        self._orphans = {pid: self._orphans.get(pid, now) for pid in alive}
        slowest = max((now - since for since in self._orphans.values()), default=0.0)
        self._tally.slowest_orphan_s = max(self._tally.slowest_orphan_s, slowest)
        demand(slowest <= ORPHAN_S, f"Training processes were left behind: {sorted(alive)}.")

    # A life: acts and rounds

    def _live(self) -> None:
        told = self.told
        key = self._life.start()
        self._tally.starts += 1
        demand(told.verify_key in ("", key), "The vault has another key than before.")
        if not told.verify_key:
            told.verify_key = key
            self._take_key()
        while True:
            self._set_up()
            cut = sorted(told.called - told.released | self._half_fetched())
            for one in cut:
                self._round(one)
                self._tally.rerun += 1
            self._something()

    def _take_key(self) -> None:
        """The plans name the key that the vault made for itself."""
        seed = (self._one.site.vault / "key").read_bytes()
        keys = self._one.keys
        self._one.keys = replace(keys, hospitals=(SigningKey(seed), *keys.hospitals[1:]))

    def _half_fetched(self) -> set[Round]:
        parties = range(1, 4)
        return {
            key for key in self.told.released
            if any((key, party) not in self.told.shares for party in parties)
        }  # fmt: skip

    def _set_up(self) -> None:
        if not self.books.policy:
            self._act(owner_actions.AdoptPolicy(policy=policy()))
        for party in parties(self._plan("first"))[self.books.parties :]:
            self._act(introduction(party))
        if not self.books.version:
            self._publish()

    def _something(self) -> None:
        """What happens next: mostly a round, now and then an action of the owner."""
        what = self._rng.choices(
            (self._next_round, self._revoke, self._strike, self._publish, self._adopt),
            (60, 10, 12, 8, 10),
        )
        what[0]()

    def _act(self, action: owner_actions.OwnerAction, body: bytes = b"") -> None:
        signed = sign_act(action, self.told.owner)
        self.told.asked.add(action.action_id)
        with self._life.waiting(Phase.ACT):
            self._life.ask(signed, body)
        self.told.asked.discard(action.action_id)
        self.told.accepted.add(action.action_id)
        self.books.take(action)
        self._tally.owner_actions[type(action).__name__] += 1

    def _adopt(self) -> None:
        self._act(owner_actions.AdoptPolicy(policy=policy(min_patients=self._rng.randint(2, 9))))

    def _publish(self) -> None:
        """The next version, with half of its patients new."""
        body = cohort_file.pack(_cohort(self.books.version + 1, self._rng.randrange(2**32)))
        self._act(publication(body), body)

    def _strike(self) -> None:
        """A patient of the newest version leaves; few enough that training goes on."""
        first = self.books.version * PATIENTS // 2
        token = _tokens(first, 1 + self._rng.randrange(6))[-1]
        self._act(owner_actions.RemovePatient(token=bytes(token).hex()))

    def _revoke(self) -> None:
        """An approval is taken back; the plan's next round needs another."""
        for plan_hash in sorted(self.books.approved)[-1:]:
            self._act(owner_actions.RevokePlan(plan_hash=plan_hash, reason="consent withdrawn"))

    def _plan(self, study: str) -> Plan:
        plan = self._one.plan(
            study=study,
            rounds=3,
            dp_sgd=DpSgd(noise_multiplier=10.0, max_grad_norm=1.0, sample_rate=0.2, steps=30),
            evaluation=Evaluation(noise_multiplier=10.0, after_rounds=(1, 2, 3)),
            **KINDS[len(self.told.plans) % len(KINDS)],
        )
        own = replace(plan.hospitals[0], asset=ASSET, asset_version=max(self.books.version, 1))
        return replace(plan, hospitals=(own, *plan.hospitals[1:]))

    def _next_round(self) -> None:
        """The first round or evaluation that nobody has called, of the newest plan or a new one."""
        told = self.told
        for plan in reversed(told.plans.values()):
            if plan.hospitals[0].asset_version == self.books.version:
                for number in plan.rounds_of("train"):
                    for purpose in ("train", "evaluate"):
                        key: Round = (plan.hash, purpose, number)
                        if key not in told.called:
                            return self._round(key)
                break
        plan = self._plan(f"study-{len(told.plans)}")
        told.plans[plan.hash] = plan
        return self._round((plan.hash, "train", 1))

    def _round(self, key: Round) -> None:
        """Call a round, or one that was cut again; take its shares, once the ticket is done."""
        told, life, (plan_hash, purpose, number) = self.told, self._life, key
        plan = told.plans[plan_hash]
        if key not in told.done and plan_hash not in self.books.approved:
            self._act(approval(plan, asset_version=plan.hospitals[0].asset_version))
        call = vault_api.StartRound(call=self._one.call(plan, number, purpose))
        told.called.add(key)
        with life.waiting(Phase.CALL):
            ticket, _ = life.ask(call, self._one.weights(plan, purpose))
        told.paid.add(key)
        if self._rng.random() < 0.2:
            self._strike()
        done = self._finished(ticket)
        demand(done.state == "done", f"Round {key} has {done.state}: {done.sentence}")
        told.done[key] = done
        with life.waiting(Phase.FETCH):
            for party in range(1, len(plan.aggregators) + 1):
                _, share = life.ask(vault_api.GetShare(ticket=done.ticket, party=party))
                told.take_share(key, party, share)
        demand(promises.opens(told, key), f"The shares of {key} do not add up.")
        self._tally.rounds += 1
        life.first_round()

    def _finished(self, ticket: Ticket) -> Ticket:
        life = self._life
        with life.waiting(Phase.TRAINER):
            while ticket.state in ("queued", "running") and ticket.step == 0:
                ticket, _ = life.ask(vault_api.GetTicket(ticket=ticket.ticket))
                time.sleep(0.01)
        with life.waiting(Phase.TRAINING):
            while ticket.state in ("queued", "running"):
                ticket, _ = life.ask(vault_api.GetTicket(ticket=ticket.ticket))
                time.sleep(0.005)
        return ticket


def _tokens(first: int, count: int) -> NDArray[np.uint8]:
    return patient_hashing.tokens([f"patient-{i}" for i in range(first, first + count)], bytes(32))


def _cohort(version: int, seed: int) -> SplitCohort:
    """Version n holds the second half of the patients of version n-1, and as many new ones."""
    first = version * PATIENTS // 2
    return replace(cohort(PATIENTS, seed=seed), tokens=_tokens(first, PATIENTS))


def run(
    folder: Path, *, kills: int, seed: int, told: Callable[[Tally], None], loops: int = 2
) -> Tally:
    """Kill so many times, in loops side by side; `told` hears after each hospital."""
    tally, began = Tally(), time.monotonic()

    def loop(number: int) -> None:
        pack, mine = _dealt(random.Random(f"{seed}/{number}")), len(range(number, kills, loops))
        for first in range(0, mine, KILLS_OF_A_HOSPITAL):
            if tally.broken:
                return
            aims = list(itertools.islice(pack, min(KILLS_OF_A_HOSPITAL, mine - first)))
            rng = random.Random(f"{seed}/{number}/{first}")
            _one_hospital(folder / f"{number}-{first}", rng, aims, tally)
            tally.seconds = time.monotonic() - began
            told(tally)

    with ThreadPoolExecutor(loops) as pool:
        list(pool.map(loop, range(loops)))
    return tally


def _dealt(rng: random.Random) -> Iterator[Aim]:
    """Aims without end, each as often as it has cards."""
    pack = [aim for aim in AIMS for _ in range(aim.cards)]
    while True:
        rng.shuffle(pack)
        yield from pack


def _one_hospital(folder: Path, rng: random.Random, aims: list[Aim], tally: Tally) -> None:
    """The first kill falls into the very first start, the others where the pack says."""
    folder.mkdir(parents=True)
    hospital = Hospital(folder, rng, tally)
    tally.hospitals += 1
    kill = 0
    aims[0] = rng.choice((AIMS[0], AIMS[2]))
    try:
        for aim in aims:
            kill += 1
            hospital.die(aim)
        hospital.leave_nothing()
    except (ConsiliumError, Broken) as problem:
        where = f"{folder.name}, kill {kill} ({aims[kill - 1].name})"
        tally.broken.append(f"{where}: {type(problem).__name__}: {problem}")
        return
    shutil.rmtree(folder)


def in_words(tally: Tally) -> str:
    """What a run came to: where the kills fell, what they cut, what was kept."""
    lines = [
        f"{tally.kills} kills of {tally.hospitals} hospitals' vaults in {tally.seconds:.0f} s; "
        f"{tally.starts} starts that came to an answer; "
        f"{tally.rounds} rounds released, {tally.rerun} of them cut before and called again; "
        f"{tally.owner_actions.total()} owners' actions ({', '.join(f'{n} {k}' for k, n in tally.owner_actions.items())})",
        f"a training process outlived its vault by {tally.slowest_orphan_s:.1f} s at most",
        *_histogram("when the kill came, the vault was asked for", tally.phases),
        *_histogram("the kill was aimed at", tally.aims),
        *_histogram("what kills had cut, as their folders show", tally.traces),
        *(f"BROKEN: {sentence}" for sentence in tally.broken),
    ]
    return "\n".join(lines)


def _histogram(title: str, counts: Counter[str]) -> list[str]:
    most = max(counts.values(), default=1)
    bars = [f"  {n:5d}  {'#' * -(-30 * n // most):30}  {name}" for name, n in counts.most_common()]
    return [f"{title}:", *bars]
