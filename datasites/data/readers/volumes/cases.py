"""Which files of a folder make one case, and which cases are one person; looks at names and first bytes.

    every folder ─ its files by what they hold ─▶ no file left over? ─▶ cases, each whole ─▶ persons

A case is a folder with NIfTI files in it, at any depth, or a pair of files in `imagesTr` and
`labelsTr` (`training_folders`). DICOM files belong to the nearest folder above them that has a mask.
All time points of a person are one patient (`persons`).
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from datasites.data.folders import identifiers, inventory, safe_files
from datasites.data.folders.reading import counted
from datasites.data.readers.volumes import editions, persons, training_folders
from datasites.data.readers.volumes.brats_case import BratsCase
from datasites.data.readers.volumes.editions import BRATS_2013_TO_2021, MASK, Edition
from datasites.data.readers.volumes.formats import dicom, nifti, unread
from datasites.data.readers.volumes.mapping import MAPPING_FILE, VolumeMapping
from syft_code.errors import InvalidData, require


@dataclass(frozen=True, slots=True, kw_only=True, repr=False, eq=False)
class FoundCases:
    """The cases, sorted by name, and what their owner is told beside them."""

    cases: list[BratsCase]
    remarks: tuple[str, ...]


@dataclass(slots=True, repr=False, eq=False)
class _Folder:
    """A folder with files of a case: NIfTI by what each holds and the edition that says so."""

    path: Path
    named: list[tuple[str, Path, Edition | None]] = field(default_factory=list)
    dicom: list[Path] = field(default_factory=list)


def find(root: Path, mapping: VolumeMapping) -> FoundCases:
    """Every case of the folder, each with a mask and at least one image.

    Raises:
        InvalidData: naming the first file that would be left out, or the first case that is not
            whole or not clear.
    """
    search = _Search(root, mapping)
    if (root / training_folders.IMAGES).is_dir():
        training = training_folders.find(root, mapping)
        search.require_all_known(training.taken, bystanders=training_folders.BYSTANDERS)
        cases, remarks = training.cases(), list(training.remarks)
        search.ignored = sum(map(search.ignores, inventory.files(root)))
    else:
        search.visit(root)
        search.require_all_known(search.taken())
        cases = [_case(root, folder, mapping) for folder in search.folders if folder.named]
        remarks = []
    require(
        bool(cases),
        "The folder must hold cases such as X/X_flair.nii.gz with X/X_seg.nii.gz, and holds none. "
        "Check the path.",
        error=InvalidData,
    )
    if search.ignored:
        one, many = "{} file is", "{} files are"
        remarks.append(
            f"{counted(search.ignored, one, many)} left out, as {MAPPING_FILE!r} says (ignore)."
        )
    cases = sorted(persons.named(cases), key=lambda case: case.name)
    _require_names(cases)
    who, merged = persons.of(cases, mapping.persons)
    return FoundCases(
        cases=[case.of(person) for case, person in zip(cases, who, strict=True)],
        remarks=(*remarks, *merged),
    )


def stands_by(root: Path, path: Path) -> bool:
    """Whether a file is known to lie beside cases without being part of one."""
    return inventory.stands_by(
        root, path, (*inventory.BYSTANDERS, *unread.BYSTANDERS, MAPPING_FILE)
    )


class _Search:
    """One walk through all folders below the root."""

    def __init__(self, root: Path, mapping: VolumeMapping) -> None:
        self.root, self.mapping = root, mapping
        self.folders: list[_Folder] = []
        self.ignored = 0
        self._seen: set[Path] = set()

    def visit(self, path: Path, above: tuple[_Folder, ...] = ()) -> None:
        """Sort the files of a folder by what they hold, then those of the folders in it."""
        entries = safe_files.entries(self.root, path)
        self._require_new(path)
        folder = _Folder(path)
        others = []
        for entry in entries:
            if entry.is_dir():
                continue
            if self.ignores(entry):
                self.ignored += 1
            elif nifti.is_nifti(entry) and path != self.root and (what := self._what(entry)):
                folder.named.append(what)
            else:
                others.append(entry)
        owners = [one for one in (*above, folder) if any(what == MASK for what, *_ in one.named)]
        for file in others:
            if (
                owners
                and not nifti.is_nifti(file)
                and not stands_by(self.root, file)
                and dicom.is_dicom(self.root, file)
            ):
                owners[-1].dicom.append(file)
        self.folders.append(folder)
        inner = [entry for entry in entries if entry.is_dir()]
        for entry in inner if len(above) < inventory.MOST_DEPTH else ():
            if entry.name.lower() not in unread.BYSTANDING_FOLDERS:
                self.visit(entry, (*above, folder))
        if not inner and not folder.named and all(stands_by(self.root, file) for file in others):
            self._require_filled(path, entries)

    def taken(self) -> list[Path]:
        """The files that are read."""
        return [
            file
            for folder in self.folders
            for file in (*(path for _, path, _ in folder.named), *folder.dicom)
        ]

    def require_all_known(self, taken: Sequence[Path], *, bystanders: Sequence[str] = ()) -> None:
        """Refuse a folder with a file that is neither taken nor a by-stander nor ignored."""
        inventory.require_all_known(
            self.root,
            [*taken, self.root / MAPPING_FILE],
            bystanders=(
                *unread.BYSTANDERS,
                *(f"{name}/*" for name in unread.BYSTANDING_FOLDERS),
                *bystanders,
                *(pattern.lower() for pattern in self.mapping.ignore),
            ),
            reason=lambda path: unread.reason(self.root, path),
            way_out=f"Mend that, give it a meaning or ignore it in {MAPPING_FILE!r} (docs/data.md), or move it out of the folder",
        )

    def _what(self, path: Path) -> tuple[str, Path, Edition | None] | None:
        own = self.mapping.content_of(path)
        require(
            len(own) <= 1,
            f"'{safe_files.shown(self.root, path)}' must be one thing, and the patterns of {MAPPING_FILE!r} make it "
            f"{' and '.join(own)}. Narrow one of them.",
            error=InvalidData,
        )
        if own:
            return own[0], path, None
        known = editions.content_of(path)
        if known is None or known[0] in self.mapping.files:
            return None
        return known[0], path, known[1]

    def ignores(self, path: Path) -> bool:
        """Whether the owner leaves out a file of this name or path."""
        return self.mapping.ignores(path.name) or self.mapping.ignores(
            path.relative_to(self.root).as_posix()
        )

    def _require_new(self, path: Path) -> None:
        true_path = path.resolve()
        require(
            true_path not in self._seen,
            f"{safe_files.shown(self.root, path)!r} is a link to a folder that is read anyway. Remove the link.",
            error=InvalidData,
        )
        self._seen.add(true_path)

    def _require_filled(self, path: Path, entries: Sequence[Path]) -> None:
        """A folder without a file that is read may be a case whose files were lost."""
        require(
            path == self.root or any(self.ignores(entry) for entry in entries),
            f"{safe_files.shown(self.root, path)!r} must hold files of a case, and holds none. Put them there or "
            "remove the folder.",
            error=InvalidData,
        )


def _case(root: Path, folder: _Folder, mapping: VolumeMapping) -> BratsCase:
    """A case's files by what they hold; all endings must be of one edition."""
    where = safe_files.shown(root, folder.path)
    files: dict[str, Path] = {}
    for content, path, _ in folder.named:
        if content in files:
            raise InvalidData(_two_files(root, folder, mapping, files[content], path, content))
        files[content] = path
    _require_one_stem(where, folder, mapping)
    said = {edition.title: (edition, path) for _, path, edition in folder.named if edition}
    if len(said) > 1:
        one, other = (f"'{safe_files.printable(path.name)}'" for _, path in said.values())
        raise InvalidData(
            f"{where!r} must have names of one style, and mixes those of 2021 (_t1ce, _seg) with those of 2023 "
            f"(-t1c, -seg): {one} and {other}. Rename its files: the style says what label 3 means."
        )
    edition = next((edition for edition, _ in said.values()), None)
    require(
        MASK in files,
        f"{where!r} must have a mask named like X{(edition or BRATS_2013_TO_2021).ending_of(MASK)}.nii.gz, and has "
        "none. Add it or remove the case.",
        error=InvalidData,
    )
    require(
        len(files) > 1 or bool(folder.dicom),
        f"{where!r} must have at least one image beside its mask, and has none. Add it or remove "
        "the case.",
        error=InvalidData,
    )
    return BratsCase(
        name=folder.path.name,
        place=folder.path.relative_to(root).as_posix(),
        patient="",
        edition=edition.title if edition and mapping.classes is None else "",
        labels=_labels(where, folder, edition, mapping),
        files=files,
        dicom=tuple(folder.dicom),
    )


