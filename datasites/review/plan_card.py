"""A plan in words and numbers: the parts of a card that follow from what the plan says."""

import math
from collections.abc import Sequence

from datasites.protocol.vault_api import LedgerSummary, PlanStatus
from datasites.review import parties_card, plan_diff
from datasites.review.disclosures import Disclosure
from datasites.review.html_card import Section
from datasites.review.mock_result import HELD_OUT_EVERY, MockRun, Output
from policies import known_parties
from policies.known_parties import Known
from syft_code.plans.plan import Plan
from syft_code.privacy import odds

LEAST_ROOM = 1.2
"""A tick must be so many times as long as the work is here, or a patient more may move it past."""
DECIDES = (
    "researcher_key", "order of hospitals", "hospitals", "aggregators", "min_hospitals", "shared_noise", "dp_sgd",
    "release_schedule", "rounds", "evaluation", "purpose", "recipe", "data",
)  # fmt: skip
"""Fields of a plan whose change is named before others."""
NAMED = 6
"""So many changed fields are named at once; the table has all."""
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
    return (
        ("What would leave", _leaving(plan, leaves)),
        ("What it costs", _cost(plan, ledger, state)),
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
        else f" ({state.study_epsilon_alone:.2f} if all other hospitals collude)"
    )
    return (
        f"epsilon {state.study_epsilon:.2f} of the {budget.epsilon:.2f} that a patient has for ever{alone}; "
        f"left after it: {left_after(ledger, state)}. By this study alone {means} (plus delta, {budget.delta:g})."
    )


def _news(before: Plan | None, plan: Plan) -> str:
    if before is None:
        return "all of it: no other plan was ever approved here."
    fields = sorted((one.field for one in plan_diff.of_plans(before, plan)), key=_weight)
    more = f" and {len(fields) - NAMED} more" if len(fields) > NAMED else ""
    named = ", ".join(fields[:NAMED])
    return f"against {before.study}, the newest other plan approved here: {named}{more}."


def _weight(field: str) -> int:
    """What decides comes first: who, with what noise, when, how much; the rest in its order."""
    return next(
        (place for place, start in enumerate(DECIDES) if field.startswith(start)), len(DECIDES)
    )


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
    left = budget.epsilon - state.after_epsilon
    rows = [
        ("This study", f"epsilon {state.study_epsilon:.2f}, all rounds and evaluations together"),
        ("Spent so far", f"epsilon {ledger.spent_epsilon:.2f} of {budget.epsilon:.2f}"),
        ("After it", f"epsilon {state.after_epsilon:.2f} of {budget.epsilon:.2f}"),
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
            *(() if left >= 0.005 else ("Left after it",)),
            *(() if state.after_epsilon_alone <= budget.alone else ("If all others collude",)),
        ),
    )


def _if_all_collude(plan: Plan, ledger: LedgerSummary, state: PlanStatus) -> str:
    """The worst case: what this hospital's own noise alone leaves."""
    whole = f"epsilon {state.study_epsilon_alone:.2f} of this study"
    with_all = f"{state.after_epsilon_alone:.2f} of {ledger.budget.alone:.2f} with all before"
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
        return f"epsilon {left:.2f}"
    return (
        f"nothing: {-left:.2f} too much, and the ledger refuses the first round that does not fit"
    )


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


def tried_out(mock: MockRun | None) -> Section:
    """What the mock run showed, or how to start one."""
    title = "Mock run"
    if mock is None:
        return Section(
            title=title,
            prose="Not tried out yet: Owner.examine, `requests show` and the page's button run it on the mock, in a "
            "process of its own, and adds time, memory and the result here.",
        )
    rows = [
        ("Result", "ok" if mock.ok else f"failed: {_failure(mock)}"),
        (
            "Ran",
            f"{mock.steps} of the {mock.steps_a_round} steps of a round, on {mock.patients} "
            f"training patients of the public mock (every {HELD_OUT_EVERY}th is held out)",
        ),
        ("Time", f"{_time(mock)}; {mock.seconds:.1f} s in all, with the start of the process"),
        ("Memory", f"at most {mock.peak_mib:,.0f} MiB in the training process, libraries included"),
    ]
    names = {"train": "Update", "evaluate": "Evaluation"}
    rows += [(names[output.purpose], _output(output)) for output in mock.outputs]
    return Section(
        title=title,
        prose="On drawn data, in a fresh training process like the vault's own, for at most "
        f"{mock.limit_s:g} s. A plan that runs here can still fail on real patients.",
        folded=mock.ok,
        rows=tuple(rows),
    )


def _failure(mock: MockRun) -> str:
    sentences = [mock.sentence, *(output.sentence for output in mock.outputs)]
    return " ".join(sentence for sentence in sentences if sentence)


def _time(mock: MockRun) -> str:
    step = "no step timed" if mock.seconds_a_step is None else f"{mock.seconds_a_step:.3f} s a step"
    if mock.seconds_a_round is None:
        return f"{step}, a real round not estimated"
    return (
        f"{step}; a real round of {mock.steps_a_round} steps with {mock.declared_patients:,} "
        f"patients about {mock.seconds_a_round:.1f} s (a rough estimate); {_ticks(mock, mock.seconds_a_round)}"
    )


def _ticks(mock: MockRun, round_s: float) -> str:
    """What the plan's release schedule gives a round and an evaluation, against what each takes here."""
    if mock.release_schedule is None:
        return "the plan has no release schedule, so the time that a round takes shows"
    given = (
        f"a tick of the plan's release schedule is {_tick(mock.release_schedule.train_s, round_s)}"
    )
    evaluation_s = mock.seconds_an_evaluation
    if evaluation_s is None:
        return given
    tick = _tick(mock.release_schedule.evaluate_s, evaluation_s)
    return f"{given}; of an evaluation, which took about {evaluation_s:.1f} s, {tick}"


def _tick(tick_s: float, work_s: float) -> str:
    fits = LEAST_ROOM * work_s <= tick_s
    late = ", TOO SHORT for this machine as busy as it is now: the tick of a result then tells a little"
    return f"{tick_s:g} s" + ("" if fits else late)


def _output(output: Output) -> str:
    size = f"{output.length:,} numbers ({output.bytes:,} bytes)"
    finite = "all finite" if output.finite else "NOT all finite"
    norm = "" if output.norm is None else f", L2 norm {output.norm:.4g}"
    door = "passes" if not output.sentence else "does NOT pass"
    return f"{size}, {finite}{norm}; {door} the airlock (no number past {output.bound:,.4g})"
