"""A second accountant's word on an epsilon: Opacus where it is quick, else Rényi DP.

    events ─▶ PRV of Opacus (numerical, other code by other people)   few kinds of steps, epsilon ≤ 20
           └▶ RDP of dp_accounting (an analytic bound, looser)        everything else

PRV takes minutes for many different noise multipliers, and its domain ends before a large epsilon
does. Opacus takes seconds to import, so this file imports it when it asks it.

Source: Gopi, Lee & Wutschitz 2021, "Numerical composition of differential privacy", as Opacus
implements it; Mironov, Talwar & Zhang 2019 for RDP.
"""

import functools
import importlib
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from syft_code.privacy import accounting
from syft_code.privacy.accounting import DpSgdEvent, GaussianEvent
from syft_code.privacy.loss_distributions import Releases

MOST_EPSILON, MOST_KINDS, MOST_STEPS = 20.0, 8, 100_000
"""Up to here PRV answers in a second or two."""
PRV_ERROR = 0.01
"""Of what PRV may be off by: this part of the epsilon, and never more than this."""
PRV_TOLERANCE = 0.03
"""PRV and PLD may lie apart by this part of an epsilon: each rounds up on a grid of its own."""
RDP_TOLERANCE = 0.25
"""RDP may lie above PLD by this part of an epsilon, and 0.1: it is a looser bound."""

Method = Literal["prv", "rdp"]
NAMES: dict[Method, str] = {
    "prv": "Opacus, privacy random variables (PRV)",
    "rdp": "dp_accounting, Rényi (RDP); looser",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class SecondEpsilon:
    """An epsilon, and the method that gave it."""

    epsilon: float
    method: Method

    def agrees_with(self, pld: float) -> bool:
        """Whether both methods tell one story.

        >>> [SecondEpsilon(epsilon=e, method="rdp").agrees_with(4.0) for e in (4.4, 7.0, 3.0)]
        [True, False, False]
        >>> [SecondEpsilon(epsilon=e, method="prv").agrees_with(4.0) for e in (4.1, 4.4, 3.0)]
        [True, False, False]
        """
        if self.method == "prv":
            return abs(self.epsilon - pld) <= PRV_TOLERANCE * pld
        return pld <= self.epsilon * 1.005 and self.epsilon <= pld * (1 + RDP_TOLERANCE) + 0.1


def second_epsilon(
    events: Sequence[DpSgdEvent | GaussianEvent], *, delta: float, pld: float
) -> SecondEpsilon:
    """The epsilon of some events by another method than `pld`, their epsilon by PLD."""
    groups = accounting.releases_by_group(events)
    if all(_quick(releases, pld) for releases in groups):
        try:
            values = [
                _prv(tuple(releases), delta=delta, error=PRV_ERROR * min(pld, 1.0))
                for releases in groups
            ]
            return SecondEpsilon(epsilon=max(values, default=0.0), method="prv")
        except RuntimeError:  # Opacus' own check of its grid; RDP needs none
            pass
    return SecondEpsilon(epsilon=accounting.epsilon_rdp(events, delta=delta), method="rdp")


def _quick(releases: Sequence[Releases], pld: float) -> bool:
    steps = sum(kind.count for kind in releases)
    return pld <= MOST_EPSILON and len(releases) <= MOST_KINDS and steps <= MOST_STEPS


@functools.cache  # hospitals of one size, and whoever checks what was just written, ask the same
def _prv(releases: tuple[Releases, ...], *, delta: float, error: float) -> float:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        opacus: Any = importlib.import_module("opacus.accountants")
        accountant = opacus.PRVAccountant()
        accountant.history = [(r.noise_multiplier, r.sample_rate, r.count) for r in releases]
        return float(accountant.get_epsilon(delta=delta, eps_error=error))
