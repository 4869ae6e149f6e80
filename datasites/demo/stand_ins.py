"""Synthetic data: stand-ins on disk for a data set, and mocks for an asset.

A stand-in lies in exactly the layout of the published data, so that readers cannot tell;
only its marker file does, and everything made from it says "stand-in". A mock is what
researchers see: drawn from the public schema alone, never from anything private.
"""

import csv
import gzip
import io
from pathlib import Path
from typing import Literal, assert_never

import numpy as np
from nibabel.nifti1 import Nifti1Image
from PIL import Image

from datasites.data import phantoms
from datasites.data.folders.safe_files import STAND_IN_MARKER
from datasites.data.readers.images import ham10000
from datasites.demo import stand_in_gliomas, stand_in_tables
from syft_code.errors import InvalidData, InvalidInput, require

Kind = Literal["ham10000", "brats", "lgg", "heart", "symptoms", "vitals"]
DEFAULT_PATIENTS: dict[Kind, int] = {
    "ham10000": 3200,
    "brats": 240,
    "lgg": 88,
    "heart": 920,
    "symptoms": 1200,
    "vitals": 600,
}
IMAGE_PX = 112
BRAIN_SHAPE = (64, 64, 24)
SECOND_IMAGE = 0.2  # the share of lesions with two images

# Source: the published table's images by site and diagnosis (Tschandl et al. 2018).
SITES = {"vidir_molemax": 0.395, "vidir_modern": 0.336, "rosendahl": 0.226, "vienna_dias": 0.043}
_PREVALENCE = {
    # akiec, bcc, bkl, df, mel, nv, vasc
    "vidir_molemax": (0.000, 0.001, 0.031, 0.008, 0.006, 0.940, 0.014),
    "vidir_modern": (0.010, 0.063, 0.141, 0.015, 0.202, 0.545, 0.024),
    "rosendahl": (0.131, 0.131, 0.217, 0.013, 0.151, 0.356, 0.001),
    "vienna_dias": (0.000, 0.011, 0.023, 0.009, 0.153, 0.797, 0.007),
}
_CAMERAS: dict[str, phantoms.Colour] = {
    "vidir_molemax": (1.00, 0.98, 1.02),
    "vidir_modern": (1.04, 0.97, 0.94),
    "rosendahl": (0.96, 1.00, 1.06),
    "vienna_dias": (0.90, 0.88, 0.84),
}
_COLUMNS = ("lesion_id", "image_id", "dx", "dx_type", "age", "sex", "localization", "dataset")
_NOTICE = """STAND-IN: everything in this folder is synthetic.

Consilium drew these files (kind {kind}, {patients} patients, seed {seed}) to try things out
without a data set. No patient is in them, and no result from them says anything about
medicine. Readers look for this file: keep it here.
"""


def drawable(kind: str) -> Kind:
    """A kind of data that stand-ins can be drawn of.

    >>> drawable("vitals")
    'vitals'

    Raises:
        InvalidInput: for another, such as a table of one's own.
    """
    for known in DEFAULT_PATIENTS:
        if kind == known:
            return known
    raise InvalidInput(
        f"Stand-ins can be drawn of {', '.join(DEFAULT_PATIENTS)}, got {kind!r}: take one of these, or "
        "name a folder with data of your own (--data, or data = in a federation's file)."
    )


