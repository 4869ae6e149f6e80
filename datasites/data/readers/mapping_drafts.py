"""What lies in a folder whose meaning its owner has not written down yet, and a first mapping to edit.

It opens the owner's files, so it runs where strangers' files may be opened (`contained_survey`).
"""

from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from datasites.data.readers import Kind
from datasites.data.readers.images import first_mapping as images
from datasites.data.readers.images import picture_mapping
from datasites.data.readers.tabular import first_mapping as tabular
from datasites.data.readers.tabular import table_schema
from datasites.data.readers.volumes import first_mapping as volumes
from datasites.data.readers.volumes import mapping


class MappingDrafts(Protocol):
    """What the readers of one kind of file know of a folder before there is a mapping."""

    def describe(self, root: Path) -> tuple[str, ...]:
        """What was found, in sentences for the owner."""

    def first_mapping(self, root: Path) -> str:
        """The mapping's text, for the owner to edit."""


Preview = Callable[[Path, int], list[NDArray[np.uint8]]]
"""Pictures of at most so many cases, uint8 `[height, width]` or `[height, width, 3]`."""

FILES: dict[Kind, str] = {
    "table": table_schema.SCHEMA_FILE,
    "images": picture_mapping.MAPPING_FILE,
    "brats": mapping.MAPPING_FILE,
}
"""The mapping's file of each kind that a first one can be drafted for."""
DRAFTS: dict[Kind, MappingDrafts] = {"table": tabular, "images": images, "brats": volumes}
PREVIEWS: dict[Kind, Preview] = {"images": images.preview, "brats": volumes.preview}
