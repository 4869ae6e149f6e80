"""A model as ONNX, for programs that know no PyTorch, where its layers have a form there.

The file takes what `networks.inputs` gives and returns logits: reading and standardising a picture or a
case stays with whoever uses it (docs/prediction.md).
"""

import importlib.util
import io
import warnings
from pathlib import Path

import torch

from federation.evaluation.model_file import SavedModel
from syft_code.errors import InvalidInput, Unavailable, require
from syft_code.recipes.architectures import Architecture, EncoderDecoder, LayerStack, UNet
from syft_code.recipes.layers import Layer
from syft_code.recipes.recipe import pixel_shape
from syft_code.runtime.durable_files import write_durably

OPSET = 17
EXPORTED = {
    "activation",
    "conv",
    "global_average",
    "group_norm",
    "linear",
    "lstm",
    "pool",
}
"""Kinds of layers with a form in ONNX; a scattering's Fourier transforms have none."""
HOW_TO_INSTALL = "pip install 'consilium[onnx]' -c constraints.txt"


def write(path: Path, model: SavedModel) -> None:
    """Write the network; inputs `pixels` and `facts` (those that it looks at), output `logits`.

    Raises:
        InvalidInput: naming a layer that has no form in ONNX.
        Unavailable: if the package `onnx` is not installed.
    """
    foreign = sorted({str(layer.kind) for layer in _layers(model.recipe.model)} - EXPORTED)
    require(
        not foreign,
        f"Every layer must have a form in ONNX, and {', '.join(foreign)} has none: use the model with "
        "consilium predict, or plan one of convolutions.",
        error=InvalidInput,
    )
    require(
        importlib.util.find_spec("onnx") is not None,
        f"The package onnx must be installed for this, and is not: {HOW_TO_INSTALL}.",
        error=Unavailable,
    )
    data = model.data
    pixels = torch.zeros((1, *(pixel_shape(data) or (0, 0, 0))))
    buffer = io.BytesIO()
    names = ("pixels", "facts")
    with warnings.catch_warnings():
        warnings.simplefilter(
            "ignore"
        )  # the exporter by tracing is old; the new one needs onnxscript
        torch.onnx.export(
            model.network(),
            (pixels, torch.zeros((1, len(data.facts)))),
            buffer,  # type: ignore[arg-type]  # tracing writes to a stream, too
            dynamo=False,
            input_names=list(names),
            output_names=["logits"],
            dynamic_axes={name: {0: "batch"} for name in (*names, "logits")},
            opset_version=OPSET,
        )
    write_durably(path, buffer.getvalue())


def _layers(model: Architecture) -> tuple[Layer, ...]:
    if isinstance(model, UNet):
        return ()
    if isinstance(model, LayerStack):
        return model.layers
    if isinstance(model, EncoderDecoder):
        return (model.encoder, *model.layers)
    return (*model.image, *model.facts, *model.head)
