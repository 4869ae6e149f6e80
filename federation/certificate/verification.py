"""Whether a certificate holds: whatever follows from its plan, worked out anew."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from federation.certificate import privacy_cost, statements
from federation.certificate.privacy_cost import SpentRounds
from federation.evaluation import model_file
from federation.researcher.outcome import model_sha256
from syft_code import canonical
from syft_code.errors import ConsiliumError, InvalidInput
from syft_code.plans import traveller
from syft_code.plans.plan import Plan
from syft_code.recipes.recipe import front
from syft_code.secret_sharing import groups

Certificate = dict[str, Any]
FORMAT = "consilium-certificate-7"
TOLERANCE = 0.01
"""An epsilon may lie off the one worked out anew by this part, for rounding."""


def facts_of_plan(plan: Plan) -> Certificate:
    """What a certificate repeats of its plan, for readers."""
    return {
        "study": plan.study,
        "stand_in": plan.data.stand_in,
        "plan_hash": plan.hash,
        "code_sha256": traveller.source_sha256(plan.hash),
        "delivered": delivered_weights_sentence(plan),
        "public_files": [
            {"what": layer.title, "sha256": layer.file_sha256}
            for layer in front(plan.recipe.model)
            if layer.file_sha256
        ],
        "min_hospitals": plan.min_hospitals,
        "needed_aggregators": plan.needed,
        "aggregators": [
            {"name": a.name, "verify_key": a.verify_key, "seal_key": a.seal_key}
            for a in plan.aggregators
        ],
    }


def delivered_weights_sentence(plan: Plan) -> str:
    """Which weights a study gives away at its end, in a sentence."""
    which = "The weights after the last round."
    if plan.averaging is not None:
        which = (
            f"The moving average of the weights after each round, with decay {plan.averaging:g}; "
            "hospitals went on from each round's own weights, which are not delivered."
        )
    if plan.local_norms:
        which += (
            " Scales and shifts of normalisation are those of the start: each hospital trained its "
            "own and keeps them, so that the noised figures are of other networks than this one."
        )
    return which


@canonical.message
class PublicKeys:
    """The parties' Ed25519 keys (hex), as whoever checks has them from the parties themselves."""

    researcher: str
    hospitals: dict[str, str]


def check(
    content: Certificate, *, model: Path | None = None, keys: PublicKeys | None = None
) -> list[str]:
    """Sentences that say what in a certificate does not hold; none if all does.

    Works out the hashes of plan and code, the roster, the rounds and every epsilon anew, checks
    each hospital's signed statements and the chain of models (`statements`), with `model` the
    hashes of the model's file, and with `keys` that the plan names those. A ledger that states more
    than the events come to is fine: a round that failed stays paid. One that states less is not.

    Does not protect: without `keys`, against a certificate that was made up as a whole. The
    researcher's signature over it is `signed_file`'s to check.
    """
    if content.get("format") != FORMAT:
        return [f"The format must be {FORMAT}, it is {str(content.get('format'))[:60]!r}."]
    try:
        plan = _plan_of(content)
    except InvalidInput as problem:
        return [str(problem)]
    checks: list[Callable[[], list[str]]] = [
        lambda: _check_facts(content, plan),
        lambda: _check_rounds(content, plan),
        lambda: _check_hospitals(content, plan),
    ]
    if keys is not None:
        checks.append(lambda: _check_keys(plan, keys))
    if model is not None:
        checks.append(lambda: check_model(content, model))
    return [sentence for one in checks for sentence in _guarded(one)]


def _plan_of(content: Certificate) -> Plan:
    try:
        return Plan.decode(canonical.encode(content.get("plan")))
    except (ConsiliumError, ValueError, TypeError, RecursionError) as problem:
        raise InvalidInput(f"The plan inside must be a valid plan. {problem}") from None


def _guarded(one: Callable[[], list[str]]) -> list[str]:
    try:
        return one()
    except ConsiliumError as problem:
        return [str(problem)]
    except (KeyError, TypeError, ValueError, AttributeError, IndexError, RecursionError) as problem:
        return [f"A part of the certificate is missing or malformed: {problem!r}."[:200]]


