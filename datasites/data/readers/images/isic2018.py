"""HAM10000's training set under the names of the ISIC 2018 challenge, task 3.

    ISIC2018_Task3_Training_GroundTruth.csv       image, MEL, NV, BCC, AKIEC, BKL, DF, VASC: one is 1
    ISIC2018_Task3_Training_LesionGroupings.csv   image, lesion_id, how the diagnosis was found

They become rows with the columns of HAM10000's own table. Without the second one nobody knows
which pictures show one lesion, and nothing is read.
"""

from collections.abc import Sequence
from pathlib import Path

from datasites.data.folders import safe_files
from datasites.data.readers.csv_files.cell_numbers import plain
from datasites.data.readers.images import picture_files
from datasites.data.readers.tabular.csv_rows import Row
from syft_code.errors import InvalidData, require

GROUND_TRUTH = "ISIC2018_Task3_Training_GroundTruth.csv"
GROUPINGS = "ISIC2018_Task3_Training_LesionGroupings.csv"
BYSTANDERS = (GROUND_TRUTH.lower(), GROUPINGS.lower())
IMAGE, LESION = "image", "lesion_id"


def rows(root: Path, files: Sequence[Path]) -> tuple[str, list[Row]] | None:
    """The ground truth's name and its rows as HAM10000 has them, if the challenge's names are there.

    Raises:
        InvalidData: if the groupings are not there or miss a picture, or a row is not one-hot.
    """
    truth, groupings = (_only(files, name) for name in (GROUND_TRUTH, GROUPINGS))
    if truth is None:
        return None
    if groupings is None:
        raise InvalidData(
            f"{GROUPINGS!r} must lie beside {GROUND_TRUTH!r}, and does not: without it nobody knows "
            "which pictures show one lesion. Put it there."
        )
    name = safe_files.shown(root, truth)
    lesions = {
        row.cells.get(IMAGE, ""): row.cells.get(LESION, "")
        for row in picture_files.table_rows(root, groupings)
    }
    return name, [_row(row, lesions) for row in picture_files.table_rows(root, truth)]


def _only(files: Sequence[Path], name: str) -> Path | None:
    paths = [path for path in files if path.name.lower() == name.lower()]
    require(
        len(paths) <= 1,
        f"There must be one {name!r} in the folder, there are {len(paths)}. Move one of them out.",
        error=InvalidData,
    )
    return paths[0] if paths else None


def _row(row: Row, lesions: dict[str, str]) -> Row:
    image = row.cells.get(IMAGE, "")
    classes = [name for name, cell in row.cells.items() if name != IMAGE and plain(cell) == "1"]
    require(
        len(classes) == 1,
        f"{row.where}: one class must be 1, and {len(classes)} are. Mend the row.",
        error=InvalidData,
    )
    require(
        bool(lesions.get(image)),
        f"{row.where}: {GROUPINGS!r} must name the lesion of '{safe_files.printable(image)}', and "
        "does not. Put the published file there.",
        error=InvalidData,
    )
    return Row(
        cells={"image_id": image, "lesion_id": lesions[image], "dx": classes[0].lower()},
        where=row.where,
    )
