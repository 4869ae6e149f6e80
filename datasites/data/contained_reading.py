"""A data folder read behind walls: its files may have been made by strangers, and Pillow, nibabel and pydicom are large.

    read ─ a template that sees the folder ─▶ a worker of profile "reader": readers.read ─▶ arrays, checked again

What a file does to its reader stays there: it reaches no network and no other file, and it can write nothing.
The asset's public shape is worked out outside (`readers.spec`), so that no reader can write to the public.
"""

import contextlib
import itertools
import os
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, BinaryIO, Literal

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pydantic import Field
from safetensors import SafetensorError
from safetensors.numpy import load, save

from datasites.data import cohort_file, readers
from datasites.data.folders import threads
from datasites.data.folders.reading import Reading
from datasites.data.folders.safe_files import open_folder, printable
from datasites.data.readers import Kind
from datasites.data.readers.csv_files import csv_table
from datasites.protocol import framing, vault_api
from datasites.sandbox import offers
from datasites.sandbox.spec import Spec, python_paths
from datasites.sandbox.template import Template
from syft_code import canonical
from syft_code.cohort import Cohort
from syft_code.errors import ConsiliumError, InvalidData, InvalidMessage
from syft_code.recipes.recipe import DataSpec

LIMIT_S = 4 * 3600.0
"""By then a folder must be read."""
LOG_BYTES = 1 << 20
LONGEST_REMARK, MOST_REMARKS = 400, 100
_ENTRY = "datasites.data.contained_reading:work"
_BEGIN = "datasites.data.contained_reading:begin"


@canonical.message
class ReadFolder:
    """What to read: the arguments of `readers.read`."""

    data: Kind
    folder: str
    size_px: int
    slices_per_patient: int
    neighbours: int
    stand_in: bool
    facts: bool
    kind: Literal["read"] = "read"


@canonical.message
class FolderRead:
    """A `Reading` but for its public shape, which no reader tells, and what is of each patient: the body.

    The body holds the cohort's arrays, the identifiers and the distinct sites as texts (bytes, and where
    each ends), and which site each patient is of: millions of them are no header.
    """

    remarks: tuple[str, ...]
    named: bool
    kind: Literal["reading"] = "reading"


@canonical.message
class CasesRead:
    """How far a reader of volumes is; it keeps nothing that a later one could go on from."""

    done: int
    cases: int
    kind: Literal["progress"] = "progress"


_Answer = Annotated[FolderRead | CasesRead | vault_api.Failure, Field(discriminator="kind")]


def read(
    kind: Kind,
    folder: Path,
    *,
    size_px: int = readers.SIZE_PX,
    slices_per_patient: int = 16,
    neighbours: int = 0,
    stand_in: bool = False,
    facts: bool = False,
    limit_s: float = LIMIT_S,
    progress: Callable[[int, int], None] | None = None,
) -> Reading:
    """What `readers.read` reads, in a process that sees this folder and Python's libraries alone.

    `progress` is told how many cases of how many are read, if the kind of data has cases; without it
    a terminal shows them.

    Guarantee: that of `template.Template`; the arrays come back as arrays and are checked here again, by a
        public shape that no patient's file had a part in; what is said to the owner is plain text.
        It ends after `limit_s` at the latest, and an answer has `framing.MAX_BODY_BYTES` at most.
    Does not protect: against files whose reader lies about what is in them.

    Raises:
        InvalidData: naming the first file that is not acceptable, and why; or if a file ended its reader
            or kept it busy.
        Unavailable: if this machine has no way to contain it.
    """
    asked = ReadFolder(
        data=kind,
        folder=str(open_folder(folder)),
        size_px=size_px,
        slices_per_patient=slices_per_patient,
        neighbours=neighbours,
        stand_in=stand_in,
        facts=facts,
    )
    job = ContainedJob(entry=_ENTRY, asked=asked, folder=folder, answers=_Answer)
    answer, body = answered(job, limit_s=limit_s, progress=progress or _Shown())
    shape = readers.spec(
        kind, folder, size_px=size_px, neighbours=neighbours, stand_in=stand_in, facts=facts
    )
    return _reading(answer, body, shape)


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainedJob:
    """What a contained process is to do with a folder: `entry` gets `asked`, and sends one of `answers`."""

    entry: str
    asked: object
    folder: Path
    answers: Any


