"""The report's page: a few HTML elements, which escape what they are given, and the style.

Every plain string is escaped on its way in.
"""

import base64
import html
import math
from collections.abc import Sequence

from federation.reporting.plots import Plot


class Html(str):
    """Markup. Only the elements of this file make it; any other string gets escaped."""

    __slots__ = ()


Content = str | Html

CSS = """
:root { --ink: #1f2937; --soft: #6b7280; --line: #e5e7eb; --blue: #0072b2; --wash: #f3f6f9; }
* { box-sizing: border-box; }
body { margin: 0; color: var(--ink); background: #fff; line-height: 1.5;
  font: 16px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif; }
main { max-width: 1040px; margin: 0 auto; padding: 40px 28px 72px; }
h1 { font-size: 34px; line-height: 1.2; margin: 4px 0 6px; letter-spacing: -.01em; }
h2 { font-size: 21px; margin: 52px 0 6px; padding-top: 18px; border-top: 2px solid var(--line); }
h3 { font-size: 16px; margin: 22px 0 4px; }
p { margin: 8px 0; max-width: 76ch; }
.soft { color: var(--soft); }
.brand { color: var(--blue); font-weight: 700; letter-spacing: .08em; text-transform: uppercase;
  font-size: 13px; }
.banner { background: #fff3d6; border: 3px solid #b45309; color: #7c2d12; border-radius: 10px;
  padding: 18px 22px; margin: 22px 0; }
.banner strong { display: block; font-size: 26px; letter-spacing: .05em; }
.note { background: var(--wash); border-left: 4px solid var(--blue); padding: 10px 16px;
  margin: 14px 0; border-radius: 0 8px 8px 0; }
.wrong { background: #fde8e8; border-left-color: #b91c1c; }
.cards { display: grid; grid-template-columns: repeat(auto-fit, minmax(176px, 1fr)); gap: 14px;
  margin: 24px 0; }
.card { border: 1px solid var(--line); border-radius: 10px; padding: 12px 15px; }
.card .label { color: var(--soft); font-size: 14px; }
.card .value { font-size: 31px; font-weight: 700; line-height: 1.25; }
.card .more { font-size: 13.5px; color: var(--soft); line-height: 1.4; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; margin: 14px 0; font-size: 14.5px; }
th, td { text-align: left; padding: 8px 12px; border-bottom: 1px solid var(--line);
  vertical-align: top; }
thead th { color: var(--soft); font-weight: 600; border-bottom: 2px solid #cbd5e1; }
td.number, th.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
tr.ours td, tr.ours th { background: #e8f2f9; font-weight: 600; }
tbody th { font-weight: 600; white-space: nowrap; }
td p { margin: 0 0 6px; }
figure { margin: 18px 0; }
figure img { display: block; max-width: 100%; height: auto; margin: 0 auto; }
figcaption { font-size: 13.5px; color: var(--soft); margin-top: 6px; max-width: 90ch; }
code { font: 13px/1.4 ui-monospace, "DejaVu Sans Mono", Menlo, monospace; overflow-wrap: anywhere; }
li { margin: 5px 0; max-width: 86ch; }
footer { margin-top: 56px; padding-top: 14px; border-top: 2px solid var(--line); font-size: 13.5px;
  color: var(--soft); }
@media print { main { max-width: none; padding: 0; } h2 { break-after: avoid; }
  figure, tr, .card, .banner { break-inside: avoid; } .banner { border-width: 2px; } }
"""


def text(content: Content) -> Html:
    """Escape a plain string; what is `Html` already was made by an element of this file.

    >>> text('<b> & "quotes"')
    '&lt;b&gt; &amp; &quot;quotes&quot;'
    """
    return content if isinstance(content, Html) else Html(html.escape(content))


def number(value: float) -> str:
    """A figure for readers; a dash for what is not there.

    >>> number(0.25), number(math.nan)
    ('0.250', '–')
    """
    return f"{value:.3f}" if math.isfinite(value) else "–"


def at_least(epsilon: float | None) -> str:
    """Two digits, rounded up: an epsilon is never shown smaller than it is.

    >>> at_least(1.001), at_least(1.0), at_least(None)
    ('1.01', '1.00', '–')
    """
    return "–" if epsilon is None else f"{math.ceil(epsilon * 100 - 1e-9) / 100:.2f}"


def delta_text(delta: float) -> str:
    """A delta as people write it.

    >>> delta_text(1e-05)
    '1e-5'
    """
    return f"{delta:g}".replace("e-0", "e-")


def element(name: str, *parts: Content, of: str = "") -> Html:
    """One element around some parts; `of` is its class."""
    kind = f' class="{html.escape(of)}"' if of else ""
    return Html(f"<{name}{kind}>{''.join(text(part) for part in parts)}</{name}>")


def section(title: str, *parts: Content) -> Html:
    """A heading and what stands under it."""
    return element("section", element("h2", title), *parts)


def cards(entries: Sequence[tuple[str, str, str]]) -> Html:
    """Key figures: label, value, and a line of detail."""
    made = [
        element(
            "div",
            element("div", label, of="label"),
            element("div", value, of="value"),
            element("div", more, of="more"),
            of="card",
        )
        for label, value, more in entries
    ]
    return element("div", *made, of="cards")


def table(
    head: Sequence[str], rows: Sequence[Sequence[Content]], *, numbers: int = 0, ours: int = -1
) -> Html:
    """Rows with a heading each; the columns from `numbers` on are figures, if it is not 0.

    `ours` is the row to stand out.
    """

    def kind(column: int) -> str:
        return "number" if numbers and column >= numbers else ""

    top = [element("th", name, of=kind(i)) for i, name in enumerate(head)]
    body = [
        element(
            "tr",
            element("th", row[0]),
            *(element("td", cell, of=kind(i)) for i, cell in enumerate(row[1:], start=1)),
            of="ours" if number == ours else "",
        )
        for number, row in enumerate(rows)
    ]
    inside = element("table", element("thead", element("tr", *top)), element("tbody", *body))
    return element("div", inside, of="scroll")


def bullets(sentences: Sequence[Content]) -> Html:
    """A list of sentences."""
    return element("ul", *(element("li", sentence) for sentence in sentences))


def picture(plot: Plot, caption: str) -> Html:
    """A plot inside the page itself, with its text for those who cannot see it."""
    source = f"data:{plot.kind};base64,{base64.b64encode(plot.data).decode('ascii')}"
    image = Html(f'<img src="{source}" alt="{html.escape(plot.alt)}">')
    return element("figure", image, element("figcaption", caption))


def page(title: str, *parts: Content) -> str:
    """The whole document: nothing is fetched from anywhere, and no script can run."""
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta http-equiv="Content-Security-Policy" '
        "content=\"default-src 'none'; img-src data:; style-src 'unsafe-inline'\">\n"
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{html.escape(title)}</title>\n<style>{CSS}</style>\n</head>\n"
        f"<body>\n{element('main', *parts)}\n</body>\n</html>\n"
    )
