"""What an epsilon means for one patient, in words.

Source: an (epsilon, delta) guarantee bounds how far any result moves the odds of a guess about one
patient: by a factor of e^epsilon, but with probability delta (Wasserman and Zhou 2010; Kairouz, Oh
and Viswanath 2015).
"""

import math

NO_BOUND = 20.0
"""Past it, e^epsilon is half a thousand million: a bound on paper."""


def in_words(epsilon: float) -> str:
    """The bound on an attacker's odds, rounded up.

    Units: epsilon at any delta; the sentence leaves delta to its reader.

    >>> in_words(1.0)
    "an attacker's odds that a given patient took part rise at most 2.8-fold"
    >>> in_words(8.0)
    "an attacker's odds that a given patient took part rise at most 2,981-fold"
    >>> in_words(1024.0)
    "no bound on an attacker's odds that a given patient took part is left that protects anybody"
    """
    if epsilon > NO_BOUND:
        return (
            "no bound on an attacker's odds that a given patient took part is left that protects "
            "anybody"
        )
    factor = math.exp(epsilon)
    shown = f"{math.ceil(factor * 10) / 10:.1f}" if factor < 10 else f"{math.ceil(factor):,}"
    return f"an attacker's odds that a given patient took part rise at most {shown}-fold"
