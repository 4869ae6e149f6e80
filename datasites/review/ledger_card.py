"""The ledger and the policy as cards: what an asset has spent, and which rules are in force."""

import time
from collections import Counter
from dataclasses import dataclass

from datasites.protocol import vault_api
from datasites.review.html_card import Card, Section
from datasites.review.plan_diff import short
from policies.site_policy import Budget, SitePolicy
from syft_code import canonical
from syft_code.privacy import accounting, epsilons
from syft_code.privacy.accounting import DpSgdEvent, GaussianEvent

PAID_FOR = "What was paid for"
REMARKS = "Remarks on its patients, for you alone"


def spent(ledger: vault_api.LedgerSummary) -> str:
    """What an asset's patients have lost of what they may lose, beside a gauge."""
    return (
        f"ε {epsilons.at_least(ledger.spent_epsilon)} of {epsilons.limit(ledger.budget.epsilon)} is spent, "
        f"for ever, at delta {ledger.budget.delta:g}"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerCard:
    """What the vault says of one asset: spent, left, what may run, every event paid for.

    `remarks` are on its patients, whom they count: the card is for the owner alone.
    """

    hospital: str
    ledger: vault_api.LedgerSummary
    remarks: tuple[str, ...] = ()

    def text(self) -> str:
        """The card as lines of text."""
        return self._card().text()

    def _repr_html_(self) -> str:
        return self._card().html()

    def _card(self) -> Card:
        ledger = self.ledger
        budget, spent = ledger.budget, ledger.spent_epsilon
        left = epsilons.at_most(budget.epsilon - spent)
        alone = epsilons.at_most(budget.alone - ledger.spent_epsilon_alone)
        return Card(
            title=f"{ledger.asset} at {self.hospital}",
            verdicts=(
                ("good", "Something is left")
                if float(left) and float(alone)
                else ("bad", "All is spent"),
            ),
            figures=(
                (f"ε {epsilons.at_least(spent)}", "spent, for ever"),
                (f"ε {left}", "left") if float(left) else (f"ε {left}", "left", "bad"),
                (f"ε {epsilons.limit(budget.epsilon)}", f"budget, at delta {budget.delta:g}"),
            ),
            sections=(self._counts_together(), self._paid_for(), *self._remarked()),
        )

    def _counts_together(self) -> Section:
        ledger = self.ledger
        alone = (
            f"epsilon {epsilons.at_least(ledger.spent_epsilon_alone)} is spent of "
            f"{epsilons.limit(ledger.budget.alone)}; the figures above are what sums show"
        )
        return Section(
            title="Counts together",
            rows=(
                ("If all other hospitals collude", alone),
                (
                    "Shares patients with",
                    ", ".join(ledger.sharing) or "no other asset of this hospital",
                ),
                ("May run now", ", ".join(ledger.in_force) or "no plan"),
            ),
        )

    def _paid_for(self) -> Section:
        counted = Counter(self.ledger.events)
        if not counted:
            return Section(title=PAID_FOR, prose="Nothing yet.")
        return Section(
            title=PAID_FOR,
            prose="What is left is a subtraction; whether a plan fits is worked out from all of these together.",
            head=("times", "release", "of"),
            rows=tuple((str(times), *describe_event(text)) for text, times in counted.items()),
        )

    def _remarked(self) -> tuple[Section, ...]:
        if not self.remarks:
            return ()
        rows = tuple((one,) for one in self.remarks)
        return (Section(title=REMARKS, head=("remark",), rows=rows),)


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyCard:
    """The rules of one hospital that are in force, and what waits for another signature."""

    hospital: str
    status: vault_api.SiteStatus

    def text(self) -> str:
        """The card as lines of text."""
        return self._card().text()

    def _repr_html_(self) -> str:
        return self._card().html()

    def _card(self) -> Card:
        status = self.status
        roles = Counter(one.party.role for one in status.known)
        people = tuple((name, short(key)) for key, name in status.approvers)
        names = dict(status.approvers)
        waiting = tuple(
            (action, short(subject), names.get(signer, "somebody who has left"))
            for action, subject, signer in status.waiting
        )
        return Card(
            title=f"The rules of {self.hospital}",
            verdicts=(("good", "In force"),) if status.policy else (("bad", "No policy in force"),),
            sections=(
                *(_terms(status.policy) if status.policy else ()),
                Section(title="Who decides", head=("name", "key"), rows=people),
                Section(
                    title="Who is known",
                    rows=(
                        ("Hospitals", str(roles["hospital"])),
                        ("Aggregators", str(roles["aggregator"])),
                    ),
                ),
                *(
                    (Section(title="Waits", head=("action", "subject", "signed by"), rows=waiting),)
                    if waiting
                    else ()
                ),
            ),
        )


def _terms(policy: SitePolicy) -> tuple[Section, ...]:
    terms = policy.terms
    own = [(f"Budget of {asset.name}", _budget(asset.budget)) for asset in policy.assets]
    standing = tuple(
        (
            short(approval.plan_hash),
            approval.researcher,
            f"version {approval.asset_version}, {approval.rounds} rounds, until {format_time(approval.expires_unix_s)}",
        )
        for approval in policy.standing
    )
    head = ("plan", "researcher", "for")
    return (
        Section(
            title="Limits",
            rows=(
                ("Budget of an asset", _budget(policy.budget(""))),
                *own,
                ("One study", _cap(terms.study_epsilon)),
                ("One researcher", _cap(terms.researcher_epsilon)),
                ("Noise multiplier", f"at least {terms.min_noise_multiplier:g}"),
                ("Shared noise", _colluding(terms.min_colluding)),
                ("Patients", f"at least {terms.min_patients}"),
                ("Hospitals in a sum", f"at least {terms.min_hospitals}"),
                ("Aggregators to open it", f"at least {terms.min_aggregators}"),
                ("Models", ", ".join(terms.recipes)),
                ("Release schedule of a plan", _schedule(terms.most_ticks)),
                ("People who approve", str(terms.approvers)),
                ("Researchers read why not", "yes" if policy.tell_researchers else "no"),
            ),
        ),
        *((Section(title="Standing approvals", head=head, rows=standing),) if standing else ()),
    )


def describe_event(event: str) -> tuple[str, str]:
    """An event of the ledger (canonical JSON): what it released, and of whom.

    >>> describe_event('{"kind":"gaussian","noise_multiplier":2}')
    ('noised sums, noise multiplier 2', 'held-out patients')
    """
    what: DpSgdEvent | GaussianEvent = canonical.parse(
        accounting.Event, event.encode("utf-8", "replace"), what="ledger event"
    )
    if isinstance(what, GaussianEvent):
        return f"noised sums, noise multiplier {what.noise_multiplier:g}", "held-out patients"
    own = "" if what.alone is None else f" in the sum, {what.alone:.3g} of its own"
    return (
        f"{what.steps} steps, each with a part {what.sample_rate:g} of the patients, noise "
        f"multiplier {what.noise_multiplier:g}{own}",
        "training patients",
    )


def format_time(at_unix_s: float) -> str:
    """A time as people read it.

    >>> format_time(0)
    '1970-01-01 00:00 UTC'
    """
    try:
        return time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(at_unix_s))
    except (OverflowError, ValueError, OSError):  # a time out of a file of the front desk's
        return "at no time that there is"


def _budget(budget: Budget) -> str:
    worst = f", and {budget.alone:g} if all other hospitals collude"
    return (
        f"epsilon {budget.epsilon:g} at delta {budget.delta:g}, in all, for ever"
        f"{worst if budget.alone != budget.epsilon else ''}"
    )


def _colluding(operators: int) -> str:
    who = "another operator colludes" if operators == 1 else f"{operators} others collude"
    return f"must hold although {who}"


def _schedule(most_ticks: int) -> str:
    return (
        f"at most {most_ticks} ticks"
        if most_ticks
        else "may be left out: the time of a round shows"
    )


def _cap(epsilon: float | None) -> str:
    return "no limit of its own" if epsilon is None else f"at most epsilon {epsilon:g}"
