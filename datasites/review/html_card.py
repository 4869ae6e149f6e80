"""A card: what an owner reads before deciding, in a notebook or in a terminal.

Colours are the reader's own: text takes the notebook's, a tone is a thin wash that shows on
light and on dark.

Guarantee: every word that came from outside is escaped, and a character that can't be seen
    (or turns the writing direction) is written as its number.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape
from typing import Literal

from syft_code.runtime.visible_text import visible

Rows = Sequence[tuple[str, ...]]
Tone = Literal["good", "open", "bad"]
Figure = tuple[str, str] | tuple[str, str, Tone]
"""A value and its name; with a tone it stands on a wash of that colour."""

_EDGE = "var(--jp-border-color2, rgba(128,128,128,.45))"
_BOX = f"border:1px solid {_EDGE};border-radius:8px;padding:14px 18px;margin:8px 0;max-width:64em"
_TABLE = "border-collapse:collapse;margin:4px 0;background:transparent;font-size:inherit"
_ROW = "background:transparent"
_NAME = (
    "text-align:left;vertical-align:top;padding:3px 14px 3px 0;white-space:nowrap;"
    "font-weight:600;opacity:.8"
)
_HEAD = f"{_NAME};border-bottom:1px solid {_EDGE}"
_CELL = (
    "text-align:left;vertical-align:top;padding:3px 14px 3px 0;max-width:46em;"
    "overflow-wrap:anywhere;white-space:normal"
)
_TITLE = (
    f"margin:16px 0 4px;padding-top:10px;border-top:1px solid {_EDGE};font-size:1.02em;"
    "font-weight:700"
)
_PROSE = "margin:2px 0 4px;opacity:.85;max-width:58em"
_CODE = (
    "background:rgba(128,128,128,.1);color:inherit;padding:8px 12px;border-radius:6px;"
    "margin:4px 0;max-height:26em;overflow:auto;font-size:.88em;line-height:1.4;"
    "white-space:pre-wrap;overflow-wrap:anywhere"  # no word of a line is out of sight to the right
)
_WASH: dict[Tone, str] = {
    "good": "rgba(46,160,67,.2)",
    "open": "rgba(210,153,34,.22)",
    "bad": "rgba(248,81,73,.24)",
}
_CHIP = (
    "display:inline-block;padding:2px 10px;border-radius:10px;font-weight:600;margin:0 6px 4px 0"
)
_ALARM = "padding:8px 12px;border-radius:6px;margin:8px 0;font-weight:600"
_FIGURE = "display:inline-block;margin:6px 28px 4px 0;vertical-align:top"
_PLUS, _MINUS = "rgba(46,160,67,.18)", "rgba(248,81,73,.18)"
MAX_CODE_LINES = 60
"""So many lines of code stand in a terminal's card; a notebook shows all of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """A part of a card: rows of words under a title. With a `head` they are a table.

    `code` is shown as it stands, `diff` (a unified one) with its lines marked. The rows whose first
    cell is in `alarming` are shown in red.
    """

    title: str
    rows: Rows = ()
    head: tuple[str, ...] = ()
    prose: str = ""
    code: str = ""
    diff: str = ""
    alarming: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """A title, verdicts, a few figures (value and name), alarms, and sections."""

    title: str
    verdicts: tuple[tuple[Tone, str], ...] = ()
    figures: tuple[Figure, ...] = ()
    alarms: tuple[str, ...] = ()
    sections: tuple[Section, ...] = ()

    def html(self) -> str:
        """The card for a notebook.

        >>> "&lt;b&gt;" in Card(title="<b>").html()
        True
        """
        verdicts = "".join(_span(f"{_CHIP};background:{_WASH[t]}", v) for t, v in self.verdicts)
        alarms = "".join(
            f"<div style='{_ALARM};background:{_WASH['bad']}'>⚠ {escaped(alarm)}</div>"
            for alarm in self.alarms
        )
        return (
            f"<div style='{_BOX}'><div style='font-size:1.25em;font-weight:700;margin:0 0 6px'>"
            f"{escaped(self.title)}</div>{verdicts}<div>{''.join(map(_figure, self.figures))}</div>"
            f"{alarms}{''.join(map(_section, self.sections))}</div>"
        )

    def text(self) -> str:
        """The card for a terminal.

        >>> print(Card(title="Ours", figures=(("1.00", "spent"),)).text())
        Ours
        spent: 1.00
        """
        lines = [self.title, *(verdict for _, verdict in self.verdicts)]
        lines += [f"{figure[1]}: {figure[0]}" for figure in self.figures]
        lines += [f"!! {alarm}" for alarm in self.alarms]
        for section in self.sections:
            lines += ["", section.title.upper(), *_lines(section)]
        return "\n".join(visible(line) for line in lines)


def escaped(text: str) -> str:
    """A text from outside, for HTML: visible and escaped."""
    return escape(visible(text))


def _span(style: str, text: str) -> str:
    return f"<span style='{style}'>{escaped(text)}</span>"


def _figure(figure: Figure) -> str:
    value, name, *tones = figure
    wash = "".join(f";background:{_WASH[tone]}" for tone in tones)
    return (
        f"<span style='{_FIGURE}{wash}'><span style='font-size:1.5em;font-weight:700'>{escaped(value)}"
        f"</span><br><span style='opacity:.75'>{escaped(name)}</span></span>"
    )


def _section(section: Section) -> str:
    parts = [f"<div style='{_TITLE}'>{escaped(section.title)}</div>"]
    if section.prose:
        parts.append(f"<div style='{_PROSE}'>{escaped(section.prose)}</div>")
    if section.rows:
        parts.append(_table(section))
    if section.code:
        parts.append(_pre(escaped(line) for line in section.code.split("\n")))
    if section.diff:
        files, lines = section.diff.split("\n")[:2], section.diff.split("\n")[2:]
        parts.append(_pre([*map(escaped, files), *map(_diff_line, lines)]))
    return "".join(parts)


def _table(section: Section) -> str:
    head = "".join(f"<th style='{_HEAD}'>{escaped(name)}</th>" for name in section.head)
    rows = "".join(
        _row(row, named=not section.head, alarming=row[0] in section.alarming)
        for row in section.rows
    )
    return (
        f"<table style='{_TABLE}'>{f'<tr style={_ROW!r}>{head}</tr>' if head else ''}{rows}</table>"
    )


def _row(row: tuple[str, ...], *, named: bool, alarming: bool) -> str:
    style = f"background:{_WASH['bad']}" if alarming else _ROW
    first = f"<th style='{_NAME}'>{escaped(row[0])}</th>" if named else ""
    cells = row[1:] if named else row
    return (
        f"<tr style='{style}'>{first}"
        + "".join(f"<td style='{_CELL}'>{escaped(cell)}</td>" for cell in cells)
        + "</tr>"
    )


def _pre(lines: Iterable[str]) -> str:
    joined = "\n".join(lines)
    return f"<pre style='{_CODE}'>{joined}</pre>"


def _diff_line(line: str) -> str:
    wash = {"+": _PLUS, "-": _MINUS}.get(line[:1])
    return f"<span style='background:{wash}'>{escaped(line)}</span>" if wash else escaped(line)


def _lines(section: Section) -> list[str]:
    lines = [section.prose] if section.prose else []
    if section.head:
        lines += _columns([section.head, *section.rows])
    else:
        lines += [f"{name:>22}: {', '.join(values)}" for name, *values in section.rows]
    code = [line for text in (section.code, section.diff) if text for line in text.split("\n")]
    lines += [f"  | {line}" for line in code[:MAX_CODE_LINES]]
    if len(code) > MAX_CODE_LINES:
        lines.append(
            f"  {len(code) - MAX_CODE_LINES} MORE LINES ARE NOT SHOWN HERE; read them all."
        )
    return lines


def _columns(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  "
        + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]
