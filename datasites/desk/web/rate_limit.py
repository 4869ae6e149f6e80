"""How often somebody may try to log in: per e-mail, and all strangers together.

The first wrong tries of an e-mail are free; from then on each wrong one doubles the time
until the next, up to a quarter of an hour. All e-mails together have so many wrong tries a
minute. A try counts as wrong from its beginning until its password proved right, so that
many at once gain nothing. Whether an e-mail has an account changes nothing here.

Counts are kept in memory: a restart of the front desk forgets them. That is the owner's
way back in, and nobody else's.

Guarantee: a client that knows no password gets at most `FREE_TRIES` tries of one e-mail at once
    and one every `MAX_WAIT_S` later. Nobody is kept out for ever: who waits the time that
    the answer names, and is first, is heard, and a try that came too early adds no waiting.
    At most `MAX_WRONG_A_MINUTE` x 60 e-mails and the spared ones are remembered.
Does not protect: against a stranger who tries without end. That keeps others waiting while it
    lasts, one e-mail by its own count, all but the `spared` ones by the common count. Sessions
    that are open go on, they need no login. Addresses are not distinguished: behind a proxy
    they are all one.
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Set
from dataclasses import dataclass

from syft_code import canonical

FREE_TRIES = 5
MAX_WAIT_S = 900.0
MAX_WRONG_A_MINUTE = 30
FORGET_S = 3600.0
"""Longer than any waiting: an e-mail that nobody tried for so long begins anew."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Tries:
    """Wrong tries of one e-mail, and when the last one was."""

    wrong: int
    last_s: float

    @property
    def next_s(self) -> float:
        """When the next try may be."""
        if self.wrong < FREE_TRIES:
            return self.last_s
        doublings = min(self.wrong - FREE_TRIES, 20)
        return self.last_s + min(2.0**doublings, MAX_WAIT_S)


class LoginRateLimit:
    """The counts of one front desk; `spared` e-mails do not share the common count."""

    def __init__(
        self, *, spared: Set[str] = frozenset(), clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._spared = spared
        self._clock = clock
        self._counting = threading.Lock()
        self._tries: dict[str, _Tries] = {}  # by the e-mail's hash, the last one tried last
        self._wrong: deque[float] = deque()  # when all but the spared were tried

    def admit(self, email: str) -> float:
        """Seconds to wait; 0 if it may be tried now, and then the try is counted as wrong."""
        with self._counting:
            now_s, who = self._clock(), canonical.sha256(email.encode())
            self._forget(now_s)
            tries = self._tries.get(who, _Tries(wrong=0, last_s=now_s))
            next_s = max(tries.next_s, self._common_next_s(email, now_s))
            if next_s > now_s:
                return next_s - now_s
            self._tries.pop(who, None)
            self._tries[who] = _Tries(wrong=tries.wrong + 1, last_s=now_s)
            if email not in self._spared:
                self._wrong.append(now_s)
            return 0.0

    def succeeded(self, email: str) -> None:
        """The password of an admitted try was right: it was not a wrong one."""
        with self._counting:
            self._tries.pop(canonical.sha256(email.encode()), None)
            if email not in self._spared and self._wrong:
                self._wrong.pop()

    def __len__(self) -> int:
        """How many e-mails are remembered."""
        return len(self._tries)

    def _common_next_s(self, email: str, now_s: float) -> float:
        if email in self._spared or len(self._wrong) < MAX_WRONG_A_MINUTE:
            return now_s
        return self._wrong[0] + 60.0

    def _forget(self, now_s: float) -> None:
        while self._wrong and self._wrong[0] <= now_s - 60.0:
            self._wrong.popleft()
        while self._tries:
            oldest = next(iter(self._tries))
            if self._tries[oldest].last_s > now_s - FORGET_S:
                return
            del self._tries[oldest]
