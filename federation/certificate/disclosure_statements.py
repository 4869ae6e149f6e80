"""What each party of a study saw, and what nobody promises, in sentences with numbers."""

import itertools
import math

from federation.researcher.outcome import Outcome
from syft_code.plans.plan import Plan
from syft_code.secret_sharing import envelope
from syft_code.secret_sharing.keystream import SEED_BYTES
from syft_code.secret_sharing.vector_layout import VectorLayout


def what_each_party_saw(outcome: Outcome) -> dict[str, list[str]]:
    """Sentences by party, in the order in which data moves."""
    return {
        "each data owner": _owner(outcome),
        "each front desk": _front_desk(outcome),
        "each vault": _vault(outcome),
        "the researcher": _researcher(outcome),
        **_aggregators(outcome),
        "the network": _network(outcome),
    }


def not_promised(plan: Plan) -> list[str]:
    """What this study does not protect, each beside the promise it limits."""
    hospitals, parties, needed = plan.min_hospitals, len(plan.aggregators), plan.needed
    who = f"All {parties}" if needed == parties else f"Any {needed} of the {parties}"
    return [
        "Epsilon bounds what an attacker learns about one patient from everything that left a "
        "hospital; it is not zero, and a larger epsilon is a weaker promise.",
        f"{who} aggregators together, working against the hospitals, can read every single "
        f"update. It carries its hospital's own noise, so that {_kept(plan)} still holds.",
        f"A sum hides a hospital among at least {hospitals}. The others of a round, all together "
        f"with the researcher, can subtract their own updates and see the one that is left, noised"
        f"{'.' if plan.shared_noise is None else ': then epsilon_alone holds.'}",
        *_group_limits(plan),
        _poisoning(plan),
        "The number of patients that each owner declared, the names of who takes part, and how "
        "long a round takes are public.",
        "Who took part in a round is known, and so by elimination who did not. Why is not: a "
        "hospital that has not decided, one that refuses and one that does not answer look the "
        "same in all that is written down here. Whoever asks a front desk directly sees whether "
        "it answers, and the researcher sees whether a training that began came to an end.",
        _time(plan),
        "A front desk that is broken into can delay or refuse service. A kernel exploit or a "
        "hardware side channel on a hospital's machine is outside of what software here can stop.",
        _noise(plan),
        "Epsilon here is this study's alone. Other studies on the same patients add to it; each "
        "hospital's ledger holds the total and caps it.",
        "Nothing is said about whether the model is good enough, or fit for any patient.",
    ]


def two_epsilons(plan: Plan) -> str:
    """Who would have to work together for each of a certificate's two epsilons."""
    if plan.shared_noise is None:
        return (
            "Each hospital adds all of the noise itself, so that epsilon and epsilon_alone are one: it "
            "holds whoever works together."
        )
    return (
        f"Noise is shared: each hospital adds a part. epsilon holds against everybody who sees sums, "
        f"even with {plan.shared_noise.colluding} of the other hospitals of a sum on their side, as long "
        "as one aggregator is honest and encryption holds; epsilon_alone is by a hospital's own noise "
        "and holds whoever works together."
    )


def _kept(plan: Plan) -> str:
    return "epsilon" if plan.shared_noise is None else "epsilon_alone"


def _noise(plan: Plan) -> str:
    if plan.shared_noise is None:
        return (
            "Noise is Gaussian noise from a cryptographic generator, rounded with its sum to a grid "
            "that hides the last bits of floating point (Mironov 2012); what rounding leaves adds, in "
            "studies of usual size, some thousandths to epsilon at most."
        )
    return (
        "Noise is discrete Gaussian noise on whole steps of the fixed point, from a cryptographic "
        "generator; what the whole steps leave adds some thousandths to epsilon at most (Kairouz, Liu "
        f"& Steinke 2021). A hospital that adds less than its part is one of the "
        f"{plan.shared_noise.colluding} that may collude."
    )


def _group_limits(plan: Plan) -> list[str]:
    """What summing in groups that are drawn anew each round gives away."""
    if plan.robust is None:
        return []
    return [
        "The groups of a round are drawn anew each time. Whoever holds the groups' sums of many "
        "rounds can work out about what a single hospital's updates were on average; each of them "
        "is noised by its hospital, and epsilon covers all of them together."
    ]


