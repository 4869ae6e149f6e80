"""From a cell and its hospitals to the plan that they would be asked to approve."""

import contextlib
import json
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray
from pydantic import TypeAdapter, ValidationError
from safetensors import SafetensorError, safe_open

from federation.evaluation import model_file, pretraining
from federation.experiments.cell import Cell
from federation.experiments.spec import merged
from federation.simulation import simulated_roster
from federation.simulation.hospital_data import HospitalData
from federation.simulation.simulated_roster import LEAST_HOSPITALS
from federation.simulation.simulation import without_privacy
from federation.strategy.noise_sharing import with_shared_noise
from federation.strategy.presets import suggested
from syft_code import canonical
from syft_code.errors import InvalidInput, InvalidPlan, require
from syft_code.local_training import broadcast
from syft_code.models import networks
from syft_code.plans.plan import Plan
from syft_code.plans.plan_parts import Sharing
from syft_code.plans.shared_noise import SharedNoise
from syft_code.privacy import accounting
from syft_code.recipes.recipe import DataSpec, Recipe

LEFT_OUT = "none"
"""A field of the suggestion that an experiment leaves out: TOML has no word for nothing."""


def plan(cell: Cell, hospitals: HospitalData, *, whole: bool = True) -> Plan:
    """The cell's plan, with the least noise that its epsilon allows.

    Of hospitals that are not the `whole` federation, a reference's, each adds all of the noise.

    Raises:
        InvalidPlan: if the experiment's changes don't give a plan.
    """
    fields = _fields(cell, hospitals.spec)
    fields = {name: None if value == LEFT_OUT else value for name, value in fields.items()}
    fields["dp_sgd"] = merged({"noise_multiplier": 1.0}, fields["dp_sgd"])
    stated_sharing = fields.get("sharing", {})
    entries = simulated_roster.hospitals(hospitals)
    start = start_weights(cell, recipe(cell, hospitals.spec), hospitals.spec)
    fields |= {
        "study": "experiment",
        "researcher_key": entries[0].verify_key,
        "data": hospitals.spec,
        "hospitals": entries,
        "aggregators": simulated_roster.aggregators(),
        "min_hospitals": fields.get("min_hospitals", LEAST_HOSPITALS) if whole else LEAST_HOSPITALS,
        "start_sha256": broadcast.sha256(start),
        "sharing": _sharing(stated_sharing, len(entries)),
    }
    shared = fields.pop("shared_noise", None)
    found = _parsed(fields)
    if cell.epsilon == "none":
        return without_privacy(found)
    if cell.epsilon != "clipped":
        found = noised(found, epsilon=float(cell.epsilon), delta=cell.delta)
    if shared is None or not whole:
        return found
    return with_shared_noise(
        found, _validated(SharedNoise, shared), keep_sharing=bool(stated_sharing)
    )


def recipe(cell: Cell, data: DataSpec) -> Recipe:
    """The cell's model and loss; raise `InvalidPlan` if the changes don't give any."""
    found: Recipe = _validated(Recipe, _fields(cell, data)["recipe"])
    return found


def _fields(cell: Cell, data: DataSpec) -> dict[str, Any]:
    return merged(_suggested(data), json.loads(cell.changes))


def noised(plan: Plan, *, epsilon: float, delta: float) -> Plan:
    """The same plan with the least noise at which training costs at most epsilon."""
    dp = plan.dp_sgd
    sigma = accounting.sigma_for(
        epsilon, delta=delta, sample_rate=dp.sample_rate, steps=dp.steps, rounds=plan.rounds
    )
    fields = canonical.loads(canonical.encode(plan))
    fields["dp_sgd"]["noise_multiplier"] = sigma
    return _parsed(fields)


def start_weights(cell: Cell, recipe: Recipe, data: DataSpec) -> NDArray[np.float32]:
    """The weights before the first round: of the cell's file, or drawn from its seed.

    Raises:
        InvalidInput: if the file does not hold them.
        InvalidPlan: if they were pre-trained for another network, or for slices of another shape.
    """
    drawn = networks.initial_weights(recipe, data, seed=cell.seed)
    if not cell.start:
        return drawn
    path = Path(cell.start)
    found = _of_file(path, recipe, data, seed=cell.seed)
    require(
        found.shape == drawn.shape and found.dtype == np.float32 and bool(np.isfinite(found).all()),
        f"{path} must hold {len(drawn)} finite numbers in float32, the weights of the recipe's "
        f"network; it holds {found.shape} of {found.dtype}, or some that are not finite.",
        error=InvalidInput,
    )
    return found


def _of_file(path: Path, recipe: Recipe, data: DataSpec, *, seed: int) -> NDArray[np.float32]:
    """A vector of numpy, a trained model, or what `pretraining.save` wrote and fits the recipe."""
    match _format(path):
        case "consilium-start-1":
            learnt = pretraining.load(path)
            return pretraining.start(learnt, recipe, data, frozen_layers=0, seed=seed).weights
        case model_file.FORMAT:
            return model_file.load(path).weights
        case "":
            with contextlib.suppress(OSError, ValueError, BadZipFile), path.open("rb") as file:
                found = np.load(file, allow_pickle=False)
                if isinstance(found, np.ndarray):
                    return found
    raise InvalidInput(
        f"{path} must be start weights: a vector in a .npy file, a model.safetensors of a study, or "
        "a file of `pretraining.save`. It is none of them: get it again."
    )


def _format(path: Path) -> str:
    """What a safetensors file says that it is; "" for any other file, and for one without a word."""
    try:
        with safe_open(path, framework="numpy") as file:
            note = json.loads((file.metadata() or {}).get(model_file.METADATA, "{}"))
    except (OSError, SafetensorError, ValueError):
        return ""
    return str(note.get("format", "")) if isinstance(note, dict) else ""


def _suggested(spec: DataSpec) -> dict[str, Any]:
    """The suggestion for such data, as the fields of a plan; without evaluations.

    Noise is each hospital's own unless an experiment says otherwise: figures say which it was.
    """
    choices = suggested(spec).choices(evaluated=False) | {"shared_noise": None}
    found: dict[str, Any] = canonical.loads(canonical.encode(choices))
    return found


def _sharing(stated: dict[str, Any], hospitals: int) -> Sharing:
    """What the experiment states, or the default as far as the hospitals can't wrap it."""
    rules = _validated(Sharing, stated)
    return rules if stated else simulated_roster.fitting(rules, hospitals)


def _parsed(fields: dict[str, Any]) -> Plan:
    found: Plan = _validated(Plan, fields)
    return found


def _validated(kind: Any, fields: dict[str, Any]) -> Any:
    try:
        return TypeAdapter(kind).validate_json(canonical.encode(fields), strict=True)
    except ValidationError as problem:
        raise InvalidPlan(
            f"The experiment's plan can't be: in {canonical.first_problem(problem)}."
        ) from None
