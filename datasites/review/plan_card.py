"""A plan in words and numbers: the parts of a card that follow from what the plan says."""

import math
from collections.abc import Sequence
from fnmatch import fnmatchcase

from datasites.protocol.vault_api import LedgerSummary, PlanStatus
from datasites.review import parties_card, plan_diff
from datasites.review.disclosures import Disclosure
from datasites.review.html_card import Section
from policies import known_parties
from policies.known_parties import Known
from syft_code.plans.plan import Plan
from syft_code.privacy import epsilons, odds

FIELDS = {
    "researcher_key": "the researcher's key",
    "order of hospitals": "the hospitals' order",
    "hospitals.*.verify_key": "a hospital's key",
    "hospitals.*.asset*": "the data of a hospital",
    "hospitals*": "the hospitals",
    "aggregators*": "the aggregators",
    "min_hospitals": "how few hospitals a sum may have",
    "shared_noise*": "how noise is shared",
    "dp_sgd.noise_multiplier": "the noise",
    "dp_sgd.max_grad_norm": "the clip norm",
    "dp_sgd.sample_rate": "how many patients a step draws",
    "dp_sgd.steps": "the steps a round",
    "dp_sgd*": "another setting of DP-SGD",
    "release_schedule*": "when results leave",
    "rounds": "the number of rounds",
    "evaluation*": "the evaluations",
    "purpose*": "what it is for",
    "recipe.loss*": "the loss",
    "recipe*": "the network",
    "data*": "the data asked for",
    "optimizer*": "the optimizer",
    "sharing*": "how shares are made",
    "max_update_norm": "the bound on an update",
    "start_sha256": "the weights it starts from",
    "study": "its name",
}
"""Patterns of a plan's fields in words; what decides comes first: who, with what noise, when, how much."""
NAMED = 6
"""So many changes are named at once; the table has all."""
OTHER_CODE = "The code is NOT the one fixed function that a request may carry: deny it."


def decisive(
    plan: Plan,
    ledger: LedgerSummary,
    state: PlanStatus,
    leaves: Sequence[Disclosure],
    *,
    before: Plan | None,
) -> tuple[tuple[str, str], ...]:
    """The three sentences that decide, each with its name: what would leave, its cost, what is new."""
    leaving, costing = "What would leave", "What it would cost"
    if state.state == "in force":
        leaving, costing = "What leaves", "What it costs"
    return (
        (leaving, _leaving(plan, leaves)),
        (costing, _cost(plan, ledger, state)),
        ("What is new", _news(before, plan)),
    )


def _leaving(plan: Plan, leaves: Sequence[Disclosure]) -> str:
    names = {"train": "training round", "evaluate": "evaluation"}
    times = " and ".join(
        f"{each.times} {names[each.purpose]}{'' if each.times == 1 else 's'}" for each in leaves
    )
    size = sum(each.bytes_in_all for each in leaves)
    timing = (
        " When a result leaves can tell of patients, since the plan has no release schedule."
        if plan.release_schedule is None
        else ""
    )
    return (
        f"the results of {times}, as sealed shares of at most {size:,} bytes in all; of them the researcher reads "
        f"noised sums over at least {plan.min_hospitals} hospitals, and no record of a patient leaves.{timing}"
    )


def _cost(plan: Plan, ledger: LedgerSummary, state: PlanStatus) -> str:
    budget = ledger.budget
    means = odds.in_words(state.study_epsilon)
    alone = (
        ""
        if plan.shared_noise is None
        else f" ({epsilons.at_least(state.study_epsilon_alone)} if all other hospitals collude)"
    )
    return (
        f"epsilon {epsilons.at_least(state.study_epsilon)} of the {epsilons.limit(budget.epsilon)} that a "
        f"patient has for ever{alone}; left after it: {left_after(ledger, state)}. By this study alone {means} (plus delta, {budget.delta:g})."
    )


def _news(before: Plan | None, plan: Plan) -> str:
    if before is None:
        return "all of it: no other plan was ever approved here."
    fields = sorted((one.field for one in plan_diff.of_plans(before, plan)), key=_weight)
    changes = list(dict.fromkeys(map(_in_words, fields)))
    more = f" and {len(changes) - NAMED} more" if len(changes) > NAMED else ""
    named = ", ".join(changes[:NAMED])
    return (
        f"against {before.study} (the newest other plan approved here): {named}{more}. The table below has each "
        "field."
    )