def _time(plan: Plan) -> str:
    """What a stopwatch tells of patients."""
    schedule = plan.release_schedule
    if schedule is None:
        return (
            "Whoever follows the progress of a hospital's training with a stopwatch sees about how "
            "many patients a step drew; epsilon does not cover what time tells."
        )
    return (
        "Whoever holds a stopwatch to a hospital's training or evaluation sees at which of "
        f"{schedule.ticks} ticks it ended, or that it failed: at most "
        f"{math.ceil(math.log2(schedule.ticks + 1))} bits each time, which epsilon does not cover."
    )


def _poisoning(plan: Plan) -> str:
    """What bounds the harm that one hospital can do."""
    bounds = "clipping bounds each patient"
    if plan.max_update_norm is not None:
        bounds += (
            f", and a hospital that runs this software sends no update with a norm above "
            f"{plan.max_update_norm:g}"
        )
    if plan.robust is None:
        rest = "and nothing tells a whole hospital that lies, since nobody sees single updates."
    else:
        rest = (
            f"and the rule {plan.robust.rule} over the groups' means withstands "
            f"{plan.robust.tolerated} of {plan.robust.groups} groups with such a hospital in it, "
            "not more, and not one whose lie lies among the truths. In it groups count alike, "
            "whatever the number of their patients."
        )
    return f"A hospital that falsifies its data can harm the model: {bounds}, {rest}"


def _rounds(count: int) -> str:
    return "1 round" if count == 1 else f"{count} rounds"


def _evaluations(outcome: Outcome) -> int:
    return sum(1 for record in outcome.rounds if record.metrics)


def _sums(outcome: Outcome) -> int:
    """How many sums of training updates were opened: one for each group of each round."""
    return sum(len(record.groups) for record in outcome.rounds)


def _vector(plan: Plan) -> str:
    """What one training vector holds, in words."""
    layout = VectorLayout.of(plan)
    kept = layout.sent_count
    parts = [f"{kept:,} numbers of an update"]
    if plan.algorithm.kind == "scaffold":
        parts.append(f"{kept:,} of a control variate's change")
    digits = layout.weight_digits("train")
    parts.append(f"{digits} that hold the declared patients")
    return f"{', '.join(parts[:-1])} and {parts[-1]}"


def _sent(plan: Plan) -> str:
    """What comes to a hospital for a training round, in words."""
    parts = {
        "control": "the control variate",
        "reference": "an earlier task's model",
        "importance": "the importance of its weights",
    }
    sizes = VectorLayout.of(plan).broadcast("train")
    words = ["weights", *(said for name, said in parts.items() if sizes[name])]
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


def _untouched(plan: Plan) -> list[str]:
    """What of an update does not travel."""
    layout = VectorLayout.of(plan)
    part, kept = layout.trained, layout.sent_count
    sentences = []
    if part.start:
        sentences.append(f"The first {part.start:,} parameters are never trained.")
    shared = layout.shared_count
    if own := part.stop - part.start - shared:
        sentences.append(
            f"The {own:,} scales and shifts of its normalisation are trained and stay in the vault, "
            "noised; the model that is delivered has those that it started with."
        )
    if kept < shared:
        sentences.append(
            f"Of the {shared:,} {'shared' if plan.local_norms else 'trained'} parameters {kept:,} travel in each round, "
            "at places that follow from the plan and the round: the same for every hospital."
        )
    if plan.compression is not None and plan.compression.error_feedback:
        sentences.append(
            "What does not travel or is rounded away stays in the vault, noised, and is added to "
            "the next update."
        )
    return sentences


def _owner(outcome: Outcome) -> list[str]:
    plan = outcome.plan
    others = len(plan.hospitals) - 1
    learns = (
        "From two of them and its own update it can work out the sum of the other hospitals' "
        "noised updates."
        if plan.robust is None
        else "From two of them it can work out what the rule made of the groups' means."
    )
    return [
        f"Its own patients and ledger, the plan, and of the other {others} hospitals only what the "
        "plan says: names, keys, assets, declared patients.",
        f"The model's {_sent(plan)} as each of {_rounds(len(outcome.rounds))} began. {learns}",
    ]


def _front_desk(outcome: Outcome) -> list[str]:
    plan = outcome.plan
    sent = 4 * VectorLayout.of(plan).broadcast_length("train")
    return [
        f"The request, the plan, signed round calls, tickets, the model's {_sent(plan)} "
        f"({sent:,} bytes a round) and sealed shares that it cannot open.",
        "No patient, no ledger and none of the vault's keys: a handle stands where the data would be.",
    ]


