"""What a plan's fixed layers say of a cohort, kept beside it: computed once, and gone with it.

    cohort ─ encoder, in a contained process ─▶ file ─ projection ─▶ file ─▶ a round trains on this
           ─ means of wavelets, in the same  ─▶ file ─▶

Where several encoders look at the pictures, the second's file holds what both say, and so on.

A file is a cohort's, with features in the place of pictures; its name holds the hashes of the cohort,
of the layers and of its own bytes. It lies in the vault's folder, as private as the cohort itself. It
is no source of truth: one that is missing or changed is computed anew.
"""

import hashlib
import logging
import math
from collections.abc import Callable, Collection
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from datasites import private_files
from datasites.data import cohort_file
from datasites.vault.worker.job_messages import EncodingJob
from datasites.vault.worker.training_worker import TrainingWorker
from syft_code import canonical
from syft_code.errors import TrainingFailed, Unavailable, require
from syft_code.plans.plan import Plan
from syft_code.recipes.encoders import FEATURES_VERSION, steps
from syft_code.recipes.layers import KeptLayer
from syft_code.runtime import durable_files, encoder_files
from syft_code.runtime.encoder_files import EncoderFiles

LOG = logging.getLogger("consilium.vault")
TOLD_EVERY = 256
"""Pictures between two lines of the owner's log."""
_ENDING = ".safetensors"
_VERSION = f"v{FEATURES_VERSION}-"


class CohortOnDisk(NamedTuple):
    """A cohort's file, and the hash of its bytes."""

    path: Path
    sha256: str


class EncodedCohorts:
    """The features of a vault's cohorts, under the hashes of cohort and layers."""

    def __init__(self, folder: Path, worker: TrainingWorker, encoders: EncoderFiles) -> None:
        self._folder = private_files.private_folder(folder)
        self._worker = worker
        self._encoders = encoders
        self._checked: dict[Path, tuple[int, int]] = {}

    def check(self, plan: Plan) -> None:
        """Raise `Unavailable` unless every file that the plan's layers need is on this machine."""
        for layer in plan.computed_once:
            sha256 = layer.file_sha256
            if sha256 and not self._encoders.has(sha256):
                raise Unavailable(encoder_files.missing(sha256, called=layer.title))

    def of(self, plan: Plan, cohort: CohortOnDisk) -> CohortOnDisk:
        """What the plan trains on: the cohort itself, or what the plan's fixed layers say of it.

        Takes as long as those need the first time, and no time after that.

        Raises:
            Unavailable: if a file of a layer is not on this machine.
            InvalidData: if it does not hold what the plan's layer needs.
            TrainingFailed: if the contained process ended before it was done.
        """
        before = cohort
        for place, layers in enumerate(steps(plan.computed_once)):
            stem = f"{cohort.sha256}.{_key(layers)}"
            before = self._known(stem) or self._computed(plan, place, cohort, before, stem)
        return before

    def without(self, cohort_sha256: str, new_sha256: str, tokens: Collection[str]) -> None:
        """Keep the features of a cohort for the one that took its place, without some patients."""
        for path in self._folder.glob(f"{cohort_sha256}.*{_ENDING}"):
            if self._is_whole(path):
                split = cohort_file.unpack_encoded(path.read_bytes())
                key = path.name.split(".")[1]
                self._keep(f"{new_sha256}.{key}", cohort_file.pack(split.without(tokens)))

    def delete_except_of(self, cohorts: Collection[str]) -> None:
        """Delete the features of every cohort but these, and all that another version made."""
        names = (path.name.partition(".") for path in self._folder.iterdir())
        kept = ["".join(n) for n in names if n[0] in cohorts and n[2].startswith(_VERSION)]
        private_files.delete_except(self._folder, kept)

    def _file(self, layer: KeptLayer) -> bytes:
        sha256 = layer.file_sha256
        return self._encoders.read(sha256, called=layer.title) if sha256 else b""

    def _known(self, stem: str) -> CohortOnDisk | None:
        for path in self._folder.glob(f"{stem}.*{_ENDING}"):
            if self._is_whole(path):
                return CohortOnDisk(path, path.name.split(".")[2])
            path.unlink(missing_ok=True)
        return None

    def _is_whole(self, path: Path) -> bool:
        """Whether a file has the bytes that its name says; read once for each state of it."""
        status = path.stat()
        mark = (status.st_ino, status.st_ctime_ns)
        if self._checked.get(path) != mark:
            with path.open("rb") as file:
                if hashlib.file_digest(file, "sha256").hexdigest() != path.name.split(".")[2]:
                    return False
            self._checked[path] = mark
        return True

    def _computed(
        self, plan: Plan, place: int, pictures: CohortOnDisk, before: CohortOnDisk, stem: str
    ) -> CohortOnDisk:
        layer, whole = plan.computed_once[place], cohort_file.without_images(pictures.path)
        beside = place > 0 and plan.input_features(place) is None
        entering = pictures if beside else before
        job = EncodingJob(
            plan=plan.encode().decode(),
            place=place,
            cohort_sha256=entering.sha256,
            pictures=len(whole.cohort.images),
        )
        raw = self._worker.run(
            job, self._file(layer), entering.path, on_step=_told(layer, job.pictures)
        )
        features = _features(raw, (job.pictures, plan.output_features(place), 1, 1))
        if beside:
            features = np.concatenate([_verified(before), features], axis=1)
        encoded = replace(whole, cohort=replace(whole.cohort, images=features))
        return self._keep(stem, cohort_file.pack(encoded))

    def _keep(self, stem: str, data: bytes) -> CohortOnDisk:
        digest = canonical.sha256(data)
        path = self._folder / f"{stem}.{digest}{_ENDING}"
        durable_files.write_durably(path, data)
        return CohortOnDisk(path, digest)


def _features(raw: bytes, shape: tuple[int, ...]) -> NDArray[np.float32]:
    """What a contained process says, before it is kept: so many numbers, all of them finite."""
    features = np.frombuffer(raw[: len(raw) // 4 * 4], "<f4")
    require(
        len(raw) == 4 * math.prod(shape) and bool(np.isfinite(features).all()),
        "What a plan's fixed layer says of the pictures must be finite numbers, as many as its features, and is "
        "not: nothing of it is kept.",
        error=TrainingFailed,
    )
    return features.reshape(shape)


def _verified(kept: CohortOnDisk) -> NDArray[np.float32]:
    """Features from a file, held against its hash: it lay on disk while another encoder was at work."""
    try:
        data = kept.path.read_bytes()
    except OSError:
        data = b""
    if canonical.sha256(data) != kept.sha256:
        kept.path.unlink(missing_ok=True)
        raise TrainingFailed(
            "The features of one encoder must stay as they are while the next looks at the pictures, and their "
            "file was changed or removed: they are computed anew when they are needed."
        )
    return cohort_file.unpack_encoded(data).cohort.images.astype(np.float32, copy=False)


def _key(layers: tuple[KeptLayer, ...]) -> str:
    return _VERSION + canonical.sha256(canonical.encode(layers))[:32]


def _told(layer: KeptLayer, pictures: int) -> Callable[[int], None]:
    """Progress, for the owner's log alone: the number of pictures is private."""

    def tell(done: int) -> None:
        if done % TOLD_EVERY == 0 or done == pictures:
            LOG.info("%s: %d of %d pictures", layer.kind, done, pictures)

    return tell
