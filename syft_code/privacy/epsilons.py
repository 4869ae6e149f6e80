"""An epsilon in words: what was spent is never shown smaller than it is, what is left never larger.

One rule for cards, reports, refusals and tables, so that the same epsilon reads the same everywhere.
"""

import math

_HAIR = 1e-9
"""Of a hundredth: what floating point adds to a round figure moves no digit."""


def at_least(epsilon: float | None) -> str:
    """What is spent or asked for: two digits, rounded up; a dash for what is not there.

    >>> at_least(1.001), at_least(1.0), at_least(math.inf), at_least(None)
    ('1.01', '1.00', 'inf', '–')
    """
    if epsilon is None or not math.isfinite(epsilon):
        return "–" if epsilon is None else str(epsilon)
    return f"{math.ceil(epsilon * 100 - _HAIR) / 100:.2f}"


def at_most(epsilon: float) -> str:
    """What is left, nothing if it is less than nothing: two digits, rounded down.

    >>> at_most(0.999), at_most(1.0), at_most(-0.2)
    ('0.99', '1.00', '0.00')
    """
    return f"{math.floor(max(epsilon, 0.0) * 100 + _HAIR) / 100:.2f}"


def limit(epsilon: float) -> str:
    """What somebody has set: with two digits after the point, or with as many as it has.

    >>> limit(8.0), limit(7.0049)
    ('8.00', '7.0049')
    """
    short = f"{epsilon:.2f}"
    return short if float(short) == epsilon else repr(epsilon)


def delta_text(delta: float) -> str:
    """A delta as people write it.

    >>> delta_text(1e-05)
    '1e-5'
    """
    return f"{delta:g}".replace("e-0", "e-")
