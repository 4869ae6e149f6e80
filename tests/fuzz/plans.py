"""Plans, recipes, and what an owner writes as TOML: the site's policy."""

from dataclasses import replace

from nacl.public import PrivateKey
from nacl.signing import SigningKey

from datasites.vault.worker import warm_up
from policies import site_policy
from policies.site_policy import AssetBudget, Budget, SitePolicy
from syft_code import canonical
from syft_code.errors import InvalidInput, InvalidPlan
from syft_code.plans.algorithms import Distillation, Ewc, FedAdam, FedProx, Scaffold
from syft_code.plans.catalogue import Terms
from syft_code.plans.plan import Plan
from syft_code.plans.plan_parts import (
    AdaptiveClip,
    Augmentation,
    Compression,
    ReleaseSchedule,
    Robust,
)
from syft_code.recipes.recipe import DataSpec, Recipe, check_activations
from tests.fuzz.mutation import changed_toml, of_json
from tests.fuzz.runner import Parser
from tests.plans import Keys, plan

KEYS = Keys(
    researcher=SigningKey(b"r" * 32),
    hospitals=tuple(SigningKey(bytes([n]) * 32) for n in (1, 2, 3)),
    aggregators=tuple(SigningKey(bytes([n]) * 32) for n in (4, 5, 6)),
    seals=tuple(PrivateKey(bytes([n]) * 32) for n in (7, 8, 9)),
)
"""The same each time, since inputs are to be the same each time."""


def seeds() -> list[Plan]:
    """Plans of every kind of data, network, algorithm and extra."""
    kinds = [kind for kind, _ in warm_up.examples()]
    skin = plan(KEYS)
    clip = AdaptiveClip(quantile=0.5, learning_rate=0.2, count_noise_multiplier=20.0)
    changes: list[dict[str, object]] = [
        {"algorithm": Scaffold()},
        {"algorithm": FedProx(mu=0.1), "averaging": 0.9},
        {"algorithm": FedAdam(learning_rate=0.1), "start_sha256": "0" * 64},
        {"continual": Ewc(strength=1.0, reference_sha256="1" * 64, importance_sha256="2" * 64)},
        {"continual": Distillation(weight=1.0, temperature=2.0, reference_sha256="3" * 64)},
        {
            "compression": Compression(kept=0.5),
            "release_schedule": ReleaseSchedule(train_s=1.0, evaluate_s=1.0),
        },
        {"augmentation": Augmentation(views=4, flips=True, shift_px=2, intensity=0.1)},
        {"dp_sgd": replace(skin.dp_sgd, adaptive=clip), "max_update_norm": 2.0},
        {"robust": Robust(rule="median", groups=3), "hospitals": _nine(skin)},
    ]
    return [*kinds, skin, *(replace(skin, **change) for change in changes)]  # type: ignore[arg-type]


def _nine(skin: Plan) -> tuple[object, ...]:
    first = skin.hospitals[0]
    return tuple(replace(first, name=f"h{n}", verify_key=f"{n:064x}") for n in range(9))


def _recipe(data: bytes) -> None:
    """As a plan holds it against its data."""
    both: RecipeForData = canonical.parse(RecipeForData, data, what="recipe", error=InvalidPlan)
    both.recipe.check(both.data)
    check_activations(both.recipe, both.data, views=1)


@canonical.message
class RecipeForData:
    """A recipe beside the data that it is for."""

    data: DataSpec
    recipe: Recipe


def _policy_text() -> str:
    terms = Terms(epsilon=8.0, delta=1e-5, min_noise_multiplier=0.3, min_patients=10)
    budget = AssetBudget(name="skin", budget=Budget(epsilon=1.0, delta=1e-6))
    return site_policy.text(SitePolicy(terms=terms, assets=(budget,)))


def parsers() -> list[Parser]:
    """Three of them."""
    plans, text = [one.encode() for one in seeds()], _policy_text().encode()
    recipes = [canonical.encode(RecipeForData(data=p.data, recipe=p.recipe)) for p in seeds()]

    return [
        Parser(
            name="plans",
            good=plans[0],
            make=of_json(plans),
            parse=Plan.decode,
            errors=(InvalidPlan,),
        ),
        Parser(
            name="recipes",
            good=recipes[0],
            make=of_json(recipes),
            parse=_recipe,
            errors=(InvalidPlan,),
        ),
        Parser(
            name="policies",
            good=text,
            make=lambda r: changed_toml(r, text),
            parse=lambda data: site_policy.read(data.decode("utf-8", "replace")),
            errors=(InvalidInput,),
        ),
    ]
