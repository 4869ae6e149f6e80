"""Shares on their way in: one writer for each, and room for all of them.

A sealed share grows in a file of its own (`vector_files`), from whatever byte it reached,
over as many connections as it takes, one after the other.
"""

import os
import threading
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from federation.aggregator.storage.vector_files import RoundKey, VectorFiles, write_all
from federation.transport.aggregator_api import Busy
from syft_code.errors import InvalidMessage, Refused, require

Key = tuple[RoundKey, str]
"""A round key and a hospital: who writes, whatever the share."""
WAIT_S = 20.0
STALE_S = 5.0
"""A connection that brought nothing for so long gives way to a new one: its line may be dead."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyRoom:
    """What a study needs on an aggregator's disk.

    `sums_bytes` are the sums of all its rounds; `arriving_bytes` is the most that one share takes
    until it is opened, sealed and open.
    """

    hospitals: int
    sums_bytes: int
    arriving_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Quotas:
    """What may lie on an aggregator's disk: of all studies together, and of each."""

    total_bytes: int
    study_bytes: int

    def check_study(self, room: StudyRoom) -> None:
        """Raise `Refused` if a study's sums, and a share of each hospital, have no room."""
        size_bytes = room.sums_bytes + room.hospitals * room.arriving_bytes
        require(
            size_bytes <= self.study_bytes,
            f"A study may take {self.study_bytes:,} bytes at this aggregator (max_study_gib), and "
            "the sums of all its rounds, with a share of each hospital on its way, would take "
            f"{size_bytes:,}: ask its operator for more, or plan fewer rounds or a smaller network.",
            error=Refused,
        )

    def check_hospital(self, size_bytes: int, room: StudyRoom) -> None:
        """Raise `Refused` if a hospital's shares take more than an equal part of what sums leave."""
        part_bytes = (self.study_bytes - room.sums_bytes) // room.hospitals
        require(
            size_bytes <= part_bytes,
            f"A hospital's shares that wait for their sums may take {part_bytes:,} bytes at this "
            f"aggregator, and with this one they would take {size_bytes:,}: have its rounds summed "
            "first.",
            error=Refused,
        )

    def check_total(self, size_bytes: int) -> None:
        """Raise `Refused` if all studies together take more than they may."""
        require(
            size_bytes <= self.total_bytes,
            "This aggregator must not store more than its operator's limit for all studies, "
            "and with this share it would: ask its operator for more, or for old studies to "
            "be wiped.",
            error=Refused,
        )


@dataclass(slots=True, kw_only=True)
class Writer:
    """Who may write a hospital's share for a round key; everybody else waits."""

    cut_off: Callable[[], object]
    promised_bytes: int = 0
    moved_at_s: float = field(default_factory=time.monotonic)


class UploadBuffer:
    """The writers at work, and the room that is promised to them."""

    def __init__(self, files: VectorFiles, quotas: Quotas) -> None:
        self._files = files
        self._quotas = quotas
        self._changed = threading.Condition()
        self._writers: dict[Key, Writer] = {}

    @contextmanager
    def turn(self, key: Key, cut_off: Callable[[], object] = lambda: None) -> Iterator[Writer]:
        """Be the one writer for a while. `cut_off` ends the connection that the bytes come from.

        Raises:
            Busy: if another connection brings this share, and goes on bringing it.
        """
        writer = Writer(cut_off=cut_off)
        with self._changed:
            self._wait_for(key)
            self._writers[key] = writer
        try:
            yield writer
        finally:
            with self._changed:
                del self._writers[key]
                self._changed.notify_all()

    def promise(
        self,
        key: Key,
        size_bytes: int,
        *,
        room: StudyRoom,
        held_bytes: Callable[[str], Counter[str]],
        sums_bytes: Callable[[Collection[RoundKey]], Counter[str]],
    ) -> None:
        """Promise a writer room, or refuse.

        `held_bytes` tells what lies here of a study, by hospital, and `sums_bytes` what sums to
        come will take, by study; `room` is what its own study needs.

        Raises:
            Refused: if a hospital or all studies together would take more than they may.
            Unavailable: if the disk has not that much room.
        """
        with self._changed:
            promised = {k: w.promised_bytes for k, w in self._writers.items() if w.promised_bytes}
            promised[key] = size_bytes
            sums = sums_bytes({round_key for round_key, _ in promised})
            plan_hash, hospital = key[0].plan_hash, key[1]
            coming = sum(
                coming_bytes
                for (round_key, name), coming_bytes in promised.items()
                if (round_key.plan_hash, name) == (plan_hash, hospital)
            )
            self._quotas.check_hospital(held_bytes(plan_hash)[hospital] + coming, room)
            more = sum(promised.values()) + sums.total()
            self._quotas.check_total(self._files.size_bytes() + more)
            self._files.require_room(more)
            self._writers[key].promised_bytes = size_bytes

    def _wait_for(self, key: Key) -> None:
        give_up_s = time.monotonic() + WAIT_S
        while key in self._writers:
            now_s = time.monotonic()
            if now_s - self._writers[key].moved_at_s > STALE_S:
                self._writers[key].cut_off()
            require(
                now_s < give_up_s,
                "A share must arrive over one connection at a time, and another one is bringing "
                "it: wait for that one, then ask how much is here.",
                error=Busy,
            )
            self._changed.wait(0.2)


@contextmanager
def appending(path: Path, writer: Writer, *, limit_bytes: int) -> Iterator["IncomingShare"]:
    """Open a growing file at its end."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        yield IncomingShare(descriptor, writer, limit_bytes=limit_bytes)
    finally:
        os.close(descriptor)


class IncomingShare:
    """A share that grows; stays readable to its writer also if it is deleted meanwhile."""

    def __init__(self, descriptor: int, writer: Writer, *, limit_bytes: int) -> None:
        self.descriptor = descriptor
        self._writer = writer
        self._limit_bytes = limit_bytes

    @property
    def size_bytes(self) -> int:
        """How much is here."""
        return os.fstat(self.descriptor).st_size

    def append(self, chunk: bytes) -> None:
        """Write the next bytes."""
        require(
            self.size_bytes + len(chunk) <= self._limit_bytes,
            "A share must end where its header says.",
            error=InvalidMessage,
        )
        write_all(self.descriptor, chunk)
        self._writer.promised_bytes -= len(chunk)
        self._writer.moved_at_s = time.monotonic()
