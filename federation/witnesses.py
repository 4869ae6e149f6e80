"""What each party of a study saw, and what nobody promises, in sentences with numbers."""

from federation.study import Outcome
from syft_code import envelope
from syft_code.plan import Plan
from syft_code.recipes import parameter_count
from syft_code.sharing import SEED_BYTES


def what_each_saw(outcome: Outcome) -> dict[str, list[str]]:
    """Sentences by party, in the order in which data moves."""
    plan = outcome.plan
    first = f"{plan.aggregators[0].name} to {plan.aggregators[-2].name}"
    seeds = first if len(plan.aggregators) > 2 else plan.aggregators[0].name
    return {
        "each data owner": _owner(outcome),
        "each front desk": _front_desk(outcome),
        "each vault": _vault(outcome),
        "the researcher": _researcher(outcome),
        seeds: _aggregator(outcome, f"{SEED_BYTES} bytes of seed"),
        plan.aggregators[-1].name: _aggregator(
            outcome, f"a vector of {_vector_bytes(plan):,} bytes, masked by the others' seeds"
        ),
        "the network": _network(outcome),
    }


def not_promised(plan: Plan) -> list[str]:
    """What this study does not protect, each beside the promise it limits."""
    hospitals, parties = plan.min_hospitals, len(plan.aggregators)
    return [
        "Epsilon bounds what an attacker learns about one patient from everything that left a "
        "hospital; it is not zero, and a larger epsilon is a weaker promise.",
        f"All {parties} aggregators together, working against the hospitals, can read every single "
        "update. It carries its hospital's own noise, so that epsilon still holds.",
        f"A sum hides a hospital among at least {hospitals}. The others of a round, all together "
        "with the researcher, can subtract their own updates and see the one that is left, noised.",
        "A hospital that falsifies its data can harm the model: clipping bounds each patient, and "
        "nothing bounds a whole hospital, since nobody sees single updates.",
        "The number of patients that each owner declared, the names of who takes part, and how "
        "long a round takes are public.",
        "Who took part in a round is known, and so by elimination who did not. Why is not: a "
        "hospital that has not decided, one that refuses and one that does not answer look the "
        "same in all that is written down here. Whoever asks a front desk directly sees whether "
        "it answers, and the researcher sees whether a training that began came to an end.",
        "Whoever follows the progress of a hospital's training with a stopwatch sees about how many "
        "patients a step drew; epsilon does not cover what time tells.",
        "A front desk that is broken into can delay or refuse service. A kernel exploit or a "
        "hardware side channel on a hospital's machine is outside of what software here can stop.",
        "Noise is floating-point Gaussian noise from a cryptographic generator; attacks on its "
        "last bits (Mironov 2012) are made harder by rounding, not impossible.",
        "Epsilon here is this study's alone. Other studies on the same patients add to it; each "
        "hospital's ledger holds the total and caps it.",
        "Nothing is said about whether the model is good enough, or fit for any patient.",
    ]


def _vector_bytes(plan: Plan) -> int:
    return envelope.vector_length(plan, "train") * plan.sharing.ring_bits // 8


def _evaluations(outcome: Outcome) -> int:
    return sum(1 for record in outcome.rounds if record.metrics)


def _rounds(count: int) -> str:
    return "1 round" if count == 1 else f"{count} rounds"


def _owner(outcome: Outcome) -> list[str]:
    others = len(outcome.plan.hospitals) - 1
    return [
        f"Its own patients and ledger, the plan, and of the other {others} hospitals only what the "
        "plan says: names, keys, assets, declared patients.",
        f"The model's weights as each of {_rounds(len(outcome.rounds))} began. From two of them "
        "and its own update it can work out the sum of the other hospitals' noised updates.",
    ]


def _front_desk(outcome: Outcome) -> list[str]:
    plan = outcome.plan
    weights = 4 * parameter_count(plan.recipe, plan.data)
    return [
        f"The request, the plan, signed round calls, tickets, the model's weights "
        f"({weights:,} bytes a round) and sealed shares that it cannot open.",
        "No patient, no ledger and none of the vault's keys: a handle stands where the pictures would be.",
    ]


def _vault(outcome: Outcome) -> list[str]:
    plan = outcome.plan
    left = f"one vector of {envelope.vector_length(plan, 'train'):,} numbers, clipped and noised"
    evaluation = envelope.vector_length(plan, "evaluate")
    extra = f" and, after an evaluation, one of {evaluation} noised numbers"
    return [
        "Its own hospital's patients. Nothing of another hospital's but the model's weights.",
        f"What left it, each round that it took part in: {left}{extra if plan.evaluation else ''}, "
        f"split into {len(plan.aggregators)} shares and sealed to the aggregators.",
    ]


def _researcher(outcome: Outcome) -> list[str]:
    plan, done = outcome.plan, len(outcome.rounds)
    evaluation = envelope.vector_length(plan, "evaluate")
    carried = sum(record.upload_bytes for record in outcome.rounds)
    sentences = [
        f"{done} sums of {envelope.vector_length(plan, 'train'):,} numbers, each over at least "
        f"{plan.min_hospitals} hospitals, and never one hospital's update.",
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


def _aggregator(outcome: Outcome, share: str) -> list[str]:
    plan, done = outcome.plan, len(outcome.rounds)
    return [
        f"The plan, and from each hospital in each of {_rounds(done)}: {share}. Without the other "
        f"{len(plan.aggregators) - 1} aggregators these are random bytes.",
        f"It gave away one partial sum a round, over at least {plan.min_hospitals} hospitals"
        + (", and one for each evaluation." if _evaluations(outcome) else "."),
    ]


def _network(outcome: Outcome) -> list[str]:
    return [
        "To and from the aggregators: TLS, and shares that are sealed inside it.",
        "To and from a front desk: HTTP. Where it does not stand behind TLS, whoever listens reads "
        "what the front desk reads; a patient or an update is not among it.",
        f"{sum(record.upload_bytes for record in outcome.rounds):,} bytes of sealed training shares "
        f"in {_rounds(len(outcome.rounds))}.",
    ]