def _vault(outcome: Outcome) -> list[str]:
    plan = outcome.plan
    evaluation = VectorLayout.of(plan).vector_length("evaluate")
    extra = f" and, after an evaluation, one of {evaluation} noised numbers" * bool(plan.evaluation)
    return [
        "Its own hospital's patients. Nothing of another hospital's but the model's "
        f"{_sent(plan)}.",
        f"What left it, each round that it took part in: one vector of {_vector(plan)}, clipped and "
        f"noised{extra}, split into {len(plan.aggregators)} shares and sealed to the aggregators.",
        *_untouched(plan),
    ]


def _researcher(outcome: Outcome) -> list[str]:
    plan = outcome.plan
    layout = VectorLayout.of(plan)
    evaluation = layout.vector_length("evaluate")
    carried = sum(record.upload_bytes for record in outcome.rounds)
    groups = (
        f", one for each of up to {plan.robust.groups} groups of a round" if plan.robust else ""
    )
    sentences = [
        f"{_sums(outcome)} sums of {layout.vector_length('train'):,} numbers{groups}, each "
        f"over at least {plan.min_hospitals} hospitals, and never one hospital's update.",
        f"{carried:,} bytes of sealed training shares, which it carried and cannot open.",
        "Public metadata, mocks and each hospital's terms; of each hospital that took part its "
        "epsilon, the head of its audit log, and how far its training was, and when.",
        "How many hospitals did not take part in a round, and not why, unless an owner lets "
        "researchers read it or asked the researcher something.",
    ]
    if _evaluations(outcome):
        sentences.insert(
            1,
            f"{_evaluations(outcome)} noised sums of {evaluation} numbers over held-out patients.",
        )
    return sentences


def _aggregators(outcome: Outcome) -> dict[str, list[str]]:
    """Aggregators that are neighbours in the roster and hold the same kind of pieces together."""
    plan, found = outcome.plan, {}
    parties = enumerate(plan.aggregators, start=1)
    for share, some in itertools.groupby(parties, key=lambda pair: _share(plan, pair[0])):
        names = [aggregator.name for _, aggregator in some]
        title = names[0] if len(names) == 1 else f"{names[0]} to {names[-1]}"
        found[title] = _aggregator(outcome, share)
    return found


def _share(plan: Plan, party: int) -> str:
    """What one aggregator gets of a hospital in a training round."""
    scheme = envelope.scheme(plan)
    seeds = len(scheme.seeds_of(party))
    vector_bytes = VectorLayout.of(plan).vector_length("train") * plan.sharing.ring_bits // 8
    parts = []
    if seeds:
        parts.append(f"{SEED_BYTES} bytes of seed" if seeds == 1 else f"{seeds} seeds of 32 bytes")
    if scheme.has_vector(party):
        others = (
            "the others' seeds"
            if plan.needed == len(plan.aggregators)
            else "seeds, of which it lacks some"
        )
        parts.append(f"a vector of {vector_bytes:,} bytes, masked by {others}")
    return " and ".join(parts)


def _aggregator(outcome: Outcome, share: str) -> list[str]:
    plan, done = outcome.plan, len(outcome.rounds)
    others, lacking = len(plan.aggregators) - 1, plan.needed - 1
    who = (
        f"the other {others} aggregators"
        if lacking == others
        else f"{lacking} of the other {others} aggregators"
    )
    gave = (
        "one partial sum a round"
        if lacking == others
        else "the sum of each of its pieces, once a round"
    )
    grouped = ", for each group of hospitals by itself" if plan.robust else ""
    return [
        f"The plan, and from each hospital in each of {_rounds(done)}: {share}. Without {who} "
        "these are random bytes.",
        "With each share the hash of the weights that the hospital worked on, what the study had "
        "spent there, and its audit log's newest hash.",
        f"It gave away {gave}{grouped}, over at least {plan.min_hospitals} hospitals"
        + (", and likewise for each evaluation." if _evaluations(outcome) else "."),
        "It let a sum out only when "
        f"{plan.needed} aggregators had signed for the same set of hospitals, and signs for one "
        "set a round.",
    ]


def _network(outcome: Outcome) -> list[str]:
    return [
        "To and from the aggregators: TLS, and shares that are sealed inside it.",
        "To and from a front desk: HTTP. Where it does not stand behind TLS, whoever listens reads "
        "what the front desk reads; a patient or an update is not among it.",
        f"{sum(record.upload_bytes for record in outcome.rounds):,} bytes of sealed training shares "
        f"in {_rounds(len(outcome.rounds))}.",
    ]
