"""A researcher's studies on the researcher's own disk: to go on after a restart, and to list.

    studies/skin/plan.json           what was asked, byte for byte
                 public.safetensors  start weights and the like, where the plan names any
                 progress.json       how far it came

A study is kept when its request goes out. Nothing here is secret but what is not published yet.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import Field
from safetensors import SafetensorError
from safetensors.numpy import load, save

from syft_code import canonical
from syft_code.errors import InvalidInput
from syft_code.local_training.broadcast import PublicVectors
from syft_code.plans import roster
from syft_code.plans.plan import Plan
from syft_code.runtime import durable_files

FOLDER = "studies"
PLAN, PUBLIC, PROGRESS = "plan.json", "public.safetensors", "progress.json"
VECTORS = ("start", "reference", "importance")


@canonical.message
class Progress:
    """How far a study came: its summed rounds, and the most that a patient has lost anywhere.

    `stopped` is the sentence that says why it did not go on, "" if nothing stopped it.
    """

    rounds: Annotated[int, Field(ge=0)] = 0
    epsilon: Annotated[float, Field(ge=0)] = 0.0
    stopped: str = ""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class KeptStudy:
    """One study's folder, and what stands in it."""

    folder: Path
    plan: Plan
    public: PublicVectors

    def keep(self) -> None:
        """Write plan and vectors; what is there already is the same."""
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        vectors = {name: getattr(self.public, name) for name in VECTORS}
        if any(vector.size for vector in vectors.values()):
            durable_files.write_durably(self.folder / PUBLIC, save(vectors))
        durable_files.write_durably(self.folder / PLAN, self.plan.encode())

    def note(self, progress: Progress) -> None:
        """Write down how far it came."""
        if self.folder.is_dir():
            durable_files.write_durably(self.folder / PROGRESS, canonical.encode(progress))

    @property
    def progress(self) -> Progress:
        """What was noted last.

        Raises:
            InvalidInput: if it can't be read.
        """
        try:
            data = (self.folder / PROGRESS).read_bytes()
        except FileNotFoundError:
            return Progress()
        try:
            found: Progress = canonical.parse(Progress, data, what="progress", error=InvalidInput)
        except InvalidInput as problem:
            raise _damaged(self.folder, problem) from None
        return found


@dataclass(frozen=True, slots=True)
class KeptStudies:
    """All studies of a researcher, each by its name."""

    folder: Path

    def new(self, plan: Plan, public: PublicVectors) -> KeptStudy:
        """A study that is not kept yet."""
        return KeptStudy(folder=self.folder / plan.study, plan=plan, public=public)

    def find(self, name: str) -> KeptStudy | None:
        """The study of this name, or nothing.

        Raises:
            InvalidInput: if its files can't be read, or no study can have this name.
        """
        roster.check_name("study", name)
        folder = self.folder / name
        return _read(folder) if (folder / PLAN).is_file() else None

    def __iter__(self) -> Iterator[KeptStudy]:
        for path in sorted(self.folder.glob(f"*/{PLAN}"), key=lambda path: path.stat().st_mtime):
            yield _read(path.parent)


def _read(folder: Path) -> KeptStudy:
    try:
        plan = Plan.decode((folder / PLAN).read_bytes())
        path = folder / PUBLIC
        vectors = load(path.read_bytes()) if path.is_file() else {}
        return KeptStudy(folder=folder, plan=plan, public=PublicVectors(**vectors))
    except (OSError, SafetensorError, TypeError, InvalidInput) as problem:
        raise _damaged(folder, problem) from None


def _damaged(folder: Path, problem: Exception) -> InvalidInput:
    return InvalidInput(
        f"The study that is kept in {folder} can't be read ({problem}): move that folder away to go "
        "without it; hospitals keep what was agreed."
    )
