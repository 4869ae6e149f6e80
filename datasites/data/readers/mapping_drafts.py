"""What lies in a folder whose meaning its owner has not written down yet, and a first mapping to edit.

It opens the owner's files, so it runs where strangers' files may be opened (`contained_survey`).
"""

from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from datasites.data.readers import Kind
from datasites.data.readers.volumes import first_mapping as volumes
from datasites.data.readers.volumes.mapping import MAPPING_FILE


class MappingDrafts(Protocol):
    """What the readers of one kind of file know of a folder before there is a mapping."""

    def describe(self, root: Path) -> tuple[str, ...]:
        """What was found, in sentences for the owner."""

    def first_mapping(self, root: Path) -> str:
        """The mapping's text, for the owner to edit."""

    def preview(self, root: Path, most: int) -> list[NDArray[np.uint8]]:
        """Pictures of some cases, uint8 `[height, width]` or `[height, width, 3]`."""


FILES: dict[Kind, str] = {"brats": MAPPING_FILE}
"""The mapping of each kind that a first one can be drafted for."""
DRAFTS: dict[Kind, MappingDrafts] = {"brats": volumes}
