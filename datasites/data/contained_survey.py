"""A folder looked at behind walls before it can be read: what lies in it, a first mapping, a few pictures.

    survey ─ a template that sees the folder ─▶ a worker: `mapping_drafts` ─▶ words and pictures, checked again

What comes back shows patients: it is for the owner's eyes alone, and nothing of it is published.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, BinaryIO, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from safetensors import SafetensorError
from safetensors.numpy import load, save

from datasites.data import contained_reading
from datasites.data.contained_reading import ContainedJob
from datasites.data.folders.safe_files import open_folder, printable
from datasites.data.readers import Kind, mapping_drafts
from datasites.protocol import framing, vault_api
from syft_code import canonical
from syft_code.errors import ConsiliumError, InvalidData, require

LONGEST_SENTENCE = 2000
MOST_SENTENCES = 200
MAX_MAPPING_CHARACTERS = 1 << 18
MAX_SIDE_PX = 4096
_ENTRY = "datasites.data.contained_survey:work"


@canonical.message
class SurveyFolder:
    """Which folder to look at, as which kind, and how many pictures to make at most."""

    data: Kind
    folder: str
    pictures: int
    kind: Literal["survey"] = "survey"


@canonical.message
class FolderSurveyed:
    """What was found, and a mapping's text; the body is the pictures."""

    description: tuple[str, ...]
    mapping: str
    kind: Literal["surveyed"] = "surveyed"


_Answer = Annotated[FolderSurveyed | vault_api.Failure, Field(discriminator="kind")]


@dataclass(frozen=True, slots=True, kw_only=True, repr=False, eq=False)
class Survey:
    """What lies in a folder. Never published: it shows and counts patients.

    Shapes: `pictures` are uint8 `[height, width]` or `[height, width, 3]`.
    """

    description: tuple[str, ...]
    mapping: str
    pictures: tuple[NDArray[np.uint8], ...]


def survey(
    kind: Kind, folder: Path, *, pictures: int, limit_s: float = contained_reading.LIMIT_S
) -> Survey:
    """What `mapping_drafts` finds in a folder, in a process that sees this folder and Python's libraries alone.

    Guarantee: that of `template.Template`; words come back as plain text and pictures as arrays of pixels.

    Raises:
        InvalidData: naming what can't be listed; or if a file ended its reader or kept it busy.
        Unavailable: if this machine has no way to contain it.
    """
    asked = SurveyFolder(data=kind, folder=str(open_folder(folder)), pictures=pictures)
    job = ContainedJob(entry=_ENTRY, asked=asked, folder=folder, answers=_Answer)
    answer, body = contained_reading.answered(
        job, limit_s=limit_s, progress=lambda done, cases: None
    )
    lines = answer.mapping[:MAX_MAPPING_CHARACTERS].split("\n")
    return Survey(
        description=tuple(
            printable(sentence, most=LONGEST_SENTENCE)
            for sentence in answer.description[:MOST_SENTENCES]
        ),
        mapping="\n".join(printable(line, most=LONGEST_SENTENCE) for line in lines),
        pictures=_pictures(body, most=pictures),
    )


def _pictures(body: bytes, *, most: int) -> tuple[NDArray[np.uint8], ...]:
    try:
        arrays: dict[str, NDArray[Any]] = load(body)
    except (SafetensorError, KeyError, ValueError):
        raise InvalidData("What was made of a folder must be pictures, and is not.") from None
    found = tuple(arrays[name] for name in sorted(arrays)[:most])
    for picture in found:
        require(
            picture.dtype == np.uint8
            and picture.ndim in (2, 3)
            and picture.shape[2:] in ((), (3,))
            and min(picture.shape[:2]) > 0
            and max(picture.shape[:2]) <= MAX_SIDE_PX,
            f"A picture of a case must be 1 to {MAX_SIDE_PX} pixels wide and high, grey or in colour.",
            error=InvalidData,
        )
    return found


def work(jobs: BinaryIO, answers: BinaryIO, files: Sequence[int]) -> None:
    """The one job of the contained process."""
    asked, _ = framing.receive(jobs, SurveyFolder)
    drafts, root = mapping_drafts.DRAFTS[asked.data], Path(asked.folder)
    try:
        said, mapping = drafts.describe(root), drafts.first_mapping(root)
    except ConsiliumError as problem:
        framing.send(
            answers, vault_api.Failure(error=type(problem).__name__, sentence=str(problem))
        )
        return
    preview = mapping_drafts.PREVIEWS.get(asked.data)
    try:
        pictures = preview(root, asked.pictures) if preview and asked.pictures else []
    except ConsiliumError as problem:
        said, pictures = (*said, f"No picture can be shown yet: {problem}"), []
    named = {f"{number:03}": np.ascontiguousarray(one) for number, one in enumerate(pictures)}
    framing.send(answers, FolderSurveyed(description=said, mapping=mapping), save(named))
