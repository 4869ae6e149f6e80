"""Pictures, volumes and series that come back under another name are known again; others are not."""

import io
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from datasites.data import fingerprints, train_test_split
from datasites.data.fingerprints import Fingerprints
from datasites.data.folders.reading import Reading
from datasites.data.readers import Kind, read
from datasites.demo import stand_ins

KEY = bytes(range(32))
OTHER_NAMES = b"another salt makes other names.."


def prints(reading: Reading, salt: bytes = bytes(32), key: bytes = KEY) -> Fingerprints:
    split = train_test_split.split(reading, None, hospital="h", salt=salt, held_out=0.0)
    return fingerprints.take(split, reading.spec, key)


def again(new: Reading, old: Reading) -> int:
    """How many patients of a reading are known from another one, under other names."""
    return len(fingerprints.under_other_names(prints(new, OTHER_NAMES), [prints(old)]))


def saved_again(folder: Path, *, quality: int, gain: float = 1.0) -> None:
    """Every picture decoded and compressed anew, perhaps brighter."""
    for path in folder.rglob("*.jpg"):
        picture = Image.open(io.BytesIO(path.read_bytes())).convert("RGB")
        brighter = Image.eval(picture, lambda value: min(255, int(value * gain)))
        brighter.save(path, "JPEG", quality=quality)


@pytest.fixture
def skin(tmp_path: Path) -> Path:
    folder = tmp_path / "skin"
    stand_ins.write("ham10000", folder, patients=20, seed=0)
    return folder


@pytest.mark.parametrize(
    ("quality", "gain", "size_px"), [(75, 1.0, 32), (90, 1.05, 24), (90, 1.0, 64)]
)
def test_pictures_that_were_compressed_or_sized_anew_are_known(
    skin: Path, quality: int, gain: float, size_px: int
) -> None:
    before = read("ham10000", skin, size_px=32)
    saved_again(skin, quality=quality, gain=gain)
    after = read("ham10000", skin, size_px=size_px)
    assert again(after, before) == len(before.patient_ids)


def test_other_pictures_are_other_people(skin: Path, tmp_path: Path) -> None:
    stand_ins.write("ham10000", tmp_path / "others", patients=20, seed=1)
    others = read("ham10000", tmp_path / "others", size_px=32)
    assert again(others, read("ham10000", skin, size_px=32)) == 0


@pytest.mark.slow
def test_real_lesions_are_told_apart_and_known_again(ham10000: Path) -> None:
    reading = read("ham10000", ham10000, size_px=32)
    number = len(reading.patient_ids)
    half = np.arange(number) % 2 == 0
    first, second = (
        fingerprints.take(
            train_test_split.split(reading, mask, hospital="h", salt=bytes(32), held_out=0.0),
            reading.spec,
            KEY,
        )
        for mask in (half, ~half)
    )
    assert not fingerprints.under_other_names(second, [first]), "different lesions"
    assert again(read("ham10000", ham10000, size_px=48), reading) > 0.98 * number


def test_volumes_are_known_with_other_channels_and_sizes(tmp_path: Path) -> None:
    stand_ins.write("brats", tmp_path / "a", patients=4, seed=0)
    stand_ins.write("brats", tmp_path / "b", patients=4, seed=1)
    before = read("brats", tmp_path / "a", size_px=48)
    for size_px, neighbours in ((48, 1), (40, 0), (48, 0)):
        changed = read("brats", tmp_path / "a", size_px=size_px, neighbours=neighbours)
        assert again(changed, before) == 4
    assert again(read("brats", tmp_path / "b", size_px=48), before) == 0


@pytest.mark.parametrize("kind", ["heart", "symptoms", "vitals"])
def test_every_row_of_a_table_and_every_series_is_known_again(kind: Kind, tmp_path: Path) -> None:
    stand_ins.write(kind, tmp_path / "a", patients=30, seed=0)
    reading = read(kind, tmp_path / "a")
    assert again(reading, reading) == len(reading.patient_ids)


def test_a_picture_of_one_colour_is_nobody(skin: Path) -> None:
    flat: NDArray[np.uint8] = np.full((2, 3, 16, 16), 9, np.uint8)
    assert not fingerprints._sketches(flat, KEY).any()


def test_without_the_key_fingerprints_tell_nothing(skin: Path) -> None:
    reading = read("ham10000", skin, size_px=32)
    one, two = prints(reading), prints(reading, OTHER_NAMES, key=bytes(32))
    assert not fingerprints.under_other_names(two, [one])
    apart = np.unpackbits(one.sketches ^ two.sketches).mean()
    assert 0.45 < apart < 0.55, "another key makes other bits"
    assert fingerprints.decode(one.encode()).names() == one.names()
