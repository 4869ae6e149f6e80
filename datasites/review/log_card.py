"""The vault's log as a card: what happened at a hospital, the newest first."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from datasites.review.html_card import Card, Section
from syft_code import canonical
from syft_code.evidence import audit_chain
from syft_code.plans.roster import HEX_KEY
from syft_code.runtime.cli_output import SHORT

SHOWN_ENTRIES, SHOWN_LENGTH = 200, 60


@dataclass(frozen=True, slots=True, kw_only=True)
class LogCard:
    """One hospital's log, as it is handed in the oldest entry first; the card begins with the newest."""

    hospital: str
    entries: Sequence[audit_chain.Entry]

    def _repr_html_(self) -> str:
        rows = tuple(map(_row, self.entries[: -SHOWN_ENTRIES - 1 : -1]))
        card = Card(
            title=f"What happened at {self.hospital}",
            sections=(
                Section(
                    title="Log",
                    prose=f"{len(self.entries)} entries, each signed and chained to the one before; the newest "
                    "first. An entry has the hour, and what somebody signed the second in which they did. To hand it to an auditor: consilium audit export "
                    f"--hospital {self.hospital} --out FILE",
                    head=("entry", "hour (UTC)", "what", "facts"),
                    rows=rows,
                ),
            ),
        )
        return card.html()


def _row(entry: audit_chain.Entry) -> tuple[str, ...]:
    hour = datetime.fromtimestamp(entry.at_unix_s, UTC).strftime("%Y-%m-%d %H h")
    return str(entry.number), hour, entry.kind.replace("_", " "), ", ".join(_facts(entry))


def _facts(entry: audit_chain.Entry) -> Iterator[str]:
    """What an entry says, in short; the export has all of it."""
    for name, value in entry.facts.items():
        try:
            inside = canonical.loads(value.encode("utf-8", "replace"))
        except (ValueError, RecursionError):
            inside = value
        pairs = inside.items() if isinstance(inside, dict) else [(name, value)]
        for key, text in pairs:
            words = str(text)
            most = SHORT if HEX_KEY.fullmatch(words) else SHOWN_LENGTH
            yield f"{key} {words if len(words) <= most else words[:most] + '…'}"
