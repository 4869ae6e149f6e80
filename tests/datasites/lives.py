"""One life of a vault's process: it starts, is spoken to, and is killed at a random moment.

Half of the moments are any moment of a life; the others are aimed at stretches that are short:
a trigger, then a random time. How long a stretch is on this machine is learned on the way.
"""

import contextlib
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

from datasites.protocol import vault_api
from syft_code.errors import InvalidMessage, Unavailable
from tests.datasites.promises import Broken

ROOT = Path(__file__).parents[2]
LONGEST_LIFE_S = 90.0
"""A life whose trigger never comes ends here."""


class Phase(StrEnum):
    """What the driver was waiting for."""

    IMPORTS = "start-up: before the folder is taken"
    OPENING = "start-up: folder taken, no answer yet"
    ACT = "an owner's action"
    CALL = "a round call: price, ticket, log"
    TRAINER = "the training process to start"
    TRAINING = "training, evaluating, sealing"
    FETCH = "sealed shares to be fetched"
    BETWEEN = "nothing (between requests)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Aim:
    """When a life shall end: a random part of a stretch after a trigger.

    Every 50 kills deal a pack in which it has so many `cards`. Units: `window_s` is the stretch at
    first; of a phase, a start and a life, it follows what the machine needs.
    """

    name: str
    cards: int
    window_s: float
    phase: Phase | None = None


START = "any moment of a start"
LIFE = "any moment of a life, to its first round and a little more"
WRITTEN = "shares are being written"
OPEN = "a transaction is open"
TOLD = "an owner or a researcher has just been told something"
AIMS = (
    Aim(name=START, cards=4, window_s=1.5),
    Aim(name=LIFE, cards=17, window_s=6.0),
    Aim(name="the folder is taken", cards=4, window_s=0.1, phase=Phase.OPENING),
    Aim(name="an action is under way", cards=5, window_s=0.05, phase=Phase.ACT),
    Aim(name="a call is under way", cards=4, window_s=0.1, phase=Phase.CALL),
    Aim(name="a training process starts", cards=3, window_s=3.0, phase=Phase.TRAINER),
    Aim(name="training", cards=3, window_s=0.5, phase=Phase.TRAINING),
    Aim(name=WRITTEN, cards=3, window_s=0.01),
    Aim(name="shares are being fetched", cards=2, window_s=0.01, phase=Phase.FETCH),
    Aim(name=OPEN, cards=2, window_s=0.005),
    Aim(name=TOLD, cards=3, window_s=0.02),
)


@dataclass(kw_only=True)
class Clock:
    """How long each stretch takes on this machine."""

    typical_s: dict[str, float] = field(default_factory=dict)

    def took(self, name: str, seconds: float) -> None:
        """Learn from one more stretch."""
        before = self.typical_s.get(name, seconds)
        self.typical_s[name] = 0.8 * before + 0.2 * seconds


class Killed(Exception):
    """The vault's process has been killed, as it should."""


class _Killer(threading.Thread):
    """Waits for an aim's trigger, then a random time, then kills."""

    def __init__(self, life: "Life", trigger: Callable[[], bool], delay_s: float) -> None:
        super().__init__(daemon=True)
        self._life = life
        self._trigger = trigger
        self._delay_s = delay_s
        self.phase = Phase.IMPORTS
        self.fired = False

    def run(self) -> None:
        end = time.monotonic() + LONGEST_LIFE_S
        while not self._trigger() and time.monotonic() < end:
            if self._life.process.poll() is not None:
                return
            time.sleep(0.0005)
        time.sleep(self._delay_s)
        self.phase = self._life.phase_now()
        self.fired = True
        self._life.process.send_signal(signal.SIGKILL)