def _weight(field: str) -> int:
    """What decides comes first, the rest in its order."""
    matches = (place for place, pattern in enumerate(FIELDS) if fnmatchcase(field, pattern))
    return next(matches, len(FIELDS))


def _in_words(field: str) -> str:
    """A field as an owner calls it, else by its name.

    >>> _in_words("dp_sgd.noise_multiplier"), _in_words("local_norms")
    ('the noise', 'local norms')
    """
    named = (words for pattern, words in FIELDS.items() if fnmatchcase(field, pattern))
    return next(named, field.partition(".")[0].replace("_", " "))


def purpose(plan: Plan) -> Section:
    """What the study is for, in the researcher's words."""
    title, said = "What it is for", plan.purpose
    if said is None:
        rows = (("Not said", "the plan names no purpose: ask the researcher before you decide"),)
        return Section(title=title, rows=rows)
    return Section(
        title=title,
        prose="In the researcher's words, which nobody has checked. They are a part of what you sign.",
        rows=(
            ("Aim", said.aim),
            ("Who answers for it", ", ".join(said.people)),
            ("Institution", said.institution),
            ("Ethics approval", said.ethics_approval.strip() or "none is named"),
            ("Data protection contact", said.contact),
        ),
    )


def privacy(plan: Plan, ledger: LedgerSummary, state: PlanStatus) -> Section:
    """What the plan would cost the patients, and whose else it counts for."""
    budget = ledger.budget
    left, whole = budget.epsilon - state.after_epsilon, epsilons.limit(budget.epsilon)
    rows = [
        (
            "This study",
            f"epsilon {epsilons.at_least(state.study_epsilon)}, all rounds and evaluations together",
        ),
        ("Spent so far", f"epsilon {epsilons.at_least(ledger.spent_epsilon)} of {whole}"),
        ("After it", f"epsilon {epsilons.at_least(state.after_epsilon)} of {whole}"),
        ("Left after it", left_after(ledger, state)),
        ("If all others collude", _if_all_collude(plan, ledger, state)),
        ("Delta", f"{budget.delta:g}"),
        (
            "Shares patients with",
            ", ".join(ledger.sharing) + ": what runs there counts here, and the other way round"
            if ledger.sharing
            else "no other asset of this hospital",
        ),
    ]
    if state.stops:
        rows.append(("Stops early", state.stops))
    if state.rounds_called:
        called = (
            f"{state.rounds_called} of the plan's {plan.rounds} training rounds are already paid"
        )
        rows.append(("Called so far", called))
    return Section(
        title="Privacy",
        prose="For one patient more or less, whatever else anybody knows. The ledger composes "
        "everything that ever left; epsilons are not added up.",
        rows=tuple(rows),
        alarming=(
            "Stops early",
            *(() if left >= 0.01 else ("Left after it",)),
            *(() if state.after_epsilon_alone <= budget.alone else ("If all others collude",)),
        ),
    )


def _if_all_collude(plan: Plan, ledger: LedgerSummary, state: PlanStatus) -> str:
    """The worst case: what this hospital's own noise alone leaves."""
    whole = f"epsilon {epsilons.at_least(state.study_epsilon_alone)} of this study"
    with_all = (
        f"{epsilons.at_least(state.after_epsilon_alone)} of {epsilons.limit(ledger.budget.alone)} with all "
        "before"
    )
    if plan.shared_noise is None:
        return f"{whole}, {with_all}: in this plan all of the noise is this hospital's own"
    return (
        f"{whole}, {with_all}: noise is shared, and the figures above hold if at most "
        f"{plan.shared_noise.colluding} of the other hospitals of a sum collude with the "
        "researcher, and not all aggregators"
    )


def left_after(ledger: LedgerSummary, state: PlanStatus) -> str:
    """What is left of the budget after all of a plan, or by how much it does not fit."""
    left = ledger.budget.epsilon - state.after_epsilon
    if left >= 0:
        return f"epsilon {epsilons.at_most(left)}"
    return f"nothing: {epsilons.at_least(-left)} too much, and the ledger refuses the first round that does not fit"


