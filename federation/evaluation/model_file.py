"""The trained model as one safetensors file, which can hold arrays and nothing that runs.

The file says by itself what it is: its metadata hold the plan's hash, the recipe and the
shape of the data, so that `load` needs nothing else to give the network back.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import nn

from syft_code import canonical
from syft_code.errors import InvalidInput, require
from syft_code.models import networks
from syft_code.plans.plan import Plan
from syft_code.recipes.recipe import DataSpec, Recipe

MOST_TENSORS = 1000
METADATA = "consilium"
"""One metadata key, since safetensors writes several in any order: equal models, equal bytes."""
HOW_TO_LOAD = (
    "from federation.prediction import trained_model; model = trained_model.load(path); or `consilium "
    "predict`. Without Consilium: the tensors are PyTorch parameters, in the order that 'order' gives."
)


FORMAT: Literal["consilium-model-2"] = "consilium-model-2"


@canonical.message
class _Card:
    """What the file says of itself."""

    plan_hash: str
    recipe: Recipe
    data: DataSpec
    order: Annotated[tuple[str, ...], canonical.at_most(MOST_TENSORS)]
    how_to_load: str = HOW_TO_LOAD
    format: Literal["consilium-model-2"] = FORMAT


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SavedModel:
    """A trained model and what it was made for; `weights` is float32 `[parameters]`."""

    plan_hash: str
    recipe: Recipe
    data: DataSpec
    weights: NDArray[np.float32]

    def network(self) -> nn.Module:
        """The network with these weights, ready to be called."""
        network = networks.build(self.recipe, self.data, self.weights)
        return network.eval()


def encode(plan: Plan, weights: NDArray[np.float32]) -> bytes:
    """The file's bytes; the same model gives the same bytes."""
    network = networks.build(plan.recipe, plan.data, weights)
    tensors = {name: p.detach().contiguous() for name, p in network.named_parameters()}
    card = _Card(plan_hash=plan.hash, recipe=plan.recipe, data=plan.data, order=tuple(tensors))
    return save(tensors, metadata={METADATA: canonical.text(card)})


def write(path: Path, plan: Plan, weights: NDArray[np.float32]) -> str:
    """Write the file and return its SHA-256."""
    data = encode(plan, weights)
    path.write_bytes(data)
    return canonical.sha256(data)


def load(path: Path) -> SavedModel:
    """Read a model file.

    Raises:
        InvalidInput: with one sentence, if it is not a whole model file.
    """
    try:
        with safe_open(path, framework="numpy") as file:
            text = (file.metadata() or {}).get(METADATA, "")
            tensors: dict[str, NDArray[np.float32]] = {n: file.get_tensor(n) for n in file.keys()}  # noqa: SIM118
    except (OSError, SafetensorError, TypeError, AttributeError) as problem:
        raise InvalidInput(f"{path} must be a model file, and can't be read: {problem}.") from None
    require(
        f'"format":"{FORMAT}"' in text,
        f"{path} must be a model file of this version's format, {FORMAT}, and says otherwise or nothing: load it "
        "with the version of Consilium that wrote it, or train it anew.",
        error=InvalidInput,
    )
    card: _Card = canonical.parse(
        _Card, text.encode("utf-8", "replace"), what="model file", error=InvalidInput
    )
    network = networks.build(card.recipe, card.data)
    shapes = {name: tuple(p.shape) for name, p in network.named_parameters()}
    require(
        {n: t.shape for n, t in tensors.items()} == shapes
        and all(t.dtype == np.float32 for t in tensors.values()),
        f"{path} must hold the tensors of its recipe as float32, and does not: get it again.",
        error=InvalidInput,
    )
    return SavedModel(
        plan_hash=card.plan_hash,
        recipe=card.recipe,
        data=card.data,
        weights=np.concatenate([tensors[name].reshape(-1) for name in shapes]),
    )