def _two_files(
    root: Path, folder: _Folder, mapping: VolumeMapping, one: Path, other: Path, content: str
) -> str:
    """Why a case can't have two files for one modality, and which of three reasons it may have."""
    stems = {_stem(path, edition, mapping).casefold() for _, path, edition in folder.named} - {""}
    ways_out = [
        f'leave one out in {MAPPING_FILE!r} (ignore = ["{safe_files.shown(root, other)}"])',
    ]
    if mapping.content_of(one) or mapping.content_of(other):
        ways_out.insert(0, f"narrow the patterns of {content} under [files] in {MAPPING_FILE!r}")
    if len(stems) > 1:
        ways_out.append("put each case in a folder of its own if they are of two")
    return (
        f"'{safe_files.shown(root, folder.path)}' must have one file for {content}, and has two: "
        f"'{safe_files.printable(one.name)}' and '{safe_files.printable(other.name)}'. Say which is meant: "
        f"{', or '.join(ways_out)}."
    )


def _require_one_stem(where: str, folder: _Folder, mapping: VolumeMapping) -> None:
    """What stands before the endings names a case: two of them may be two people."""
    first: tuple[str, Path] | None = None
    for content, path, edition in folder.named:
        stem = _stem(path, edition, mapping)
        if not stem:
            continue
        first = first or (stem, path)
        name = safe_files.printable(path.name)
        require(
            stem.casefold() == first[0].casefold(),
            f"{where!r} must hold files of one case, and '{safe_files.printable(first[1].name)}' and '{name}' begin "
            "with two names. Put each case in a folder of its own; or, if both are of this one, give this file's name "
            f"under [files] in {MAPPING_FILE!r}, beside what else is {content} there: {content} = "
            f'[{_usual_pattern(content, edition)}"{name}"].',
            error=InvalidData,
        )


