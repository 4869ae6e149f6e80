"""Files without a class or a mask, read for a model exactly as those that it was trained on.

    a picture, a folder of pictures, a CSV ─ slices ─▶ images and facts under names
    a case, a folder of cases              ─ scans ──▶ one Scan after the other, which takes a mask back

Crop, size and standardisation are those of the readers: nothing here computes any.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from datasites.data.folders import inventory, safe_files
from datasites.data.folders.reading import counted
from datasites.data.readers.images import pictures
from datasites.data.readers.tabular import feature_coding, table_schema, tables
from datasites.data.readers.tabular import unlabelled as rows
from datasites.data.readers.tabular.table_schema import Schema
from datasites.data.readers.volumes import brats, case_volumes, mapping, slicing, unmasked
from datasites.data.readers.volumes.brats_case import BratsCase
from datasites.data.readers.volumes.case_volumes import CaseVolumes
from datasites.data.readers.volumes.mapping import VolumeMapping
from datasites.data.readers.volumes.slicing import Frame
from syft_code.errors import InvalidData, require
from syft_code.recipes.recipe import DataSpec

PUBLISHED = ("heart_disease", "symptoms", "vitals")
"""The schemas of tables that come with Consilium."""
FACTS = {"ham10000": "ham10000_facts", "brats": "brats_facts", "lgg": "lgg_facts"}
BESIDE = ("*.csv", "*.tsv", "*.tab", "*.toml")
"""Patterns of tables and mappings that may lie beside pictures: nothing is read of them."""


@dataclass(frozen=True, slots=True, kw_only=True, repr=False, eq=False)
class UnlabelledSlices:
    """What a model is asked about. Private throughout, as the patients are whose it is.

    Shapes: `images` and `facts` as in a cohort, one row for each of `names`. `remarks` are sentences
    for whoever asks.
    """

    names: tuple[str, ...]
    images: NDArray[np.uint8] | NDArray[np.float16]
    facts: NDArray[np.float32]
    remarks: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True, repr=False, eq=False)
class Scan:
    """One case: all slices of it that show any of the brain, and the way back to its own grid.

    Shapes: `images` float16 `[slices, channels, size, size]`; `facts` float32 `[slices, facts]`.
    """

    name: str
    images: NDArray[np.float16]
    facts: NDArray[np.float32]
    remarks: tuple[str, ...]
    _whole: CaseVolumes
    _frame: Frame

    def classes(self, scores: NDArray[np.float32]) -> NDArray[np.uint8]:
        """The class of each voxel, `[x, y, z]` in RAS, of scores `[slices, classes, size, size]`."""
        shape = self._whole.grid.voxels.shape
        return slicing.restored(scores, self._frame, (shape[0], shape[1], shape[2]))

    def as_stored(
        self, classes: NDArray[np.uint8]
    ) -> tuple[NDArray[np.uint8], NDArray[np.float64]]:
        """A mask with its axes as the case's own files have them, and its affine to mm."""
        return self._whole.grid.as_stored(classes)

    @property
    def spacing_mm(self) -> tuple[float, float, float]:
        """The size of a voxel along x, y and z."""
        return self._whole.grid.spacing_mm

    @property
    def voxel_ml(self) -> float:
        """The volume of a voxel, in millilitres."""
        return float(np.prod(self.spacing_mm)) / 1000

    def picture(self, z: int) -> tuple[str, NDArray[np.float64]]:
        """One whole slice of the modality that shows most, 0 to 1 `[x, y]`, and what it is called."""
        for name in ("flair", "t1ce", "t2", "t1"):
            if name in self._whole.images:
                voxels = self._whole.images[name].astype(np.float64)
                low, high = np.percentile(voxels, (1, 99.5))
                return name, np.clip((voxels[:, :, z] - low) / max(high - low, 1e-6), 0, 1)
        raise InvalidData(f"The case {self.name!r} must have an image, and has none.")


def slices(path: Path, data: DataSpec, *, schema: Path | None = None) -> UnlabelledSlices:
    """A picture, a folder of pictures, or a CSV, for a model of such data.

    `schema` is the TOML file that the study's tables were described by; without it a table is read by the
    published schema that has the model's columns.

    Raises:
        InvalidData: naming the first file that is not acceptable, and why.
    """
    if data.kind in ("table", "series"):
        return _rows(path, _schema(data, schema))
    return _pictures(path, data)


def scans(path: Path, data: DataSpec) -> Iterator[Scan]:
    """The cases of a folder, or the one of a NIfTI file, each read when it is its turn.

    Raises:
        InvalidData: naming the first file or case that is not acceptable, and why; a file that would be
            left out before any case is read.
    """
    root = safe_files.open_folder(path if path.is_dir() else path.parent)
    names = mapping.beside(root)
    cases = (
        unmasked.find(root, names)
        if path.is_dir()
        else [unmasked.one(root, root / path.name, names)]
    )
    seen: set[str] = set()
    for case in cases:
        require(
            case.name not in seen,
            f"{case.where} must be the only one of its name, and there are two. Rename a folder.",
            error=InvalidData,
        )
        seen.add(case.name)
    return (_scan(root, case, names, data) for case in cases)


