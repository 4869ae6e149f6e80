"""The parties that are known at a hospital as a card, and what is known of a plan's roster."""

from dataclasses import dataclass

from datasites.review.html_card import Card, Section
from datasites.review.ledger_card import format_time
from policies import known_parties
from policies.known_parties import Known, KnownParty
from syft_code.plans import key_fingerprint
from syft_code.plans.plan import Plan

STRANGER = "NOT KNOWN HERE"


@dataclass(frozen=True, slots=True, kw_only=True)
class PartiesCard:
    """For whom this hospital's owner has vouched, and the words by which others know its own key."""

    hospital: str
    verify_key: str
    known: Known

    def text(self) -> str:
        """The card as lines of text."""
        return self._card().text()

    def _repr_html_(self) -> str:
        return self._card().html()

    def _card(self) -> Card:
        rows = tuple(
            (one.party.name, one.party.role, describe(one), one.party.words) for one in self.known
        )
        own = (("Key", self.verify_key), ("In words", key_fingerprint.words(self.verify_key)))
        return Card(
            title=f"Who is known at {self.hospital}",
            sections=(
                Section(
                    title="This hospital's own key",
                    prose="Read these words to the other owners on the telephone; they type what "
                    "they hear.",
                    rows=own,
                ),
                Section(
                    title="Parties",
                    prose="A plan runs here only if all its hospitals and aggregators stand here."
                    if rows
                    else "Nobody is known yet, so no plan runs.",
                    head=("party", "role", "known as", "words") if rows else (),
                    rows=rows,
                ),
            ),
        )


def describe_roster(plan: Plan, hospital: str, known: Known) -> str:
    """How many of a plan's hospitals are known here and since when, and how many a sum is sure of."""
    here = known_parties.vouched(plan.hospitals, known)
    unknown = known_parties.strangers(plan, known)
    least = plan.min_hospitals
    operators = known_parties.fewest_operators(plan.hospitals, known, seats=least, ours=hospital)
    since = f", all since {_day(*here.values())}" if here else ""
    sentence = (
        f"{len(here)} of the {len(plan.hospitals)} hospitals are known to you{since}. One operator's "
        f"hospitals count once: so counted, a sum over at least {least} hospitals is sure to hold "
        f"{operators} that you know"
    )
    return f"{sentence}. NOT known: {', '.join(unknown)}" if unknown else sentence


def describe(one: KnownParty | None) -> str:
    """Whose a party is, who runs it, and who vouches for it since when."""
    if one is None:
        return STRANGER
    party = one.party
    by = "" if party.operator == party.institution else f", run by {party.operator}"
    return f"{party.institution}{by}; since {format_time(one.added_at_unix_s)}, by {one.added_by}"


def _day(*known: KnownParty) -> str:
    return format_time(max(one.added_at_unix_s for one in known))[:10]