def answered(
    job: ContainedJob, *, limit_s: float, progress: Callable[[int, int], None]
) -> tuple[Any, bytes]:
    """What a process that sees one folder answers to one job, with the body of its answer.

    Raises:
        InvalidData: what it says of a file; or if a file ended it or kept it busy.
        Unavailable: if this machine has no way to contain it.
    """
    spec = Spec(
        mechanism=offers.mechanism(),
        profile="reader",
        entry=job.entry,
        begin=_BEGIN,
        readable=(*python_paths(), str(open_folder(job.folder))),
        memory_bytes=os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        log_bytes=LOG_BYTES,
    )
    with tempfile.TemporaryFile() as log:
        template = Template(spec, log)
        late = threading.Event()
        try:
            with _ended_after(limit_s, template, late):
                answer, body = _converse(template, job, progress)
        except (OSError, EOFError, InvalidMessage):
            sentence = _too_long(job.folder, limit_s) if late.is_set() else _ended(job.folder, log)
            raise InvalidData(sentence) from None
        finally:
            template.kill()
    if isinstance(answer, vault_api.Failure):
        sentence = printable(answer.sentence, most=vault_api.LONGEST_SENTENCE)
        raise vault_api.as_error(replace(answer, sentence=sentence))
    return answer, body


@contextmanager
def _ended_after(limit_s: float, template: Template, late: threading.Event) -> Iterator[None]:
    """End the template's process if this takes longer, and note that it did."""

    def end() -> None:
        late.set()
        template.process.kill()

    timer = threading.Timer(limit_s, end)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


class _Shown:
    """One line on the owner's terminal, written over once a second; nothing anywhere else."""

    def __init__(self) -> None:
        self._begun = self._last = time.monotonic()

    def __call__(self, done: int, cases: int) -> None:
        now = time.monotonic()
        if not sys.stderr.isatty() or (now - self._last < 1 and done < cases):
            return
        self._last = now
        left_s = (now - self._begun) / max(done, 1) * (cases - done)
        line = f"\rreading: {done:,} of {cases:,} cases, {left_s / 60:.0f} min left"
        with contextlib.suppress(OSError):  # a terminal that is gone ends no reading
            sys.stderr.write(f"{line:<60}" + ("\r" + " " * 60 + "\r" if done >= cases else ""))
            sys.stderr.flush()


def _converse(
    template: Template, job: ContainedJob, progress: Callable[[int, int], None]
) -> tuple[Any, bytes]:
    worker = template.worker()
    try:
        worker.ready()
        worker.hand_over(None)
        framing.send(worker.jobs, job.asked)
        answer, body = framing.receive(worker.answers, job.answers)
        while isinstance(answer, CasesRead):
            progress(answer.done, answer.cases)
            answer, body = framing.receive(worker.answers, job.answers)
        return answer, body
    finally:
        worker.close()


def _too_long(folder: Path, limit_s: float) -> str:
    return (
        f"The files of {printable(folder.name)!r} must be read within {limit_s:,.0f} s, and were not. Read half "
        "of the folder at a time to find which keeps its reader busy, and leave it out."
    )


def _ended(folder: Path, log: BinaryIO) -> str:
    log.seek(0)
    words = log.read().decode(errors="replace").strip().rsplit("\n", 1)[-1]
    said = f" Its last words: {printable(words)!r}." if words else ""
    return (
        f"The files of {printable(folder.name)!r} must leave their reader alive, and one ended it (broken, made "
        "to harm, or larger than the memory). Read half of the folder at a time to find which, and leave it "
        f"out.{said}"
    )


