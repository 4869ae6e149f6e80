"""From published data sets on disk to patients in memory.

`read` takes a folder as it was published and gives a `Reading`, or raises `InvalidData`
with a sentence that names the file, the reason and the way out. Nothing in between: one
bad file and nothing is read. Imports neither torch nor PySyft.
"""

from pathlib import Path
from typing import Literal, assert_never

from datasites.data.readers.brats import read as read_brats
from datasites.data.readers.files import STAND_IN_MARKER, open_folder
from datasites.data.readers.ham10000 import read as read_ham10000
from datasites.data.readers.reading import Reading

__all__ = ["Reading", "read"]


def read(
    kind: Literal["ham10000", "brats"],
    folder: Path,
    *,
    size_px: int,
    slices_per_patient: int = 16,
    stand_in: bool = False,
) -> Reading:
    """Read a hospital's folder; run by the data owner, before anything is published.

    A folder with a stand-in's marker file is read as a stand-in whatever `stand_in` says.
    `slices_per_patient` concerns BraTS alone: so many at most, shared among the time points of
    a patient, one each at least.

    Raises:
        InvalidData: naming the first file that is not acceptable, and why.
    """
    root = open_folder(folder)
    stand_in = stand_in or (root / STAND_IN_MARKER).exists()
    match kind:
        case "ham10000":
            return read_ham10000(root, size_px=size_px, stand_in=stand_in)
        case "brats":
            return read_brats(
                root, size_px=size_px, slices_per_patient=slices_per_patient, stand_in=stand_in
            )
        case _:
            assert_never(kind)
