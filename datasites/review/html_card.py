"""A card: what an owner reads before deciding, in a notebook or in a terminal.

Guarantee: every word that came from outside is escaped, and a character that can't be seen
    (or turns the writing direction) is written as its number.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from syft_code.runtime import html_templates
from syft_code.runtime.visible_text import visible

Rows = Sequence[tuple[str, ...]]
Tone = Literal["good", "open", "bad"]
Figure = tuple[str, str] | tuple[str, str, Tone]
"""A value and its name; with a tone it stands on a wash of that colour."""

MAX_CODE_LINES = 60
"""So many lines of code stand in a terminal's card; a notebook shows all of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """A part of a card: rows of words under a title. With a `head` they are a table.

    `code` is shown as it stands, `diff` (a unified one) with its lines marked. The rows whose first
    cell is in `alarming` are shown in red. A `folded` part shows its title until somebody opens it,
    unless something in it alarms; on paper and in a terminal all of it shows.
    """

    title: str
    rows: Rows = ()
    head: tuple[str, ...] = ()
    prose: str = ""
    code: str = ""
    diff: str = ""
    alarming: tuple[str, ...] = ()
    folded: bool = False

    @property
    def shows_at_once(self) -> bool:
        """Whether it stands open from the start."""
        return not self.folded or any(row[0] in self.alarming for row in self.rows)


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """A title, verdicts, a few figures (value and name), alarms, what decides in sentences (each its
    name and the rest of it), and sections."""

    title: str
    verdicts: tuple[tuple[Tone, str], ...] = ()
    figures: tuple[Figure, ...] = ()
    alarms: tuple[str, ...] = ()
    decisive: tuple[tuple[str, str], ...] = ()
    sections: tuple[Section, ...] = ()

    def html(self) -> str:
        """The card for a notebook.

        >>> "&lt;b&gt;" in Card(title="<b>").html()
        True
        """
        template = html_templates.environment(__package__).get_template("card.html.j2")
        return template.render(card=self)

    def text(self) -> str:
        """The card for a terminal.

        >>> print(Card(title="Ours", figures=(("1.00", "spent"),)).text())
        Ours
        spent: 1.00
        """
        lines = [self.title, *(verdict for _, verdict in self.verdicts)]
        lines += [f"{figure[1]}: {figure[0]}" for figure in self.figures]
        lines += [f"!! {alarm}" for alarm in self.alarms]
        lines += [f"{name}: {sentence}" for name, sentence in self.decisive]
        for section in self.sections:
            lines += ["", section.title.upper(), *_lines(section)]
        return "\n".join(visible(line) for line in lines)


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
