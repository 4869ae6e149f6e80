"""Which cases are one person: what their names and folders say, and where only the owner knows.

    names that are published (BraTS, BIDS, UCSF-PDGM, UPENN-GBM) tell persons from time points
    all others:  [persons] of the mapping, and until then `identifiers`' questions and two of scans:
        P1/2019-01-05, P1/2020-06-07    is a person the folder, or the one above it?
        P1_pre, P1_post                 two scans of one person, or two persons?

A `pattern` with a "/" is held against a case's path from the data folder on, others against its
folder's name.
"""

import re
from collections import Counter
from collections.abc import Sequence
from pathlib import PurePosixPath

from datasites.data.folders import identifiers
from datasites.data.folders.identifiers import PersonRule
from datasites.data.folders.safe_files import printable
from datasites.data.readers.volumes.brats_case import BratsCase
from datasites.data.readers.volumes.mapping import MAPPING_FILE
from syft_code.errors import InvalidData, require

_ONE_PERSON = re.compile(
    r"(?P<brats>BraTS-[A-Z]+-\d+)-\d+(?:\D.*)?|(?P<case>BraTS20_\w+_\d{3}|BraTS2021_\d{5})"
    r"|(?P<bids>sub-[A-Z0-9]+)_ses-[A-Z0-9]+|(?P<ucsf>UCSF-PDGM-\d{3,4})(?:_FU\d+[a-z]*)?(?:_nifti)?"
    r"|(?P<upenn>UPENN-GBM-\d{5})_\d{2}",
    re.IGNORECASE,
)
"""Published names whose ends are known to be of time points, or of persons."""
_DATE = r"\d{4}[-_. ]?\d{2}[-_. ]?\d{2}|\d{2}[-_. ]\d{2}[-_. ]\d{4}"
_WORDS = "scan|visit|ses|session|time|tp|fu|v|t"
_VISIT = (
    r"(?:ses[-_. ]?)?(?:pre|post)(?:[-_. ]?(?:op|surg\w*|treat\w*|rt|therapy))?|baseline|initial|follow[-_. ]?up|"
    r"recurrence|left|right|o[ds]|(?:timepoint|mri?|study|exam|month|week|day|year)[-_. ]?[a-z0-9]{0,4}|copy|"
    rf"(?:{_WORDS})[-_. ]?[a-z]"
)
_LOOKS_LIKE_A_VISIT = re.compile(
    rf"{_DATE}|{_VISIT}|(?:{_WORDS})[-_. ]?\d{{1,4}}|anat|scan|visit", re.IGNORECASE
)
# A last number or date is what `identifiers` asks about.
_SCAN_OF = re.compile(
    rf"(?P<stem>.*\w)[-_. ]+(?:{_VISIT})|(?P<numbered>.*\d)(?:[-_. ]?[a-h]|pre|post)",
    re.IGNORECASE,
)
_YEAR = re.compile(r"(?:19|20)\d\d")


def named(cases: Sequence[BratsCase]) -> list[BratsCase]:
    """The cases by the names of their folders, or by their paths where a name is there twice."""
    count = Counter(case.name for case in cases)
    return [case.called(case.place) if count[case.name] > 1 else case for case in cases]


def of(cases: Sequence[BratsCase], rule: PersonRule) -> tuple[list[str], tuple[str, ...]]:
    """The person of each case, and remarks on the owner's word; published names tell theirs.

    Raises:
        InvalidData: naming cases of which the owner must say whether they are one person.
    """
    matches = [_ONE_PERSON.fullmatch(case.folder) for case in cases]
    known = [next(filter(None, match.groups())) if match else "" for match in matches]
    asked = [index for index, name in enumerate(known) if not name]
    if not rule.pattern:
        _require_plain_folders([cases[index] for index in asked])
        _require_plain_names([cases[index] for index in asked], known)
    texts = [cases[i].place if "/" in rule.pattern else cases[i].folder for i in asked]
    found = identifiers.persons(
        texts,
        rule,
        where=lambda i: cases[asked[i]].where,
        mapping=MAPPING_FILE,
    )
    for index, person in zip(asked, found, strict=True):
        known[index] = person
    # Published names and others must be told apart, too; their last numbers are settled by now.
    spelling = PersonRule(
        same=tuple(one for one in rule.same if one != "scan_number"),
        different=("scan_number", *(one for one in rule.different if one != "scan_number")),
    )
    known = identifiers.persons(
        known, spelling, where=lambda i: cases[i].where, mapping=MAPPING_FILE
    )
    return known, identifiers.remarks(texts, found, rule)


def _require_plain_folders(cases: Sequence[BratsCase]) -> None:
    """Refuse cases of which a folder above may be the person."""
    paths = [PurePosixPath(case.place) for case in cases]
    shared, itself_a_case = _shared_parents(paths), set(paths)
    inside = Counter(parent for path in paths for parent in path.parents)
    repeated = Counter(case.folder for case in cases)
    for case, path in zip(cases, paths, strict=True):
        above = path.parents[: len(path.parts) - 1]
        may_be_a_person = [
            parent
            for parent in above
            if parent in itself_a_case
            or (
                parent not in shared
                and inside[parent] > 1
                and any(map(str.isdigit, parent.name))
                and not _YEAR.fullmatch(parent.name)
            )
        ]
        is_visit = bool(above) and _LOOKS_LIKE_A_VISIT.fullmatch(case.folder) is not None
        if not (repeated[case.folder] > 1 or may_be_a_person or is_visit):
            continue
        why = (
            f"there are two folders of the name '{printable(case.folder)}'"
            if repeated[case.folder] > 1
            else f"the folder above '{printable(case.folder)}' may be the person"
        )
        raise InvalidData(
            f"'{printable(case.place)}' must say which folder of it names the person, and {why}. Say it in "
            f"{MAPPING_FILE!r}, for paths from the data folder on: [persons] pattern = "
            f"'{'[^/]+/' * (len(path.parts) - 2)}(?P<person>[^/]+)(/.*)?' if it is the folder above, "
            "'(.*/)?(?P<person>[^/]+)' if it is the case's own, '(?P<person>(.*/)?[^/]+)' if each case is a person."
        )


def _shared_parents(paths: Sequence[PurePosixPath]) -> set[PurePosixPath]:
    """The folders that hold all cases."""
    return set.intersection(*(set(path.parents) for path in paths)) if paths else set()


def _require_plain_names(cases: Sequence[BratsCase], known: Sequence[str]) -> None:
    """Refuse two names that are one but for the word of a visit, a date or a letter at their end."""
    first = {name.casefold(): name for name in known if name}
    first_case: dict[str, BratsCase] = {}
    stems = [_stem(case.folder) for case in cases]
    for case, stem in zip(cases, stems, strict=True):
        other = first_case.setdefault(stem, case)
        shown = first.get(stem) or other.folder
        require(
            stem not in first and _plain(other.folder) == _plain(case.folder),
            f"{case.where} and '{printable(shown)}' may be two scans of one person. Say in {MAPPING_FILE!r} who is one: "
            f"[persons] pattern = '(?P<person>{re.escape(printable(stem))}).*' and the like if so, '(?P<person>.+)' "
            "if each name is a person.",
            error=InvalidData,
        )


def _plain(name: str) -> str:
    return identifiers.normal(name).casefold()


def _stem(name: str) -> str:
    match = _SCAN_OF.fullmatch(_plain(name))
    return (match["stem"] or match["numbered"]) if match else _plain(name)