def write(kind: Kind, folder: Path, *, patients: int | None = None, seed: int) -> None:
    """Write a stand-in in the layout of the published data set; the same seed, the same bytes.

    Raises:
        InvalidData: if the folder holds anything already.
    """
    count = DEFAULT_PATIENTS[kind] if patients is None else patients
    require(1 <= count <= 99_999, f"patients must be 1 to 99999, got {count}.", error=InvalidData)
    require(
        not folder.exists() or (folder.is_dir() and not any(folder.iterdir())),
        f"{folder.name!r} must be an empty folder for a stand-in, and is not. Name a new one.",
        error=InvalidData,
    )
    folder.mkdir(parents=True, exist_ok=True)
    # The marker comes first: a stand-in that was cut short must not pass for real data.
    notice = _NOTICE.format(kind=kind, patients=count, seed=seed)
    (folder / STAND_IN_MARKER).write_text(notice, encoding="utf-8")
    match kind:
        case "ham10000":
            _write_ham10000(folder, count, seed)
        case "brats":
            _write_brats(folder, count, seed)
        case "lgg":
            stand_in_gliomas.write_lgg(folder, count, seed)
        case "heart":
            stand_in_tables.write_heart(folder, count, seed)
        case "symptoms":
            stand_in_tables.write_symptoms(folder, count, seed)
        case "vitals":
            stand_in_tables.write_vitals(folder, count, seed)
        case _:
            assert_never(kind)


def _write_ham10000(folder: Path, patients: int, seed: int) -> None:
    """The first half of the lesions go to part 1, the others to part 2."""
    parts = [folder / name for name in ham10000.IMAGE_FOLDERS[:2]]
    for part in parts:
        part.mkdir()
    rows: list[tuple[str, ...]] = []
    for lesion in range(1, patients + 1):
        rng = np.random.default_rng([seed, lesion])
        site = str(rng.choice(list(SITES), p=list(SITES.values())))
        dx = str(rng.choice(ham10000.CLASSES, p=_PREVALENCE[site]))
        person = stand_in_tables.person(np.random.default_rng([seed, lesion, 9]), dx)
        for view in range(2 if rng.random() < SECOND_IMAGE else 1):
            image_id = f"ISIC_S{len(rows) + 1:06d}"
            picture = phantoms.lesion(
                phantoms.LOOKS[dx],
                body=np.random.default_rng([seed, lesion, 0]),
                view=np.random.default_rng([seed, lesion, 1 + view]),
                shape=(IMAGE_PX, IMAGE_PX),
                cast=_CAMERAS[site],
            )
            path = parts[2 * lesion > patients] / f"{image_id}.jpg"
            Image.fromarray(picture).save(path, "JPEG", quality=90)
            rows.append((f"HAM_S{lesion:06d}", image_id, dx, *person, site))
    table = io.StringIO(newline="")
    csv.writer(table, lineterminator="\n").writerows([_COLUMNS, *rows])
    (folder / "HAM10000_metadata.csv").write_text(table.getvalue(), encoding="utf-8")


def _write_brats(folder: Path, patients: int, seed: int) -> None:
    """One scanner gain a case; voxels of 1 mm, stored LPS with background 0, as BraTS is."""
    stored_label = np.array([0, 1, 2, 4], dtype=np.uint8)
    affine = np.diag([-1.0, -1.0, 1.0, 1.0])
    affine[1, 3] = BRAIN_SHAPE[1] - 1
    cases: list[tuple[str, float]] = []
    for number in range(1, patients + 1):
        rng = np.random.default_rng([seed, number])
        images, classes = phantoms.brain(rng, BRAIN_SHAPE)
        name = f"BraTS_STANDIN_{number:05d}"
        (folder / name).mkdir()
        cases.append((name, np.count_nonzero(classes) / np.count_nonzero(images[0])))
        gains = 400 * rng.lognormal(0, 0.3, len(phantoms.MODALITIES))
        volumes = {
            word: np.rint(image * gain).astype(np.int16)
            for word, image, gain in zip(phantoms.MODALITIES, images, gains, strict=True)
        }
        for word, voxels in (volumes | {"seg": stored_label[classes]}).items():
            # x and y run to the left and to the back in LPS, hence the two flips.
            image = Nifti1Image(voxels[::-1, ::-1], affine)  # type: ignore[no-untyped-call]
            packed = gzip.compress(image.to_bytes(), compresslevel=1, mtime=0)
            (folder / name / f"{name}_{word}.nii.gz").write_bytes(packed)
    stand_in_tables.write_survival(folder, cases, seed)
