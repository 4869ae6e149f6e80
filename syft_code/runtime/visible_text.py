"""Text from outside as people may see it: every character shows."""

BLANK = frozenset("\u115f\u1160\u2800\u3164\uffa0")
"""Characters that count as printable, and show nothing."""


def visible(text: str) -> str:
    """A text on one line whose every character can be seen: others are written as numbers.

    >>> visible("a\\u202eb")
    'a\\\\u202eb'
    """
    return "".join(
        c
        if (c.isprintable() and c not in BLANK) or c == "\t"
        else c.encode("unicode_escape").decode("ascii")
        for c in text
    )
