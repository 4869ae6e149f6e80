"""What an encoder says of public pictures, kept on disk so that no experiment asks about one twice.

    picture ─ hash of its bytes ─▶ known? ─ yes ─▶ the kept row
                                     └──── no ───▶ the encoder ─▶ kept

For data that one may look at: stand-ins, and data sets as published. A hospital's features lie in its
vault and nowhere else.
"""

import contextlib
import fcntl
import hashlib
import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load, save

from syft_code import canonical
from syft_code.cohort import Cohort, Images
from syft_code.models import frozen_features
from syft_code.recipes.architectures import Architecture
from syft_code.recipes.encoders import FEATURES_VERSION, Encoder, FixedLayer
from syft_code.recipes.recipe import front
from syft_code.runtime.durable_files import write_durably
from syft_code.runtime.encoder_files import FOLDER, EncoderFiles

HASH_BYTES = 16
Rows = dict[bytes, NDArray[np.float32]]


class EncodedPictures:
    """A folder of features, one file for each encoder; several processes may use it at once."""

    def __init__(self, folder: Path, encoders: EncoderFiles) -> None:
        self._folder = folder
        self._encoders = encoders

    def cohort(
        self,
        cohort: Cohort,
        model: Architecture,
        *,
        on_done: Callable[[int], None] = lambda pictures: None,
    ) -> Cohort:
        """The cohort that a model with a front trains on; the same one if it has none.

        `on_done` hears how many pictures an encoder has looked at.

        Raises:
            Unavailable: if a file of the front is not on this machine.
        """
        layers = front(model)
        if not layers:
            return cohort
        features = frozen_features.apply_front(
            layers, cohort.images, lambda layer, images: self._features(layer, images, on_done)
        )
        return replace(cohort, images=features)

    def _features(
        self, layer: FixedLayer, images: Images, on_done: Callable[[int], None]
    ) -> NDArray[np.float32]:
        sha256 = layer.file_sha256
        file = self._encoders.read(sha256, called=layer.title) if sha256 else b""
        if not isinstance(layer, Encoder) or not len(images):
            return frozen_features.encoded(layer, images, file)
        keys = [_key(picture) for picture in images]
        name = canonical.sha256(canonical.encode([FEATURES_VERSION, layer]))[:32]
        path = self._folder / f"{name}.safetensors"
        with self._alone(path):
            known = _read(path, layer.features)
            new = list({key: place for place, key in enumerate(keys) if key not in known}.values())
            if new:
                rows = frozen_features.encoded(layer, images[new], file, on_done=on_done)
                known |= {keys[place]: row for place, row in zip(new, rows, strict=True)}
                _write(path, known)
        return np.stack([known[key] for key in keys])

    @contextlib.contextmanager
    def _alone(self, path: Path) -> Iterator[None]:
        """Other processes wait: what they want is there then."""
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        with path.with_suffix(".lock").open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield


def usual() -> EncodedPictures:
    """Features in the user's cache folder; files of encoders from packages and from ./encoders."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return EncodedPictures(cache / "consilium" / "features", EncoderFiles(Path(FOLDER)))


def _key(picture: NDArray[np.generic]) -> bytes:
    shape = repr((picture.dtype.str, picture.shape)).encode()
    return hashlib.blake2b(shape + picture.tobytes(), digest_size=HASH_BYTES).digest()


def _read(path: Path, features: int) -> Rows:
    """What is known; nothing if the file is broken: it can be computed again."""
    try:
        found = load(path.read_bytes())
        keys, rows = found["pictures"], found["features"]
    except (OSError, SafetensorError, KeyError, ValueError):
        return {}
    if rows.shape != (len(keys), features, 1, 1) or keys.shape[1:] != (HASH_BYTES,):
        return {}
    return {bytes(key): row for key, row in zip(keys, rows, strict=True)}


def _write(path: Path, rows: Rows) -> None:
    pictures = np.frombuffer(b"".join(rows), np.uint8).reshape(-1, HASH_BYTES)
    write_durably(path, save({"pictures": pictures, "features": np.stack(list(rows.values()))}))
