"""A card: a title and rows of words and numbers, as an owner reads them in a notebook."""

from collections.abc import Sequence
from html import escape

Rows = Sequence[tuple[str, str]]
_BOX = "border:1px solid #bbb;border-radius:6px;padding:12px 16px;margin:8px 0;max-width:62em"
_HEAD = "text-align:left;vertical-align:top;padding:4px 12px 4px 0;white-space:nowrap"
_CELL = "text-align:left;padding:4px 0;max-width:46em"


def html(title: str, rows: Rows) -> str:
    """A card as HTML; every word is escaped.

    >>> "&lt;b&gt;" in html("<b>", [("a", "b")])
    True
    """
    cells = "".join(
        f"<tr><th style='{_HEAD}'>{escape(name)}</th><td style='{_CELL}'>{escape(value)}</td></tr>"
        for name, value in rows
    )
    return (
        f"<div style='{_BOX}'><h3 style='margin:0 0 8px'>{escape(title)}</h3>"
        f"<table style='border-collapse:collapse'>{cells}</table></div>"
    )


def text(rows: Rows) -> str:
    """A card as lines of text.

    >>> print(text([("Status", "pending")]))
                    Status: pending
    """
    return "\n".join(f"{name:>22}: {value}" for name, value in rows)
