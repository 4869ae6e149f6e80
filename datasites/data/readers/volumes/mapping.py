"""`volumes.toml`: the owner's own names, beside the cases.

    affine = "sform"                           # where a header's two affines differ: which holds
    patient_id = "placeholder"                 # DICOM's PatientID names nobody here
    ignore = ["*_dwi.nii.gz"]                  # files, or descriptions of series, to leave out
    [files]                                    # file names by what they hold; * is any text
    t1ce = ["*_post.nii.gz"]
    mask = ["*_roi.nii.gz"]
    [series]                                   # DICOM: descriptions of series by modality
    flair = ["*FLAIR*"]
    [channels]                                 # nnU-Net, Decathlon: instead of dataset.json's names
    0 = "flair"
    [labels]                                   # stored values by region; 0 is background
    core = [1]
    [persons]                                  # who is one person
    pattern = '(?P<person>P\\\\d+)_scan\\\\d'

It is the owner's word, as a schema is: no part of it is computed from patients, and the public shape of an
asset does not depend on it.
"""

import re
from dataclasses import field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from datasites.data.folders import safe_files, toml_files
from datasites.data.folders.identifiers import PersonRule
from datasites.data.readers.volumes.formats import nifti
from syft_code import canonical
from syft_code.errors import InvalidData, require

MAPPING_FILE = "volumes.toml"
MAX_MAPPING_BYTES = 2**18
NOTHING = "none"
"""A channel that is left out."""
HIGHEST_LABEL = 255

Content = Literal["t1", "t1ce", "t2", "flair", "mask"]
Modality = Literal["t1", "t1ce", "t2", "flair"]
Region = Literal["background", "core", "edema", "enhancing"]
CLASSES: tuple[Region, ...] = ("background", "core", "edema", "enhancing")
MODALITIES: tuple[Modality, ...] = ("t1", "t1ce", "t2", "flair")
Label = Annotated[int, Field(ge=0, le=HIGHEST_LABEL)]
Pattern = Annotated[str, Field(min_length=1, max_length=200)]
_ENDING = re.compile(r"(?:\.nii[.a-z*?]*|\.\*)$")


@canonical.message
class VolumeMapping:
    """What an owner says of a folder of volumes; all of it may be left out. Patterns are those of
    `fnmatch`, held against names in small letters."""

    files: dict[Content, tuple[Pattern, ...]] = field(default_factory=dict)
    series: dict[Modality, tuple[Pattern, ...]] = field(default_factory=dict)
    channels: dict[str, Modality | Literal["none"]] = field(default_factory=dict)
    labels: dict[Region, tuple[Label, ...]] = field(default_factory=dict)
    ignore: tuple[Pattern, ...] = ()
    persons: PersonRule = PersonRule()
    affine: Literal["", "sform", "qform"] = ""
    patient_id: Literal["", "placeholder"] = ""

    def __post_init__(self) -> None:
        values = [value for region in self.labels.values() for value in region]
        require(
            len(set(values)) == len(values),
            "labels: a stored value can stand for one region only.",
            error=InvalidData,
        )
        require(
            not self.labels or any(self.labels.get(name) for name in CLASSES[1:]),
            "labels: at least one of core, edema and enhancing must have a value.",
            error=InvalidData,
        )
        require(
            0 not in values or 0 in self.labels.get("background", ()),
            "labels: 0 is what a mask holds outside the tumour, so that it must be background.",
            error=InvalidData,
        )
        require(
            all(name.isascii() and name.isdecimal() and len(name) <= 4 for name in self.channels),
            "channels: must be named by their number, from 0 on.",
            error=InvalidData,
        )

    @property
    def classes(self) -> dict[int, int] | None:
        """The class (0 to 3) of each stored value, or None if the mapping says nothing of labels."""
        if not self.labels:
            return None
        return {0: 0} | {
            value: CLASSES.index(region)
            for region, values in self.labels.items()
            for value in values
        }

    def content_of(self, path: Path) -> tuple[str, ...]:
        """What the owner says a file holds; more than one is a fault of the mapping."""
        return tuple(
            content for content, patterns in self.files.items() if matches(path.name, patterns)
        )

    def stem_of(self, path: Path) -> str:
        """What the one * stands for in the pattern that makes a file what it is, in small letters; "" without one.

        >>> VolumeMapping(files={"t1": ("*_pre.nii*",)}).stem_of(Path("P1_pre.nii.gz"))
        'p1'
        """
        patterns = [
            pattern.lower()
            for patterns in self.files.values()
            for pattern in patterns
            if matches(path.name, (pattern,))
        ]
        stems = set()
        for pattern in patterns:
            before, star, after = _ENDING.sub("", pattern).partition("*")
            if not star or any(char in before + after for char in "*?["):
                return ""
            name = nifti.stem(path).lower()
            stems.add(name[len(before) : len(name) - len(after)])
        return stems.pop() if len(stems) == 1 else ""

    def modalities_of(self, description: str) -> tuple[str, ...]:
        """What the owner says a series is; more than one is a fault of the mapping."""
        return tuple(
            name for name, patterns in self.series.items() if matches(description, patterns)
        )

    def ignores(self, name: str) -> bool:
        """Whether the owner leaves out a file or a series of this name."""
        return matches(name, self.ignore)


def matches(name: str, patterns: tuple[str, ...]) -> bool:
    """Whether a name is as one of the patterns, small or capital.

    >>> matches("A_POST.nii.gz", ("*_post.nii.gz",))
    True
    """
    return any(fnmatchcase(name.lower(), pattern.lower()) for pattern in patterns)


def beside(root: Path) -> VolumeMapping:
    """The mapping that lies in the owner's folder, or an empty one.

    Raises:
        InvalidData: with one sentence that names the field.
    """
    path = root / MAPPING_FILE
    if not (path.is_symlink() or path.exists()):
        return VolumeMapping()
    return parse(safe_files.read_bytes(root, path, limit_bytes=MAX_MAPPING_BYTES))


def parse(data: bytes) -> VolumeMapping:
    """Read a mapping.

    Raises:
        InvalidData: with one sentence that names the field.
    """
    return toml_files.parse(VolumeMapping, data, name=MAPPING_FILE)
