"""Who is known at a hospital: the parties that its owner has vouched for, by name and by keys.

A sum hides this hospital only among hospitals that are real and that others run, and shares are
secret only from aggregators that others run; a plan's word for either would be the researcher's.
"""

import unicodedata
from collections.abc import Iterable, Sequence
from itertools import accumulate

from syft_code import canonical
from syft_code.errors import InvalidInput, require
from syft_code.plans import key_fingerprint
from syft_code.plans.plan import Plan
from syft_code.plans.roster import HEX_KEY, NAME, Aggregator, Hospital

MAX_TEXT = 80


@canonical.message
class Party:
    """A hospital or an aggregator: its name in rosters, whose it is, who runs it, and its keys.

    `operator` runs its machines, often the institution itself. `verify_key` is Ed25519 (hex); an
    aggregator has an X25519 `seal_key` too, a hospital has none.
    """

    name: str
    institution: str
    operator: str
    verify_key: str
    seal_key: str = ""

    def __post_init__(self) -> None:
        canonical.require_types(self, error=InvalidInput)
        require(
            NAME.fullmatch(self.name) is not None,
            "A party's name must be the one in rosters, 1 to 40 lower-case letters, digits, '-' or "
            f"'_', got {self.name[:60]!r}.",
            error=InvalidInput,
        )
        for what, text in (("institution", self.institution), ("operator", self.operator)):
            require(
                0 < len(text) <= MAX_TEXT and text.isprintable() and text == " ".join(text.split()),
                f"The {what} of {self.name} must be 1 to {MAX_TEXT} characters of plain text, got "
                f"{text[:MAX_TEXT]!r}.",
                error=InvalidInput,
            )
        keys = [self.verify_key, *filter(None, [self.seal_key])]
        require(
            all(map(HEX_KEY.fullmatch, keys)),
            f"A key of {self.name} must be 64 lower-case hexadecimal digits: copy it whole.",
            error=InvalidInput,
        )

    @property
    def role(self) -> str:
        """Hospital or aggregator."""
        return "aggregator" if self.seal_key else "hospital"

    @property
    def words(self) -> str:
        """The fingerprint of its keys, to be read out on the telephone."""
        return key_fingerprint.words(*filter(None, (self.verify_key, self.seal_key)))

    @property
    def labels(self) -> set[str]:
        """Whose it is and who runs it, however they are written."""
        both = (self.institution, self.operator)
        return {unicodedata.normalize("NFKC", text).casefold() for text in both}


@canonical.message
class KnownParty:
    """A party with the name of who added it, and when they signed that."""

    party: Party
    added_by: str
    added_at_unix_s: float


Known = tuple[KnownParty, ...]


def vouched(entries: Sequence[Hospital | Aggregator], known: Known) -> dict[str, KnownParty]:
    """Those of a roster's hospitals, or of its aggregators, that are known by this name and keys."""
    by_line = {(one.party.name, one.party.verify_key, one.party.seal_key): one for one in known}
    found = {
        entry.name: by_line.get(
            (entry.name, entry.verify_key, entry.seal_key if isinstance(entry, Aggregator) else "")
        )
        for entry in entries
    }
    return {name: one for name, one in found.items() if one is not None}


def strangers(plan: Plan, known: Known) -> list[str]:
    """The names of a roster's parties that are not known here by that name and those keys."""
    groups: tuple[Sequence[Hospital | Aggregator], ...] = (plan.hospitals, plan.aggregators)
    unknown: list[str] = []
    for entries in groups:
        here = vouched(entries, known)
        unknown += [entry.name for entry in entries if entry.name not in here]
    return unknown


def fewest_operators(
    entries: Sequence[Hospital | Aggregator], known: Known, *, seats: int, ours: str = ""
) -> int:
    """How many operators at least stand behind any `seats` of these parties, `ours` among them.

    One operator's parties count once, an institution's too, and strangers not at all.
    """
    parties = [one.party for one in vouched(entries, known).values()]
    groups = sorted(_by_operator(parties), key=lambda names: (ours not in names, -len(names)))
    taken = accumulate(map(len, groups[:-1]), initial=len(entries) - len(parties))
    return sum(before < seats for before in taken) if groups else 0


def most_hospitals(
    entries: Sequence[Hospital], known: Known, *, operators: int, apart_from: str
) -> int:
    """How many of these hospitals so many operators run at most, apart from that of one hospital.

    An institution's hospitals count together, whoever runs them; a stranger's count by themselves.
    """
    here = vouched(entries, known)
    groups = _by_operator(one.party for one in here.values())
    groups += [{entry.name} for entry in entries if entry.name not in here]
    others = sorted((len(names) for names in groups if apart_from not in names), reverse=True)
    return sum(others[:operators])


def _by_operator(parties: Iterable[Party]) -> list[set[str]]:
    """The names of parties, those together that share an operator or an institution."""
    groups: list[tuple[set[str], set[str]]] = []
    for party in parties:
        labels, names = party.labels, {party.name}
        for group in [group for group in groups if group[0] & labels]:
            groups.remove(group)
            labels, names = labels | group[0], names | group[1]
        groups.append((labels, names))
    return [names for _, names in groups]