def who(plan: Plan, hospital: str, researcher: str, known: Known) -> Section:
    """The researcher, the roster and the aggregators, by name and by the first digits of keys."""
    here = known_parties.vouched(plan.hospitals, known)
    here_too = known_parties.vouched(plan.aggregators, known)
    hospitals = [
        (
            h.name,
            "this hospital" if h.name == hospital else "hospital",
            plan_diff.short(h.verify_key),
            parties_card.describe(here.get(h.name)),
            f"{h.asset} version {h.asset_version}, {h.patients:,} declared patients",
        )
        for h in plan.hospitals
    ]
    aggregators = [
        (
            a.name,
            "aggregator",
            plan_diff.short(a.verify_key),
            parties_card.describe(here_too.get(a.name)),
            f"seal key {plan_diff.short(a.seal_key)}, at {a.address}",
        )
        for a in plan.aggregators
    ]
    return Section(
        title="Who takes part",
        prose=f"A sum is released only over at least {plan.min_hospitals} of the "
        f"{len(plan.hospitals)} hospitals. Keys are cut short here; the JSON has all of them.",
        head=("party", "role", "key", "known as", "with"),
        folded=True,
        rows=(
            (researcher, "researcher", plan_diff.short(plan.researcher_key), "", ""),
            *hospitals,
            *aggregators,
        ),
        alarming=tuple(known_parties.strangers(plan, known)),
    )


def what_leaves(disclosures: Sequence[Disclosure], plan: Plan) -> Section:
    """Names, shapes, types and bytes of everything that a plan makes, and where it goes."""
    rows = [
        (
            f"{'training round' if release.purpose == 'train' else 'evaluation'}, "
            f"{release.times} x",
            part.name,
            "x".join(map(str, part.shape)),
            part.dtype,
            f"{part.bytes:,}",
            part.to or "stays here",
        )
        for release in disclosures
        for part in release.parts
    ]
    total = sum(release.bytes_in_all for release in disclosures)
    meanings = " ".join(
        f"{'An update' if r.purpose == 'train' else 'An evaluation'}: {r.meaning}."
        for r in disclosures
    )
    return Section(
        title="What leaves",
        prose=f"At most {total:,} bytes over the whole plan, all of them sealed shares. Those of any "
        f"{plan.needed - 1} of the {len(plan.aggregators)} aggregators are random bytes; what they "
        f"add up to is a sum over at least {plan.min_hospitals} hospitals. {meanings} Beside them the researcher sees, of each round, whether it is done, its "
        f"step, its epsilon and the hashes of its shares. {_when(plan)}",
        head=("release", "what", "shape", "type", "bytes", "goes to"),
        folded=True,
        rows=tuple(rows),
    )


def _when(plan: Plan) -> str:
    """When a result leaves."""
    schedule = plan.release_schedule
    if schedule is None:
        return (
            "A result leaves when it is ready: the plan has no release schedule, and the time that the "
            "work took can tell of patients."
        )
    return (
        f"A result leaves at a tick of the plan's release schedule, {schedule.train_s:g} s of a "
        f"training and {schedule.evaluate_s:g} s of an evaluation, whatever the work took; after "
        f"{schedule.ticks} ticks the round has failed. Which tick it was tells a stopwatch at most "
        f"{math.ceil(math.log2(schedule.ticks + 1))} bits a round."
    )


def what_changed(before: Plan | None, after: Plan, *, code_before: str, code: str) -> Section:
    """The plan and the code against the last ones that were approved here."""
    title = "What changed since the last approval"
    if before is None:
        return Section(
            title=title,
            prose="No other plan was ever approved here: all of it is new.",
        )
    rows = tuple((c.field, c.before, c.after) for c in plan_diff.of_plans(before, after))
    return Section(
        title=title,
        prose=f"Against {before.study}, the newest other plan approved here (hash "
        f"{plan_diff.short(before.hash)}). The code is the same but for the plan's hash; what "
        "really differs is the plan.",
        head=("field of the plan", "approved before", "asked for now"),
        rows=rows,
        diff=plan_diff.of_code(code_before, code),
    )


def code(text: str, sha256: str, *, fixed: bool) -> Section:
    """The submitted text, and whether it is the one function that a request may carry."""
    verdict = f"The code is the one fixed function, byte for byte: SHA-256 {sha256}."
    return Section(
        title="The code",
        prose=f"{verdict if fixed else OTHER_CODE} The vault runs the plan, never a text that it "
        "was sent.",
        code=text.rstrip("\n"),
        folded=fixed,
    )
