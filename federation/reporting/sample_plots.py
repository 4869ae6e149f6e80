"""What a model sees in some pictures that anybody may see: public or stand-in slices."""

import io

import matplotlib as mpl
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from numpy.typing import NDArray

from federation.evaluation import encoded_pictures
from federation.reporting.plots import STYLE, Plot
from federation.researcher.outcome import Outcome
from syft_code.cohort import Cohort
from syft_code.models import networks
from syft_code.recipes.recipe import DataSpec

PICTURES = {"classification": 12, "segmentation": 6}
COLUMNS = 6
PARTS = 3
OVERLAY = ("#00000000", "#D55E00", "#56B4E9", "#F0E442", "#009E73", "#CC79A7")
NEIGHBOURS = ("-1", "+1")
"""How the channels of a slice's neighbours end, in 2.5-D."""
RIGHT, WRONG = "#065F46", "#9A3412"


def samples(outcome: Outcome, cohort: Cohort) -> Plot:
    """Pictures with what is true and what the model says, a patient at most once.

    Raises:
        Unavailable: if the plan has an encoder whose file is not on this machine.
    """
    data = outcome.plan.data
    chosen = _choose(cohort, data)
    images, labels = cohort.images[chosen], cohort.labels[chosen]
    shown = Cohort(
        images=images,
        labels=labels,
        patient=np.arange(len(chosen), dtype=np.int32),
        facts=cohort.facts[chosen],
    )
    model = outcome.plan.recipe.model
    seen = encoded_pictures.usual().cohort(shown, model)  # these pictures are anybody's
    network = networks.build(outcome.plan.recipe, data, outcome.weights)
    with torch.no_grad():
        scores = network(*networks.inputs(seen.images, seen.facts)).softmax(1).numpy()
    with mpl.rc_context(STYLE | {"axes.grid": False, "axes.titleweight": "normal"}):
        if data.task == "classification":
            return _lesions(images, labels, scores, data)
        return _brains(images, labels, scores.argmax(1), data)


def _choose(cohort: Cohort, data: DataSpec) -> NDArray[np.int64]:
    """One slice a patient: of every class in turn, or the one with the largest tumour."""
    sizes = cohort.labels.reshape(len(cohort.labels), -1).astype(bool).sum(axis=1)
    order = np.lexsort((-sizes, cohort.patient))
    _, first = np.unique(cohort.patient[order], return_index=True)
    slices: NDArray[np.int64] = order[first].astype(np.int64)
    if data.task == "classification":
        labels = cohort.labels[slices]
        turn = np.array([(labels[:i] == label).sum() for i, label in enumerate(labels)])
        slices = slices[np.lexsort((labels, turn))]
    return slices[: PICTURES[data.task]]


def _lesions(
    images: NDArray[np.generic],
    labels: NDArray[np.uint8],
    scores: NDArray[np.float32],
    data: DataSpec,
) -> Plot:
    rows = -(-len(images) // COLUMNS)
    figure = Figure(figsize=(1.6 * COLUMNS, 2.05 * rows), layout="constrained")
    axes = figure.subplots(rows, COLUMNS, squeeze=False).ravel()
    for axis in axes:
        axis.axis("off")
    said = []
    for axis, image, label, score in zip(axes, images, labels, scores, strict=False):
        true, found = data.classes[label], data.classes[int(score.argmax())]
        axis.imshow(_picture(image), interpolation="nearest")
        right = true == found
        axis.set_title(
            f"true {true}\n{'✓' if right else '✗'} says {found} ({score.max():.0%})",
            fontsize=8,
            color=RIGHT if right else WRONG,
        )
        said.append(f"true {true}, predicted {found}")
    return _png(figure, f"{len(images)} pictures: {'; '.join(said)}.")


def _brains(
    images: NDArray[np.generic], labels: NDArray[np.uint8], found: NDArray[np.int64], data: DataSpec
) -> Plot:
    """Each slice three times: as it is, with the true classes on it, with the predicted ones."""
    channel = _shown(images, data)
    middle = [i for i, name in enumerate(data.channels) if not name.endswith(NEIGHBOURS)]
    rows = -(-len(images) * PARTS // COLUMNS)
    figure = Figure(figsize=(1.65 * COLUMNS, 1.75 * rows + 0.5), layout="constrained")
    axes = figure.subplots(rows, COLUMNS, squeeze=False).ravel()
    colours = ListedColormap([OVERLAY[i % len(OVERLAY)] for i in range(len(data.classes))])
    for axis in axes:
        axis.axis("off")
    triples = axes[: len(images) * PARTS].reshape(len(images), PARTS)
    for triple, image, label, guess in zip(triples, images, labels, found, strict=True):
        picture = _picture(image[channel : channel + 1])
        picture[(image[middle] == 0).all(axis=0)] = 0.0  # outside of the head
        titles = (data.channels[channel], "true", "predicted")
        for axis, title, classes in zip(triple, titles, (None, label, guess), strict=True):
            axis.set_title(title, fontsize=8)
            _slice(axis, picture, classes, colours)
    marks = [
        mpl.patches.Patch(color=OVERLAY[i % len(OVERLAY)], label=name)
        for i, name in enumerate(data.classes)
        if i > 0
    ]
    figure.legend(handles=marks, loc="outside lower center", ncols=len(marks))
    share = [
        float((g[t > 0] > 0).mean()) if (t > 0).any() else 1.0
        for g, t in zip(found, labels, strict=True)
    ]
    said = ", ".join(f"{one:.0%}" for one in share)
    return _png(figure, f"{len(images)} slices; of the true tumour the model marks {said}.")


def _shown(images: NDArray[np.generic], data: DataSpec) -> int:
    """The channel to show: of the slice itself, not of its neighbours; FLAIR if the site has it."""
    for name in ("flair", "t1ce", "t2", "t1"):
        if name in data.channels and images[:, data.channels.index(name)].any():
            return data.channels.index(name)
    return len(data.channels) - 1


def _slice(
    axis: Axes,
    picture: NDArray[np.float64],
    classes: NDArray[np.generic] | None,
    colours: ListedColormap,
) -> None:
    axis.imshow(picture, cmap="gray", interpolation="nearest")
    if classes is not None:
        axis.imshow(
            classes, cmap=colours, vmin=0, vmax=colours.N - 1, alpha=0.55, interpolation="nearest"
        )


def _picture(image: NDArray[np.generic]) -> NDArray[np.float64]:
    """`[channels, height, width]` to values in 0..1, RGB or grey, the outer 1 % cut off."""
    pixels = image.astype(np.float64)
    if image.dtype == np.uint8:
        pixels = pixels / 255.0
    else:
        low, high = np.percentile(pixels, (1, 99))
        pixels = np.clip((pixels - low) / max(high - low, 1e-6), 0.0, 1.0)
    return pixels.transpose(1, 2, 0) if len(pixels) == 3 else pixels[0]


def _png(figure: Figure, alt: str) -> Plot:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=150, metadata={"Software": None})
    return Plot(data=buffer.getvalue(), kind="image/png", alt=alt)
