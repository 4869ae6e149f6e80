"""One case: its files by what they hold, and what its stored labels stand for."""

from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from datasites.data.folders import safe_files


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class BratsCase:
    """One case of a person.

    `place` is its path from the data folder on, `name` the last part of that unless two cases share it.
    `files` holds NIfTI by modality, "mask", or "stack" for a 4-D image, whose channels `channels`
    names ("none": left out). `dicom` are the files of its DICOM series. `labels` gives the class
    (0 to 3) of each stored label; `edition` is whose labels these are, "" if the owner says them.
    """

    name: str
    place: str
    patient: str
    edition: str
    labels: dict[int, int]
    files: dict[str, Path]
    dicom: tuple[Path, ...] = ()
    channels: tuple[str, ...] = ()

    def of(self, patient: str) -> "BratsCase":
        """The case as one of this person."""
        return replace(self, patient=patient)

    def called(self, name: str) -> "BratsCase":
        """The case under another name."""
        return replace(self, name=name)

    @property
    def folder(self) -> str:
        """The name of its own folder."""
        return PurePosixPath(self.place).name

    @property
    def where(self) -> str:
        """How a sentence about it begins."""
        return f"The case '{safe_files.printable(self.name)}'"
