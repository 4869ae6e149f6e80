"""How a plan's hospitals become one sum, in words: the part of a card on what the plan says of it."""

from datasites.review.html_card import Section
from syft_code.plans.algorithms import FedAdagrad, FedAdam, FedProx, FedYogi, Scaffold
from syft_code.plans.plan import Plan
from syft_code.recipes.recipe import layer_parameters, parameter_count
from syft_code.secret_sharing.vector_layout import VectorLayout

_RULES = {
    "median": "the median of the groups' means in each coordinate",
    "trimmed_mean": "the mean without the outermost groups in each coordinate",
    "krum": "the mean of the one group that lies closest to the others (Krum)",
    "multi_krum": "the mean of the groups that lie closest together (multi-Krum)",
    "geometric_median": "the geometric median of the groups' means",
}


def aggregation_section(plan: Plan) -> Section:
    """Who can open a sum, what goes into it, and what stays here between rounds."""
    rows = [
        ("Who opens a sum", opens(plan)),
        ("Algorithm", _algorithm(plan)),
        ("Combined by", _combined(plan)),
        ("Noise", _noise(plan)),
        ("Norm bound", _norm_bound(plan)),
        ("What is trained", _trained(plan)),
        ("What travels", _travels(plan)),
        ("Fixed point", _fixed_point(plan)),
        ("What is delivered", _delivered(plan)),
        ("Kept here", _kept(plan)),
    ]
    return Section(
        title="How it is added up",
        prose="None of this costs a patient more than the epsilon on this card.",
        rows=tuple(rows),
        folded=True,
    )


def opens(plan: Plan) -> str:
    """Which aggregators can open a sum, and which learn nothing."""
    needed, parties = plan.needed, len(plan.aggregators)
    fewer = "a single one learns" if needed == 2 else f"any {needed - 1} together learn"
    if needed == parties:
        who = "both aggregators" if parties == 2 else f"all {parties} aggregators"
        return f"{who} together; {fewer} nothing"
    return (
        f"any {needed} of the {parties} aggregators together; {fewer} nothing. So the study goes on "
        f"if {parties - needed} of them fail, and {needed} that conspire can open this hospital's "
        "own update"
    )


def _algorithm(plan: Plan) -> str:
    start = "every hospital starts each round from the same weights"
    if plan.local_norms:
        start += ", but for its own normalisation,"
    match plan.algorithm:
        case FedProx(mu=mu):
            return (
                f"FedProx: {start} and each step is pulled back to them with strength {mu:g}, after "
                "the noise"
            )
        case Scaffold():
            return (
                f"SCAFFOLD: {start} and corrects each step by where all drift to; beside its update "
                "it shares how its own correction changed"
            )
        case FedAdam() | FedYogi() | FedAdagrad() as adaptive:
            rule = type(adaptive).__name__.removeprefix("Fed")
            return (
                f"Fed{rule}: {start}; the researcher takes the mean update for a gradient, and steps by "
                f"{rule}'s rule. What is done here is FedAvg's"
            )
        case _:
            return f"FedAvg: {start}"


def _delivered(plan: Plan) -> str:
    """Which weights are evaluated and handed out."""
    words = "the last round's weights"
    if plan.averaging is not None:
        words = (
            f"a moving average of all rounds' weights (decay {plan.averaging:g}), which is also what "
            "is evaluated; hospitals go on from each round's own"
        )
    if plan.local_norms:
        words += ". Its normalisation is that of the start: each hospital's own stays with it"
    return words


def _combined(plan: Plan) -> str:
    mean = "the mean, weighted by declared patients"
    if plan.robust is None:
        return f"{mean}; one bad hospital can move it as far as its update is long"
    rule = plan.robust
    return (
        f"{_RULES[rule.rule]}; {rule.groups} groups of at least {plan.min_hospitals} hospitals, drawn "
        f"anew each round, {rule.tolerated} of which may be bad. The researcher sees each group's "
        "sum, which tells more of a hospital over many rounds than one sum of all"
    )


def _noise(plan: Plan) -> str:
    if plan.shared_noise is None:
        return "each hospital adds all of it, so that an update protects its patients by itself"
    colluding = plan.shared_noise.colluding
    return (
        f"shared: each hospital adds a part, as much as {plan.min_hospitals - colluding} hospitals "
        f"need together, since a sum has {plan.min_hospitals} at least and {colluding} may collude. A "
        "single update is protected by its own part alone"
    )


def _norm_bound(plan: Plan) -> str:
    if plan.max_update_norm is None:
        return "none on the whole update; each patient's part is clipped all the same"
    words = f"this hospital's update is cut to an L2 norm of at most {plan.max_update_norm:g}"
    if VectorLayout.of(plan).error_feedback:
        return f"{words}; what travels may also hold what earlier rounds kept back"
    return words


def _trained(plan: Plan) -> str:
    layout = VectorLayout.of(plan)
    layers, count = layer_parameters(plan.recipe, plan.data), layout.trained_count
    words = f"all {count:,} parameters"
    if plan.frozen_layers:
        words = (
            f"{count:,} of {parameter_count(plan.recipe, plan.data):,} parameters: the first "
            f"{plan.frozen_layers} of {len(layers)} layers with parameters stay as they start"
        )
    own = count - layout.shared_count
    return f"{words}; {own:,} of them, of normalisation, are this hospital's own" if own else words


def _travels(plan: Plan) -> str:
    layout = VectorLayout.of(plan)
    count, kept = layout.shared_count, layout.sent_count
    rest = "is added to the next update" if layout.error_feedback else "is dropped"
    what = "shared" if plan.local_norms else "trained"
    if kept == count:
        words = f"in every round all {count:,} {what} numbers"
        if isinstance(plan.algorithm, Scaffold):
            words += ", and as many of the control variate's change"
        if not layout.error_feedback:
            return words
        return f"{words}; what rounding takes from them {rest}"
    return (
        f"in every round {kept:,} of the {count:,} {what} numbers, the same places for all hospitals, "
        f"drawn from the plan's hash; what does not travel {rest}"
    )


def _fixed_point(plan: Plan) -> str:
    rules = plan.sharing
    past = (
        "waits for the next round" if VectorLayout.of(plan).error_feedback else "lets nothing leave"
    )
    return (
        f"{rules.ring_bits} bits a number, in steps of 2^{-rules.fraction_bits}; a number past "
        f"{rules.bound:g} {past}"
    )


def _kept(plan: Plan) -> str:
    layout = VectorLayout.of(plan)
    size = 8 * layout.kept_length("train")
    if not size:
        return "nothing between rounds"
    kinds = []
    if isinstance(plan.algorithm, Scaffold):
        kinds.append("its control variate")
    elif layout.error_feedback:
        kinds.append("what did not travel")
    if plan.local_norms:
        kinds.append("how far its normalisation has moved")
    if plan.dp_sgd.adaptive is not None:
        kinds.append("how far its clip norm has moved")
    return (
        f"{size:,} bytes in the vault: {' and '.join(kinds)}, made of noised updates. The file never "
        "leaves, and goes when the plan is denied or revoked, not when a patient is removed"
    )