def _pictures(path: Path, data: DataSpec) -> UnlabelledSlices:
    root = safe_files.open_folder(path if path.is_dir() else path.parent)
    paths = [root / path.name]
    if path.is_dir():
        paths = [one for one in inventory.files(root) if pictures.is_picture(one)]
        inventory.require_all_known(
            root, paths, bystanders=BESIDE, reason=pictures.why_unread,
            way_out="Export it, unpack it, or move it out of the folder",
        )  # fmt: skip
        require(
            bool(paths),
            "The folder must hold JPEG or PNG pictures, and holds none. Check the path.",
            error=InvalidData,
        )
    found = pictures.decode_all(root, paths, size_px=data.height_px, channels=data.channels)
    facts, remarks = _nothing_known(data, len(paths))
    return UnlabelledSlices(
        names=tuple(safe_files.shown(root, one) for one in paths),
        images=found.pixels,
        facts=facts,
        remarks=(*remarks, *pictures.remarks(found, size_px=data.height_px)),
    )


def _rows(path: Path, schema: Schema) -> UnlabelledSlices:
    require(
        not path.is_dir(),
        "A table must be one CSV file, and this is a folder. Name the file in it.",
        error=InvalidData,
    )
    root = safe_files.open_folder(path.parent)
    found = rows.read(root, root / path.name, schema)
    moved = counted(
        found.moved,
        "{} number lay outside its limits and was moved to them.",
        "{} numbers lay outside their limits and were moved to them.",
    )
    return UnlabelledSlices(
        names=found.names,
        images=found.images,
        facts=found.facts,
        remarks=(moved,) if found.moved else (),
    )


def _schema(data: DataSpec, path: Path | None) -> Schema:
    """The schema that gives just the model's columns and classes."""
    if path is None:
        known = [table_schema.packaged(name) for name in PUBLISHED]
        own = [schema for schema in known if _fits(schema, data)]
        require(
            bool(own),
            "A table must be read by the schema that the study's tables were described by, and none that "
            "comes with Consilium has this model's columns. Name it with --schema.",
            error=InvalidData,
        )
        return own[0]
    root = safe_files.open_folder(path.parent)
    data_bytes = safe_files.read_bytes(
        root, root / path.name, limit_bytes=table_schema.MAX_SCHEMA_BYTES
    )
    schema = table_schema.parse(data_bytes, name=safe_files.printable(path.name))
    require(
        _fits(schema, data),
        f"{safe_files.printable(path.name)!r} must describe the columns and classes that the model was trained "
        "on, in their order, and describes others. Take the schema of the study.",
        error=InvalidData,
    )
    return schema


def _fits(schema: Schema, data: DataSpec) -> bool:
    if schema.label is None:
        return False
    own = tables.spec(schema, stand_in=data.stand_in)
    return (own.kind, own.channels, own.facts, own.height_px, own.classes) == (
        data.kind, data.channels, data.facts, data.height_px, data.classes,
    )  # fmt: skip


def _scan(root: Path, case: BratsCase, names: VolumeMapping, data: DataSpec) -> Scan:
    whole = case_volumes.read(root, case, names)
    neighbours = brats.neighbours_of(data.channels)
    images, frame = brats.images_of(
        case, whole, size_px=data.height_px, count=None, neighbours=neighbours
    )
    facts, remarks = _nothing_known(data, len(images))
    missing = [name for name in mapping.MODALITIES if name not in whole.images]
    if missing:
        remarks = (
            *remarks,
            f"{case.where} has no {', '.join(missing)}: zero there, as in training.",
        )
    if not whole.placed:
        remarks = (
            *remarks,
            f"{case.where} does not say how the patient lies: right and left are a guess.",
        )
    return Scan(
        name=case.name, images=images, facts=facts, remarks=remarks, _whole=whole, _frame=frame
    )


def _nothing_known(data: DataSpec, count: int) -> tuple[NDArray[np.float32], tuple[str, ...]]:
    """The facts of pictures or slices of whom nothing is known, if the model was trained to bear that."""
    if not data.facts:
        return np.zeros((count, 0), dtype=np.float32), ()
    columns = table_schema.packaged(FACTS[data.kind]).column if data.kind in FACTS else ()
    require(
        feature_coding.names(columns) == data.facts and all(column.missing for column in columns),
        f"This model reads facts beside a picture ({', '.join(data.facts[:3])}, ...) that may not be missing, "
        "and no file here holds any: ask it in Python, with network() and facts of your own.",
        error=InvalidData,
    )
    row = feature_coding.nothing(columns)
    remark = "No facts were given (age, sex, ...): each counts as missing, as it may in training."
    return np.tile(row, (count, 1)), (remark,)