def _check_facts(content: Certificate, plan: Plan) -> list[str]:
    return [
        f"{name} must be what follows from the plan inside, and is not."
        for name, value in facts_of_plan(plan).items()
        if content.get(name) != value
    ]


def _check_rounds(content: Certificate, plan: Plan) -> list[str]:
    rounds = content["rounds"]
    numbers = [one["round"] for one in rounds]
    evaluated = [one["round"] for one in rounds if one["evaluated"]]
    paid = {one["round"] for one in rounds if one["evaluated"] or one["evaluators"]}
    planned = plan.evaluation.after_rounds if plan.evaluation else ()
    few = [one["round"] for one in rounds if len(set(one["hospitals"])) < plan.min_hospitals]
    roster = len(plan.hospitals)
    counted = all(one["absent"] == roster - len(one["hospitals"]) for one in rounds)
    whole = len(numbers) == plan.rounds or content["stopped_early"]
    ungrouped = [one["round"] for one in rounds if one["groups"] != groups_of(plan, one)]
    must_hold = {
        "The rounds must count up from 1, within the plan.": (
            numbers == list(range(1, len(numbers) + 1)) and len(numbers) <= plan.rounds
        ),
        "A study with fewer rounds than planned must say why it stopped early.": bool(whole),
        f"Each round needs {plan.min_hospitals} hospitals, rounds {few} had fewer.": not few,
        f"The groups of a round follow from the plan and its hospitals, of rounds {ungrouped} they "
        "do not.": not ungrouped,
        f"Of {roster} hospitals, a round's absent must be those that it does not name.": counted,
        "Only rounds that the plan names may be evaluated.": paid <= set(planned),
        "There must be noised figures for each evaluated round and for no other.": (
            list(content["utility"]["noised_by_round"]) == [str(n) for n in evaluated]
        ),
    }
    return [sentence for sentence, holds in must_hold.items() if not holds]


def groups_of(plan: Plan, one: Certificate) -> list[list[str]]:
    """The groups over which a round of a certificate was summed, each with its own sum."""
    drawn = groups.groups(plan, "train", one["round"], tuple(one["hospitals"]))
    return [list(names) for names in drawn]


def _check_hospitals(content: Certificate, plan: Plan) -> list[str]:
    if [h["name"] for h in content["hospitals"]] != [h.name for h in plan.hospitals]:
        return ["The hospitals must be those of the plan's roster, in its order."]
    facts = [s for own in content["hospitals"] for s in _check_hospital(own, content, plan)]
    return facts + statements.check(content, plan)


def _check_hospital(own: Certificate, content: Certificate, plan: Plan) -> list[str]:
    """One hospital's entry: roster, rounds and epsilons."""
    entry = plan.hospital(own["name"])
    part = SpentRounds(
        trained=tuple(own["rounds_trained"]), evaluated=tuple(own["rounds_evaluated"])
    )
    trained = [one for one in content["rounds"] if entry.name in one["hospitals"]]
    must_hold = {
        "its key, asset and declared patients must be those of the plan": (
            (own["verify_key"], own["asset"], own["asset_version"], own["declared_patients"])
            == (entry.verify_key, entry.asset, entry.asset_version, entry.patients)
        ),
        "its rounds must be those that the list of rounds names it in": (
            list(part.trained) == [one["round"] for one in trained]
            and list(part.evaluated)
            == [one["round"] for one in content["rounds"] if entry.name in one["evaluators"]]
        ),
    }
    if part.trained or part.evaluated:
        must_hold |= _epsilon_statements(own, plan, part)
    else:
        none = (own["epsilon"], own["epsilon_alone"], own["log_sha256"]) == (None, None, None)
        must_hold["it took part in no round, so it has no epsilon and no log's hash"] = none
    return [f"{entry.name}: {sentence}." for sentence, holds in must_hold.items() if not holds]


