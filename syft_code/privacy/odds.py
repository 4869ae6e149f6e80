"""What an epsilon means for one patient, in words.

Source: under (epsilon, delta)-DP whoever claims, by whatever they saw, that a given patient took part is right
at most e^epsilon times as often as the same claim is made of one who did not, plus delta (Wasserman and Zhou
2010, theorem 2.4; Kairouz, Oh and Viswanath 2015).
"""

import math

NO_BOUND = 20.0
"""Past it, e^epsilon is half a thousand million: a bound on paper."""


def in_words(epsilon: float) -> str:
    """The bound on claims that a patient took part, rounded up.

    Units: epsilon at any delta; the sentence leaves delta to its reader.

    >>> in_words(1.0)
    'whoever claims that a given patient took part claims it at most 2.8 times as often where it is true as where it is not'
    >>> in_words(1024.0)
    'nothing bounds how well anybody can tell that a given patient took part'
    """
    if epsilon > NO_BOUND:
        return "nothing bounds how well anybody can tell that a given patient took part"
    factor = math.exp(epsilon)
    shown = f"{math.ceil(factor * 10) / 10:.1f}" if factor < 10 else f"{math.ceil(factor):,}"
    return (
        f"whoever claims that a given patient took part claims it at most {shown} times as often where it is "
        "true as where it is not"
    )
