"""From a file of a public network's weights to what `encoder_networks` computes with.

    PyTorch state dict, as published ─┐
                                      ├─ names, shapes, batch norm folded in ─▶ weights
    safetensors, as `pack` wrote them ┘

A state dict is unpickled with `weights_only=True`, so that it can hold numbers and nothing that runs.
"""

import io
from collections.abc import Mapping
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from syft_code.errors import InvalidData, require
from syft_code.models.encoder_networks import Convolution, Weights, convolutions
from syft_code.recipes.encoders import EncoderName, encoder

PREFIXES = ("", "module.", "model.", "backbone.", "encoder.")
NESTED = ("state_dict", "model", "model_state_dict", "state_dict_ema")
_MARK = "consilium-encoder"


def read(data: bytes, name: EncoderName) -> Weights:
    """The weights of a network, from the bytes of a file.

    Guarantee: nothing of the file runs. The same bytes give the same weights.

    Raises:
        InvalidData: if the file is no state dict of that network, or holds a number that is not finite.
    """
    packed = _packed(data)
    if packed is None:
        weights = _folded(_state_dict(data), name)
    else:
        weights = {
            c.name + end: packed.get(c.name + end) for c in convolutions(name) for end in _ENDS
        }
    return _checked(weights, name)


def pack(weights: Weights, name: EncoderName) -> bytes:
    """Weights as a file of arrays alone, which `read` takes."""
    return save({key: weights[key].contiguous() for key in sorted(weights)}, {_MARK: name})


_ENDS = (".weight", ".bias")


def _packed(data: bytes) -> dict[str, Tensor] | None:
    """The arrays of a safetensors file, None of any other."""
    try:
        return load(data)
    except (SafetensorError, ValueError, KeyError, OverflowError):
        return None


def _state_dict(data: bytes) -> Mapping[str, Tensor]:
    try:
        found: Any = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except Exception:  # on bytes that are no state dict torch raises whatever it stumbles over
        raise InvalidData(
            "An encoder's file must be a state dict of PyTorch, which holds numbers and nothing that "
            "runs, or safetensors, and this one can't be read as either: it is cut short, or holds "
            "other things. Get it again from where it was published."
        ) from None
    for key in NESTED:
        if isinstance(found, dict) and isinstance(found.get(key), dict):
            found = found[key]
            break
    require(
        isinstance(found, dict) and any(isinstance(value, Tensor) for value in found.values()),
        "An encoder's file must hold a state dict, names with their tensors, and this one holds "
        f"{type(found).__name__}: save model.state_dict().",
        error=InvalidData,
    )
    return {str(key): value for key, value in found.items() if isinstance(value, Tensor)}


def _folded(found: Mapping[str, Tensor], name: EncoderName) -> dict[str, Tensor | None]:
    """Each convolution with its batch norm folded in, in float64, under the names of `Convolution`."""
    prefix = max(PREFIXES, key=lambda one: _known(found, name, one))
    weights: dict[str, Tensor | None] = {}
    for of in convolutions(name):
        weight = bias = None
        for convolution, norm in of.sources:
            parts = _parts(found, prefix + convolution, prefix + norm)
            if parts is not None and _fits(of, parts):
                weight, bias = _fold(parts, encoder(name).batch_norm_epsilon)
                break
        weights[f"{of.name}.weight"], weights[f"{of.name}.bias"] = weight, bias
    return weights


def _known(found: Mapping[str, Tensor], name: EncoderName, prefix: str) -> int:
    return sum(
        f"{prefix}{source}.weight" in found for of in convolutions(name) for source, _ in of.sources
    )


def _parts(found: Mapping[str, Tensor], convolution: str, norm: str) -> tuple[Tensor, ...] | None:
    """A convolution's weight, and scale, shift, mean and variance of its norm."""
    keys = (
        f"{convolution}.weight",
        *(f"{norm}.{part}" for part in ("weight", "bias", "running_mean", "running_var")),
    )
    parts = tuple(found[key] for key in keys if key in found)
    return parts if len(parts) == len(keys) else None


def _fits(of: Convolution, parts: tuple[Tensor, ...]) -> bool:
    weight, *norm = parts
    floating = all(part.is_floating_point() for part in (weight, *norm))
    return floating and weight.shape == of.shape and all(n.shape == (of.outputs,) for n in norm)


def _fold(parts: tuple[Tensor, ...], epsilon: float) -> tuple[Tensor, Tensor]:
    """Source: Ioffe & Szegedy 2015, section 3.1, with the statistics of training."""
    weight, scale, shift, mean, variance = parts
    factor = scale.double() / torch.sqrt(variance.double() + epsilon)
    folded = weight.double() * factor.view(-1, 1, 1, 1)
    return folded.float(), (shift.double() - mean.double() * factor).float()


def _checked(weights: Mapping[str, Tensor | None], name: EncoderName) -> Weights:
    whole: dict[str, Tensor] = {}
    for of in convolutions(name):
        for end, shape in zip(_ENDS, (of.shape, (of.outputs,)), strict=True):
            value = weights.get(of.name + end)
            require(
                value is not None and value.dtype == torch.float32 and value.shape == shape,
                f"An encoder's file must hold the weights of {name}, and in this one {of.name} is missing "
                "or of another shape: it belongs to another network. Known networks: `consilium "
                "encoder list`.",
                error=InvalidData,
            )
            if value is not None:
                whole[of.name + end] = value
    require(
        all(bool(torch.isfinite(value).all()) for value in whole.values()),
        "An encoder's weights must be finite numbers: at least one is not. Get the file again.",
        error=InvalidData,
    )
    return whole