def _stem(path: Path, edition: Edition | None, mapping: VolumeMapping) -> str:
    """What names the case in a file's name, "" if nothing is known to."""
    stem = editions.stem_of(path) if edition else mapping.stem_of(path)
    return stem.rstrip("-_. ")


def _usual_pattern(content: str, edition: Edition | None) -> str:
    """That of the edition, which the owner's own would go before."""
    return f'"*{edition.ending_of(content)}.nii*", ' if edition else "..., "


def _labels(
    where: str, folder: _Folder, edition: Edition | None, mapping: VolumeMapping
) -> dict[int, int]:
    labels = mapping.classes
    if labels is None and edition and not folder.dicom:
        labels = editions.labels_of(edition, folder.path.name)
        way_out = (
            "the labels of children's tumours have changed from 2023 to 2024 under the same names"
        )
    else:
        way_out = "its names are of no edition of BraTS"
    if labels is None:
        raise InvalidData(
            f"{where!r} must say what the values of its mask stand for, and {way_out}. Say it in {MAPPING_FILE!r}: "
            "[labels] core, edema, enhancing, background."
        )
    return labels


def _require_names(cases: Sequence[BratsCase]) -> None:
    for case in cases:
        require(
            case.name.isprintable() and len(case.name) <= identifiers.LONGEST,
            f"{case.where} must have a name of at most {identifiers.LONGEST} printable characters. Rename it.",
            error=InvalidData,
        )
