"""Stand-ins for the lower-grade gliomas (Buda et al. 2019): slices, masks and the table, as published."""

from pathlib import Path

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from PIL import Image

from datasites.data import phantoms
from datasites.data.readers.images import lgg, lgg_cases
from datasites.demo import stand_in_tables

INSTITUTIONS = {"DU": 0.41, "HT": 0.31, "CS": 0.15, "FG": 0.12, "EZ": 0.01}
"""Shares of the published patients; the last institution has one."""
SHAPE = (64, 64, 20)
_NO_FLAIR_TWIN = 0.93  # the share of the cases that have a sequence of their own in each channel
_DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"


def write_lgg(folder: Path, patients: int, seed: int) -> None:
    """A case a patient; institutions in turn by their shares, each with one patient at least."""
    counts = stand_in_tables.shared_out(patients, list(INSTITUTIONS.values()))
    places = [name for name, count in zip(INSTITUTIONS, counts, strict=True) for _ in range(count)]
    rows: list[tuple[str, ...]] = [("Patient", *lgg.PUBLISHED.values(), "death01")]
    for number, place in enumerate(places, start=1):
        rng = np.random.default_rng([seed, number])
        person = f"TCGA_{place}_{_code(number)}"
        _write_case(folder, f"{person}_20000101", rng)
        age = str(int(np.clip(rng.normal(46, 14), 20, 75)))
        rows.append((person, age, str(rng.integers(1, 3)), str(rng.integers(0, 2))))
    stand_in_tables.write_csv(folder / lgg_cases.TABLE, rows)


def _write_case(folder: Path, name: str, rng: Generator) -> None:
    volumes, classes = phantoms.brain(rng, SHAPE)
    channels = volumes[list(phantoms.LGG)]
    for channel in (0, 2):
        if rng.random() > _NO_FLAIR_TWIN:
            channels[channel] = channels[lgg.FLAIR]
    pixels = np.clip(channels * 180 * rng.lognormal(0, 0.1), 0, 255).astype(np.uint8)
    (folder / name).mkdir()
    for z in range(SHAPE[2]):
        stem = folder / name / f"{name}_{z + 1}"
        slice_ = pixels[:, :, ::-1, z].transpose(2, 1, 0)
        mask: NDArray[np.uint8] = np.where(classes[:, ::-1, z].T > 0, 255, 0).astype(np.uint8)
        for picture, ending in ((slice_, ".tif"), (mask, "_mask.tif")):
            path = Path(f"{stem}{ending}")
            Image.fromarray(np.ascontiguousarray(picture)).save(path, compression="tiff_lzw")


def _code(number: int) -> str:
    """A patient's four signs, as TCGA has them.

    >>> _code(37)
    '0011'
    """
    signs = ""
    for _ in range(4):
        number, place = divmod(number, len(_DIGITS))
        signs = _DIGITS[place] + signs
    return signs
