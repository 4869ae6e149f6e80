"""A model that is ready to be asked, once its certificate holds.

model, certificate, keys ─ load ─▶ TrainedModel ─┬─ probabilities ─▶ of each picture, row or patient
                                                 └─ masks ─────────▶ of each case, on its own grid
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from datasites.data.readers import unlabelled
from datasites.data.readers.unlabelled import Scan
from federation.certificate import file_check
from federation.certificate.file_check import BESIDE
from federation.certificate.verification import Certificate
from federation.evaluation import model_file
from federation.evaluation.model_file import SavedModel
from syft_code.cohort import Images
from syft_code.errors import InvalidInput, Refused, require
from syft_code.models import frozen_features, networks
from syft_code.models.threads import one_thread
from syft_code.privacy import epsilons
from syft_code.recipes.encoders import FixedLayer
from syft_code.recipes.recipe import front
from syft_code.runtime.encoder_files import FOLDER, EncoderFiles

AT_ONCE = 32
"""Slices that the network looks at together."""
_EPSILONS = ("epsilon", "epsilon_alone")
UNCHECKED = (
    "Not checked: no certificate was asked for, so that nobody says who trained this model, on whose "
    "patients, and what it cost them."
)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class Probabilities:
    """What a model says of each file, row or patient; private, as the patients are.

    Shapes: `values` float32 `[names, classes]`, each row adding up to 1.
    """

    names: tuple[str, ...]
    classes: tuple[str, ...]
    values: NDArray[np.float32]
    remarks: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class PredictedMask:
    """What a model says of one case; private, as the patient is.

    Shapes: `classes` uint8 `[x, y, z]` in RAS, numbers of the model's classes; `scan` takes them back to
    the case's own axes.
    """

    scan: Scan
    classes: NDArray[np.uint8]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TrainedModel:
    """A network with what it was trained for; `standing` says in words what its certificate is worth.

    `encoders` are the files of this machine that a model's front may name.
    """

    saved: SavedModel
    standing: str
    encoders: EncoderFiles = field(default_factory=lambda: EncoderFiles(Path(FOLDER)))

    def network(self) -> nn.Module:
        """The network, for tensors that `networks.inputs` gives."""
        return self.saved.network()

    def probabilities(self, path: Path | str, *, schema: Path | str | None = None) -> Probabilities:
        """Of a picture, a folder of pictures, or each row or patient of a CSV.

        `schema` is the TOML file that describes the table, if it is none that comes with Consilium.

        Raises:
            InvalidInput: if the model draws masks, or the path is not there.
            InvalidData: naming the first file, row or cell that is not acceptable, and why.
            Unavailable: if a public file that the model's front names is not on this machine.
        """
        data = self.saved.data
        self._require_task("classification", "masks of cases: ask it for masks")
        place = _there(path)
        given = None if schema is None else _there(schema)
        found = unlabelled.slices(place, data, schema=given)
        return Probabilities(
            names=found.names,
            classes=data.classes,
            values=self.scores(found.images, found.facts),
            remarks=found.remarks,
        )

    def masks(self, path: Path | str) -> Iterator[PredictedMask]:
        """Of a case's NIfTI file, its folder, or each case of a folder, one after the other.

        All slices that show any of the brain are predicted. A case with several modalities is a folder.

        Raises:
            InvalidInput: if the model gives classes, or the path is not there.
            InvalidData: naming the first file or case that is not acceptable, and why.
        """
        self._require_task(
            "segmentation", "a class to each picture or row: ask it for probabilities"
        )
        require(
            self.saved.data.kind == "brats",
            f"Masks must be drawn on cases in NIfTI, and this model was trained on {self.saved.data.kind}, "
            "pictures without a grid in mm: ask it in Python, with network() and slices of your own.",
            error=InvalidInput,
        )
        for scan in unlabelled.scans(_there(path), self.saved.data):
            yield PredictedMask(
                scan=scan, classes=scan.classes(self.scores(scan.images, scan.facts))
            )

    def _require_task(self, task: str, otherwise: str) -> None:
        require(
            self.saved.data.task == task,
            f"This model must be one of {task}, and gives {otherwise}.",
            error=InvalidInput,
        )

    def scores(self, images: Images, facts: NDArray[np.float32]) -> NDArray[np.float32]:
        """The probability of each class, of each slice or of each of its pixels."""
        network, entering = self.network(), self._entering(images)
        parts = []
        with one_thread(), torch.inference_mode():
            for start in range(0, len(images), AT_ONCE):
                part = slice(start, start + AT_ONCE)
                logits = network(*networks.inputs(entering[part], facts[part]))
                parts.append(logits.softmax(1).numpy())
        return np.concatenate(parts)

    def _entering(self, images: Images) -> Images:
        """What the network takes of slices: themselves, or what its front says of each; kept nowhere."""
        return frozen_features.apply_front(front(self.saved.recipe.model), images, self._encoded)

    def _encoded(self, layer: FixedLayer, images: Images) -> NDArray[np.float32]:
        sha256 = layer.file_sha256
        file = self.encoders.read(sha256, called=layer.title) if sha256 else b""
        return frozen_features.encoded(layer, images, file)


def load(
    model: Path | str,
    *,
    certificate: Path | str | None = None,
    keys: Path | str | None = None,
    unchecked: bool = False,
) -> TrainedModel:
    """Read a model and hold it against its certificate, `certificate.json` beside it unless named.

    `keys` is the JSON file of the parties' own public keys (`certificate verify`). Without it the keys
    are taken from the certificate itself, and `standing` says so. With `unchecked` no certificate is
    looked for.

    Raises:
        InvalidInput: if a file is missing, or is not what it should be.
        Refused: if the certificate does not hold; the sentence says what.
    """
    path = Path(model)
    require(
        path.is_file(),
        f"A model must be a file such as model.safetensors, and {str(path)!r} is none: check its "
        "name. The notebooks write theirs into federation_state/models.",
        error=InvalidInput,
    )
    if unchecked:
        require(
            certificate is None and keys is None,
            "A model can't be both checked and unchecked: leave out the certificate and keys, or unchecked.",
            error=InvalidInput,
        )
        return TrainedModel(saved=model_file.load(path), standing=UNCHECKED)
    beside = path.parent / BESIDE if certificate is None else Path(certificate)
    require(
        certificate is not None or beside.exists(),
        f"A model must have its certificate, and no {BESIDE!r} lies beside this one: put it there, name it "
        "with certificate, or say unchecked if you trust the file for another reason.",
        error=InvalidInput,
    )
    content, problems = file_check.check(path, beside, None if keys is None else Path(keys))
    if content is None or problems:
        raise Refused(
            f"The certificate does not hold, so that the model is not used. {' '.join(problems)}"
        )
    return TrainedModel(
        saved=model_file.load(path), standing=_standing(content, keys_given=keys is not None)
    )


def _standing(content: Certificate, *, keys_given: bool) -> str:
    spent = [own for own in content["hospitals"] if own["epsilon"] is not None]
    most, worst = (max((own[name] for own in spent), default=0.0) for name in _EPSILONS)
    cost = f"epsilon {epsilons.at_least(most)} at most" + (
        f" ({epsilons.at_least(worst)} if all other hospitals collude)" if worst > most else ""
    )
    data = " on STAND-INS, which have no medical meaning" if content["stand_in"] else ""
    keys = (
        "by the keys that you gave."
        if keys_given
        else "by keys that stand in it: whose they are was not checked (give the parties' own as keys)."
    )
    return (
        f"The certificate holds: study {content['study']}, {len(content['hospitals'])} hospitals{data}, "
        f"{cost}, signed {keys}"
    )


def _there(path: Path | str) -> Path:
    place = Path(path)
    try:
        there = place.exists() and (place.is_dir() or place.is_file())
    except (OSError, ValueError):
        there = False
    require(
        there,
        f"There must be a file or folder to read, and there is none at {str(path)[-80:]!r}: check its name.",
        error=InvalidInput,
    )
    return place
