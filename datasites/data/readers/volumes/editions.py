"""Which ending of a file's name is which modality, and which stored label is which region.

| edition            | files of a case                                  | labels                               |
|--------------------|--------------------------------------------------|--------------------------------------|
| BraTS 2013 to 2021 | `X_t1`, `_t1ce` (`_t1c`, `_t1gd`), `_t2`, `_flair`, `_seg` | 1 core, 2 edema, 3 core, 4 enhancing |
| BraTS 2023         | `X-t1n`, `-t1c`, `-t2w`, `-t2f`, `-seg`          | 1 core, 2 edema, 3 enhancing         |
| BraTS 2024, glioma | the same, time points from 100 on                | the same, 4 resection cavity         |
| Decathlon task 1   | 4-D `imagesTr/X.nii.gz` with `labelsTr/X.nii.gz` | 1 edema, 2 core, 3 enhancing         |

Label 3 means two things, and only the file names tell which. In 2013 it was the non-enhancing core,
which later years merged into 1. The cavity is in none of the regions that are scored (whole tumour,
core, enhancing tumour), so that it counts as background. Children's tumours (BraTS-PED) have changed
their labels from 2023 to 2024 under the same names: their owner says which.
Source: the challenges' pages on their data; Menze et al. 2015; de Verdier et al. 2024.
"""

import re
from dataclasses import dataclass
from pathlib import Path

from datasites.data.readers.volumes.formats import nifti

MASK = "mask"
CAVITY = 4
_WORD = re.compile(r".+(?P<word>[_-][A-Za-z0-9]+)")
_OF_ANOTHER_STEM = "W39_1998.09.19_Segm"
_POST_TREATMENT = re.compile(r"BraTS-GLI-\d{5}-[1-9]\d{2}", re.IGNORECASE)
_CHILDREN = re.compile(r"BraTS-PED-.*", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Edition:
    """A way of naming: what each ending (in small letters) holds, and the class (0 to 3) of each label."""

    title: str
    endings: dict[str, str]
    labels: dict[int, int]

    def ending_of(self, content: str) -> str:
        """How the edition itself writes what a file holds, for a sentence."""
        return next(ending for ending, what in self.endings.items() if what == content)


BRATS_2013_TO_2021 = Edition(
    title="BraTS 2013 to 2021",
    # UCSF writes _T1c and UPenn _T1GD, with labels as here. In BraTS 2020 the mask of case 355 is
    # published as W39_1998.09.19_Segm.nii.
    endings={
        "_t1": "t1",
        "_t1ce": "t1ce",
        "_t1c": "t1ce",
        "_t1gd": "t1ce",
        "_t2": "t2",
        "_flair": "flair",
        "_seg": MASK,
        "_segm": MASK,
    },
    labels={0: 0, 1: 1, 2: 2, 3: 1, 4: 3},
)
BRATS_2023 = Edition(
    title="BraTS 2023",
    endings={"-t1n": "t1", "-t1c": "t1ce", "-t2w": "t2", "-t2f": "flair", "-seg": MASK},
    labels={0: 0, 1: 1, 2: 2, 3: 3},
)
EDITIONS = (BRATS_2013_TO_2021, BRATS_2023)
DECATHLON_LABELS = {0: 0, 1: 2, 2: 1, 3: 3}


def content_of(path: Path) -> tuple[str, Edition] | None:
    """What a file holds by its ending, and the edition that says so."""
    match = _WORD.fullmatch(nifti.stem(path))
    word = match["word"].lower() if match else ""
    for edition in EDITIONS:
        if word in edition.endings:
            return edition.endings[word], edition
    return None


def stem_of(path: Path) -> str:
    """What stands before the ending that says what a file holds, "" if it is known not to name its case.

    >>> stem_of(Path("P1_t1ce.nii.gz")), stem_of(Path("W39_1998.09.19_Segm.nii"))
    ('P1', '')
    """
    name = nifti.stem(path)
    match = _WORD.fullmatch(name)
    return name[: match.start("word")] if match and name != _OF_ANOTHER_STEM else ""


def labels_of(edition: Edition, case: str) -> dict[int, int] | None:
    """The class of each stored label of a case of this name, or None if its name does not tell.

    >>> labels_of(BRATS_2023, "BraTS-GLI-00005-100")[4], 4 in labels_of(BRATS_2023, "BraTS-GLI-00005-000")
    (0, False)
    """
    if edition is BRATS_2023 and _CHILDREN.fullmatch(case):
        return None
    if edition is BRATS_2023 and is_post_treatment(case):
        return edition.labels | {CAVITY: 0}
    return edition.labels


def is_post_treatment(case: str) -> bool:
    """Whether a case's name is of BraTS 2024's gliomas after treatment."""
    return _POST_TREATMENT.fullmatch(case) is not None
