"""A small encoder's file for tests: weights drawn from a seed, on the same way in as published ones."""

import io
from collections.abc import Mapping

import torch
from torch import Tensor

from syft_code import canonical
from syft_code.models import encoder_networks
from syft_code.recipes.architectures import EncoderDecoder, Fusion, LayerStack
from syft_code.recipes.encoders import Encoder, EncoderName, Projection
from syft_code.recipes.layers import Layer
from syft_code.recipes.recipe import CrossEntropy, DataSpec, DiceCrossEntropy, Recipe

NAME: EncoderName = "efficientnet-lite0"


def state_dict(name: EncoderName = NAME, *, seed: int = 0) -> dict[str, Tensor]:
    """Weights under the first names that each convolution and its batch norm are published with."""
    generator = torch.Generator().manual_seed(seed)
    found: dict[str, Tensor] = {}
    for of in encoder_networks.convolutions(name):
        convolution, norm = of.sources[0]
        fan_in = of.shape[1] * of.kernel_px**2
        drawn = torch.randn(of.shape, generator=generator)
        found[f"{convolution}.weight"] = drawn * (2.0 / fan_in) ** 0.5
        for part in ("weight", "running_var"):
            found[f"{norm}.{part}"] = 0.5 + torch.rand(of.outputs, generator=generator)
        for part in ("bias", "running_mean"):
            found[f"{norm}.{part}"] = 0.1 * torch.randn(of.outputs, generator=generator)
    return found


def pickled(found: object) -> bytes:
    """As `torch.save` writes it."""
    buffer = io.BytesIO()
    torch.save(found, buffer)
    return buffer.getvalue()


def file(name: EncoderName = NAME, *, seed: int = 0) -> bytes:
    """A published file of such weights."""
    return pickled(state_dict(name, seed=seed))


def layer(data: bytes, **changes: object) -> Encoder:
    """An encoder that names this file, at a few pixels."""
    fields: Mapping[str, object] = {
        "name": NAME,
        "weights_sha256": canonical.sha256(data),
        "input_px": 32,
    }
    return Encoder(**{**fields, **changes})  # type: ignore[arg-type]


def recipe(*files: bytes, axes: int = 0, facts: bool = False) -> Recipe:
    """A linear head on the features of these files side by side, perhaps along so many drawn axes."""
    looking = tuple(layer(data) for data in files)
    front = (*looking, *((Projection(features=axes, seed=5),) if axes else ()))
    model = Fusion(image=front) if facts else LayerStack(layers=front)
    return Recipe(model=model, loss=CrossEntropy())


GLIOMA = DataSpec(
    kind="lgg",
    task="segmentation",
    channels=("pre-contrast", "flair", "post-contrast"),
    height_px=24,
    width_px=20,
    classes=("background", "abnormality"),
    patient_unit="patient",
    stand_in=True,
)


def decoder(data: bytes, *layers: Layer) -> Recipe:
    """A decoder of some layers on the maps of this file."""
    model = EncoderDecoder(encoder=layer(data, pool="maps"), layers=layers)
    return Recipe(model=model, loss=DiceCrossEntropy())
