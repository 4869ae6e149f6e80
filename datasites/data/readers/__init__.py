"""From data sets on disk to patients in memory.

`read` takes a folder as it was published and gives a `Reading`, or raises `InvalidData`
with a sentence that names the file, the reason and the way out. Nothing in between: one
bad file and nothing is read. Imports neither torch nor PySyft. May import its own rooms, `data.folders` and `syft_code`.
Start with `read` below, then `tabular/tables.py`.
"""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Literal

from datasites.data.folders import inventory
from datasites.data.folders.reading import Reading
from datasites.data.folders.safe_files import STAND_IN_MARKER, open_folder
from datasites.data.readers.images import (
    ham10000,
    labelled_pictures,
    lgg,
    picture_mapping,
)
from datasites.data.readers.tabular import table_schema, tables
from datasites.data.readers.tabular.table_schema import Schema
from datasites.data.readers.volumes import brats
from syft_code.recipes.recipe import DataSpec

__all__ = ["SCHEMAS", "SIZE_PX", "Kind", "Reading", "read", "spec"]

Kind = Literal["ham10000", "brats", "lgg", "heart", "symptoms", "vitals", "table", "images"]
"""What people call a data set; "table" and "images" are one's own, with `schema.toml` and `images.toml`
in the folder."""

SIZE_PX = 32
"""Pictures are this wide and high unless somebody says otherwise."""

SCHEMAS: dict[Kind, str] = {"heart": "heart_disease", "symptoms": "symptoms", "vitals": "vitals"}
"""The schemas of tables that come with Consilium."""


def read(
    kind: Kind,
    folder: Path,
    *,
    size_px: int = SIZE_PX,
    slices_per_patient: int = 16,
    neighbours: int = 0,
    stand_in: bool = False,
    facts: bool = False,
    progress: Callable[[int, int], None] = lambda done, cases: None,
) -> Reading:
    """Read a hospital's folder; run by the data owner, before anything is published.

    A folder with a stand-in's marker file is read as a stand-in whatever `stand_in` says.
    `size_px` concerns pictures alone. `slices_per_patient` concerns scans: so many slices at most,
    shared among the time points of a patient, one each at least. `neighbours` concerns BraTS alone:
    with 1, the slices right below and above each are further channels (2.5-D). With `facts`,
    pictures come with what the clinic knows beside them; tables have nothing else. `progress` is told
    how many cases of BraTS of how many are read.

    Raises:
        InvalidData: naming the first file that is not acceptable, and why.
    """
    root = open_folder(folder)
    found = _read(
        kind, root, size_px=size_px, slices_per_patient=slices_per_patient, neighbours=neighbours,
        stand_in=stand_in or _marked(root), facts=facts, progress=progress,
    )  # fmt: skip
    return replace(found, remarks=(*found.remarks, *inventory.hidden_remarks(root)))


def _read(
    kind: Kind,
    root: Path,
    *,
    size_px: int,
    slices_per_patient: int,
    neighbours: int,
    stand_in: bool,
    facts: bool,
    progress: Callable[[int, int], None],
) -> Reading:
    match kind:
        case "ham10000":
            return ham10000.read(root, size_px=size_px, stand_in=stand_in, facts=facts)
        case "images":
            mapping = picture_mapping.beside(root)
            return labelled_pictures.read(
                root, mapping, size_px=size_px, stand_in=stand_in, facts=facts
            )
        case "lgg":
            return lgg.read(
                root,
                size_px=size_px,
                slices_per_patient=slices_per_patient,
                stand_in=stand_in,
                facts=facts,
            )
        case "brats":
            return brats.read(
                root,
                size_px=size_px,
                slices_per_patient=slices_per_patient,
                neighbours=neighbours,
                stand_in=stand_in,
                facts=facts,
                progress=progress,
            )
        case _:
            return tables.read(root, _schema(kind, root), own=kind == "table", stand_in=stand_in)


def spec(
    kind: Kind,
    folder: Path,
    *,
    size_px: int = SIZE_PX,
    neighbours: int = 0,
    stand_in: bool = False,
    facts: bool = False,
) -> DataSpec:
    """The public shape of what `read` reads: no file of patients is opened for it.

    That of a table and of one's own pictures follows from a schema or a mapping, the owner's own file.

    Raises:
        InvalidData: if the owner's schema or mapping is not acceptable.
    """
    root = open_folder(folder)
    stand_in = stand_in or _marked(root)
    match kind:
        case "ham10000":
            return ham10000.spec(size_px=size_px, stand_in=stand_in, facts=facts)
        case "images":
            return picture_mapping.beside(root).spec(
                size_px=size_px, stand_in=stand_in, facts=facts
            )
        case "lgg":
            return lgg.spec(size_px=size_px, stand_in=stand_in, facts=facts)
        case "brats":
            return brats.spec(
                size_px=size_px, stand_in=stand_in, neighbours=neighbours, facts=facts
            )
        case _:
            return tables.spec(_schema(kind, root), stand_in=stand_in)


def _marked(root: Path) -> bool:
    return (root / STAND_IN_MARKER).exists()


def _schema(kind: Literal["heart", "symptoms", "vitals", "table"], root: Path) -> Schema:
    return table_schema.beside(root) if kind == "table" else table_schema.packaged(SCHEMAS[kind])