class Life:
    """One process of a vault, from its start to its kill."""

    def __init__(self, home: Path, log: Path, clock: Clock) -> None:
        self.vault = home / "vault"
        self._clock = clock
        self._phase = Phase.IMPORTS
        self._before = self._sealed()
        self.began = time.monotonic()
        self._log = log
        with log.open("wb") as errors:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "datasites.vault.vault_process", "--home", str(home),
                 "--end-with-starter"],
                stdin=subprocess.DEVNULL, stdout=errors, stderr=errors, cwd=ROOT,
            )  # fmt: skip
        self._killer: _Killer | None = None
        self._lived = False
        self._answers = 0

    def aim(self, aim: Aim, rng: random.Random) -> None:
        """Let it be killed at a random part of an aim's stretch."""
        stretch_s = self._clock.typical_s.get(aim.phase or aim.name, aim.window_s)
        delay_s = rng.random() * 1.2 * stretch_s
        later = self.began + rng.random() * self._clock.typical_s.get(LIFE, 6.0)
        answers = rng.randint(1, 4)

        def trigger() -> bool:
            if aim.name == WRITTEN:
                return bool(self._sealed() - self._before)
            if aim.name == OPEN:
                return time.monotonic() > later and (self.vault / "vault.db-journal").exists()
            if aim.name == TOLD:
                return self._answers >= answers
            return aim.phase is None or self.phase_now() is aim.phase

        self._killer = _Killer(self, trigger, delay_s)
        self._killer.start()

    def phase_now(self) -> Phase:
        """What is being waited for; a start is told in two by whether the folder's lock is held."""
        if self._phase is Phase.IMPORTS and self._has_lock():
            return Phase.OPENING
        return self._phase

    @contextlib.contextmanager
    def waiting(self, phase: Phase) -> Iterator[None]:
        """Note what the driver waits for, and how long."""
        before, self._phase = self._phase, phase
        began = time.monotonic()
        yield
        self._clock.took(phase, time.monotonic() - began)
        self._phase = before

    def start(self) -> str:
        """Wait until it answers; its public key."""
        opened = time.monotonic()
        while True:
            if self.phase_now() is Phase.IMPORTS:
                opened = time.monotonic()
            with contextlib.suppress(Unavailable):
                healthy = self.ask(vault_api.GetHealth())[0]
                self._clock.took(Phase.OPENING, time.monotonic() - opened)
                self._clock.took(START, time.monotonic() - self.began)
                self._phase = Phase.BETWEEN
                return str(healthy.verify_key)
            time.sleep(0.01)

    def ask(self, request: object, body: bytes = b"") -> tuple[Any, bytes]:
        """Send one request; raise `Killed` if the kill came before the whole answer did."""
        try:
            answer = vault_api.ask(self.vault, request, body)
        except (Unavailable, InvalidMessage):
            if self._killer is not None and self._killer.fired:
                raise Killed from None
            if self.process.poll() is not None:
                raise Broken(f"The vault ended by itself: {self._log.read_text()}") from None
            raise
        self._answers += isinstance(request, vault_api.OwnerActionRequest | vault_api.StartRound)
        return answer

    def first_round(self) -> None:
        """A round is done; the first one says how long a life is."""
        if not self._lived:
            self._lived = True
            self._clock.took(LIFE, time.monotonic() - self.began)

    def end(self) -> Phase:
        """Wait for the kill, or end a process that must not go on; the phase of the kill."""
        killer = self._killer
        if killer is not None and killer.fired:
            killer.join()
        elif self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        return killer.phase if killer is not None else self._phase

    def _sealed(self) -> set[str]:
        folder = self.vault / "sealed"
        return set(os.listdir(folder)) if folder.is_dir() else set()  # noqa: PTH208 - polled

    def _has_lock(self) -> bool:
        folder = f"/proc/{self.process.pid}/fd"
        return str(self.vault / "lock") in open_files(folder)


def open_files(folder: str) -> set[str]:
    """What the descriptors of a process stand for; nothing if it has ended."""
    found = set[str]()
    with contextlib.suppress(OSError):
        for name in os.listdir(folder):  # noqa: PTH208 - polled
            with contextlib.suppress(OSError):
                found.add(os.readlink(f"{folder}/{name}"))  # noqa: PTH115 - polled
    return found
