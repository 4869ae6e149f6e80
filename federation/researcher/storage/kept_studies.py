"""A researcher's studies on the researcher's own disk: to go on after a restart, and to list.

    studies/skin/plan.json           what was asked, byte for byte
                 public.safetensors  start weights and the like, where the plan names any
                 progress.json       how far it came

A study is kept when its request goes out. Nothing here is secret but what is not published yet.
"""

import contextlib
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import Field
from safetensors import SafetensorError
from safetensors.numpy import load, save

from syft_code import canonical
from syft_code.errors import InvalidInput, require
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

    def keep(self) -> bool:
        """Write plan and vectors, unless they are there; says whether they were not.

        Raises:
            InvalidInput: if another plan of this name is kept, or nothing can be written.
        """
        plan = self.folder / PLAN
        try:
            is_new = not plan.exists()
            require(
                is_new or plan.read_bytes() == self.plan.encode(),
                f"Another plan is kept as study {self.plan.study!r}, in {self.folder}: give this one "
                "another name.",
                error=InvalidInput,
            )
            if is_new:
                self._write()
        except OSError as problem:
            raise _damaged(self.folder, problem) from None
        return is_new

    def forget(self) -> None:
        """Delete it: no hospital took its request."""
        with contextlib.suppress(OSError):
            for name in (PLAN, PUBLIC, PROGRESS):
                (self.folder / name).unlink(missing_ok=True)
            self.folder.rmdir()

    def _write(self) -> None:
        self.folder.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.folder.mkdir(exist_ok=True, mode=0o700)
        vectors = {name: getattr(self.public, name) for name in VECTORS}
        if any(vector.size for vector in vectors.values()):
            durable_files.write_durably(self.folder / PUBLIC, save(vectors))
        durable_files.write_durably(self.folder / PLAN, self.plan.encode())

    def note(self, progress: Progress) -> None:
        """Write down how far it came, where that can be written: a training goes on without it."""
        if self.folder.is_dir():
            with contextlib.suppress(OSError):
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
        except OSError as problem:
            raise _damaged(self.folder, problem) from None
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
        """The studies that can be read, the oldest first; of each other one a warning says why not."""
        files = [path for path in self.folder.glob(f"*/{PLAN}") if path.is_file()]
        for path in sorted(files, key=lambda path: path.stat().st_mtime):
            try:
                kept = _read(path.parent)
                kept.progress  # noqa: B018 that it can be read
            except InvalidInput as problem:
                warnings.warn(str(problem), stacklevel=2)
            else:
                yield kept


def _read(folder: Path) -> KeptStudy:
    try:
        plan = Plan.decode((folder / PLAN).read_bytes())
        require(plan.study == folder.name, f"its plan is of study {plan.study!r}")
        path = folder / PUBLIC
        vectors = load(path.read_bytes()) if path.is_file() else {}
        return KeptStudy(folder=folder, plan=plan, public=PublicVectors(**vectors))
    except (OSError, SafetensorError, TypeError, KeyError, ValueError, InvalidInput) as problem:
        raise _damaged(folder, problem) from None


def _damaged(folder: Path, problem: Exception) -> InvalidInput:
    return InvalidInput(
        f"The study that is kept in {folder} can't be read ({problem}): move that folder away to go "
        "without it; hospitals keep what was agreed."
    )