def _reading(found: FolderRead, body: bytes, spec: DataSpec) -> Reading:
    """As a process that may have been taken over tells it: checked as if it were a file."""
    try:
        arrays = load(body)
        patient_ids = _as_texts(arrays.pop("id_bytes"), arrays.pop("id_ends"))
        sites = _as_texts(arrays.pop("site_bytes"), arrays.pop("site_ends"))
        of_patient = arrays.pop("site_of_patient").tolist()
        shown = [printable(one) for one in sites]
        if len(set(shown)) != len(set(sites)):
            raise ValueError("two sites would have one name")
        site = tuple([shown[at] for at in of_patient])
        cells = cohort_file.cells_of(arrays)
        cohort = Cohort(**{name: arrays[name] for name in arrays.keys() - {"columns", "cells"}})
    except (SafetensorError, TypeError, KeyError, ValueError, IndexError):
        raise InvalidData("What was read must be the arrays of a cohort, and is not.") from None
    cohort_file.check_shape(cohort, spec)
    return Reading(
        cohort=cohort,
        patient_ids=patient_ids,
        site=site,
        spec=spec,
        remarks=tuple(
            printable(remark, most=LONGEST_REMARK) for remark in found.remarks[:MOST_REMARKS]
        ),
        cells=cells,
        named=found.named,
    )


def begin() -> None:
    """Start the threads of the readers' libraries: behind the walls none can be."""
    threads.start()
    csv_table.start_threads()


def work(jobs: BinaryIO, answers: BinaryIO, files: Sequence[int]) -> None:
    """The one job of the contained process."""
    asked, _ = framing.receive(jobs, ReadFolder)
    try:
        found = readers.read(
            asked.data,
            Path(asked.folder),
            size_px=asked.size_px,
            slices_per_patient=asked.slices_per_patient,
            neighbours=asked.neighbours,
            stand_in=asked.stand_in,
            facts=asked.facts,
            progress=lambda done, cases: framing.send(answers, CasesRead(done=done, cases=cases)),
        )
    except ConsiliumError as problem:
        framing.send(
            answers, vault_api.Failure(error=type(problem).__name__, sentence=str(problem))
        )
        return
    header = FolderRead(remarks=found.remarks, named=found.named)
    framing.send(answers, header, save(arrays_of(found)))


def arrays_of(found: Reading) -> dict[str, NDArray[Any]]:
    """The body of an answer: the arrays of a cohort, and who and where its patients are."""
    sites = list(dict.fromkeys(found.site))
    number = {site: at for at, site in enumerate(sites)}
    of_patient = np.fromiter((number[site] for site in found.site), np.int32, len(found.site))
    id_bytes, id_ends = _as_bytes(found.patient_ids)
    site_bytes, site_ends = _as_bytes(sites)
    return cohort_file.arrays(found.cohort, found.cells) | {
        "id_bytes": id_bytes,
        "id_ends": id_ends,
        "site_bytes": site_bytes,
        "site_ends": site_ends,
        "site_of_patient": of_patient,
    }


def _as_bytes(texts: Sequence[str]) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Texts as their bytes, and where each ends."""
    column = pa.array(texts, pa.large_string())
    ends = np.frombuffer(column.buffers()[1], np.int64)[1 : len(texts) + 1]
    data = column.buffers()[2]
    return np.frombuffer(data or b"", np.uint8)[: ends[-1] if len(ends) else 0], ends.copy()


def _as_texts(data: NDArray[Any], ends: NDArray[Any]) -> tuple[str, ...]:
    """The texts again.

    Raises:
        ValueError: if the bytes are no texts that end there.
    """
    if not (data.dtype == np.uint8 and ends.dtype == np.int64 and data.ndim == ends.ndim == 1):
        raise ValueError("bytes and ends of texts must be of these types")
    whole = bytes(data)
    starts = [0, *ends.tolist()]
    if starts[-1] != len(whole) or (np.diff(starts) < 0).any():
        raise ValueError("texts must end where they say")
    return tuple([whole[a:b].decode() for a, b in itertools.pairwise(starts)])