def _epsilon_statements(own: Certificate, plan: Plan, part: SpentRounds) -> dict[str, bool]:
    """What must hold of a hospital's epsilons; a comparison with NaN is false."""
    anew = privacy_cost.recomputed(plan, part, delta=own["delta"])
    by_group = anew["epsilon_pld_by_group"]
    worst = anew["epsilon_alone_pld"]
    return _ledger_statements(own, anew["epsilon_pld"], worst) | {
        f"epsilon_alone by PLD must be {worst:.4f}, it says {own['epsilon_alone_pld']:.4f}": (
            _near(own["epsilon_alone_pld"], worst)
        ),
        f"epsilon by PLD must be {anew['epsilon_pld']:.4f}, it says {own['epsilon_pld']:.4f}": (
            _near(own["epsilon_pld"], anew["epsilon_pld"])
        ),
        f"epsilon by the second accountant ({anew['second_accountant']}) must be "
        f"{anew['epsilon_second']:.4f}, it says {own['epsilon_second']:.4f} "
        f"({own['second_accountant']})": (
            own["second_accountant"] == anew["second_accountant"]
            and _near(own["epsilon_second"], anew["epsilon_second"])
        ),
        "its epsilons by group must be those of its events": (
            own["epsilon_pld_by_group"].keys() == by_group.keys()
            and all(_near(own["epsilon_pld_by_group"][g], value) for g, value in by_group.items())
        ),
        "the two accountants must agree, and the certificate must say so": (
            own["accountants_agree"] is True and anew["accountants_agree"]
        ),
    }


def _ledger_statements(own: Certificate, least: float, worst: float) -> dict[str, bool]:
    """What must hold of what its ledger stated, and of the two epsilons that count."""
    must_hold: dict[str, bool] = {}
    for name, anew in (("epsilon", least), ("epsilon_alone", worst)):
        stated = own[f"{name}_stated_by_ledger"]
        must_hold |= {
            f"the ledger states {name} {stated:.4f}, and its events come to {anew:.4f}": (
                stated >= anew * (1 - TOLERANCE)
            ),
            f"{name} must be no less than the ledger's and the recomputed one": (
                own[name] >= max(stated, own[f"{name}_pld"]) * (1 - 1e-9)
            ),
        }
    return must_hold


def _near(said: float, anew: float) -> bool:
    return abs(said - anew) <= TOLERANCE * max(anew, 1e-9)


def _check_keys(plan: Plan, keys: PublicKeys) -> list[str]:
    """The plan's keys are those that whoever checks knows: else its signatures show nothing."""
    named = {"the researcher": plan.researcher_key}
    named |= {entry.name: entry.verify_key for entry in plan.hospitals}
    known = {"the researcher": keys.researcher, **keys.hospitals}
    return [
        f"The key of {name} must be the one that you gave, {known.get(name, 'and you gave none')}, "
        f"and the certificate's plan names {key}: what is signed by it is somebody else's word."
        for name, key in named.items()
        if known.get(name) != key
    ]


def anchors_of(content: Certificate) -> list[tuple[str, str]]:
    """Each hospital that contributed, with its audit log's last hash: signed, and so its word.

    Raises:
        InvalidInput: if there is no valid plan inside, or a statement lacks the signature of the
            key that the plan names.

    Does not protect: against a plan that somebody made up, with keys of their own. Whoever
    holds a hospital's log against an anchor knows that hospital's key.
    """
    plan = _plan_of(content)
    try:
        signed = [(str(own["name"]), statements.read(own, plan)) for own in content["hospitals"]]
    except (KeyError, TypeError, ValueError) as problem:
        raise InvalidInput(f"A statement is missing or malformed: {problem!r}."[:200]) from None
    return [(name, headers[-1].log_sha256) for name, headers in signed if headers]


def check_model(content: Certificate, path: Path) -> list[str]:
    """Sentences that say what of a model's file is not what its certificate says."""
    if canonical.sha256(path.read_bytes()) != content["model"]["file_sha256"]:
        return ["The model's file must have the hash that the certificate gives, and has another."]
    model = model_file.load(path)
    must_hold = {
        "The model's weights must have the hash that the certificate gives.": (
            model_sha256(model.weights) == content["model"]["weights_sha256"]
        ),
        "The model's file must name the plan of the certificate.": (
            model.plan_hash == content["plan_hash"]
        ),
    }
    return [sentence for sentence, holds in must_hold.items() if not holds]
