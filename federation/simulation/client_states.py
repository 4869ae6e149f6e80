"""What simulated hospitals keep between their rounds: two files each, so that memory does not grow.

A round reads the newest state from before it and writes beside it, so that a round that is cut
short runs again from the state it started from, as in a vault. Rounds that a hospital was not part
of leave its state as it was.
"""

from pathlib import Path

import numpy as np

from syft_code.arrays import Vector

_SLOTS = (0, 1)


class ClientStateFiles:
    """Vectors of float64, by hospital and round; without a folder they are held in memory."""

    def __init__(self, folder: Path | None, *, size: int) -> None:
        self._folder = folder
        self._size = size
        self._memory: dict[tuple[str, int], Vector] = {}
        if folder is not None and size:
            folder.mkdir(parents=True, exist_ok=True)

    def before(self, hospital: str, round_number: int) -> Vector:
        """What a hospital starts a round from: zeros in its first one."""
        if not self._size:
            return np.zeros(0)
        newest = self._newest(hospital, round_number)
        return np.zeros(self._size) if newest is None else self._slot(hospital, newest)[1:]

    def after(self, hospital: str, round_number: int, numbers: Vector) -> None:
        """What it leaves for its next round; the state that this round started from stays."""
        if not self._size:
            return
        slot = 1 - (self._newest(hospital, round_number) or 0)
        written = np.concatenate(([float(round_number)], numbers))
        if self._folder is None:
            self._memory[hospital, slot] = written
        else:
            path = self._path(self._folder, hospital, slot)
            written.tofile(beside := path.with_suffix(".new"))
            beside.replace(path)

    def _newest(self, hospital: str, round_number: int) -> int | None:
        """The slot with the newest state from before a round, None if there is none."""
        rounds = {slot: self._round(hospital, slot) for slot in _SLOTS}
        earlier = {slot: number for slot, number in rounds.items() if 0 < number < round_number}
        return max(earlier, key=lambda slot: earlier[slot]) if earlier else None

    def _round(self, hospital: str, slot: int) -> int:
        """The round that left what stands in a slot, 0 if nothing does."""
        found = self._slot(hospital, slot)
        return int(found[0]) if len(found) else 0

    def _slot(self, hospital: str, slot: int) -> Vector:
        """A round's number and its vector; empty if nothing stands there."""
        if self._folder is None:
            return self._memory.get((hospital, slot), np.zeros(0))
        path = self._path(self._folder, hospital, slot)
        return np.fromfile(path) if path.exists() else np.zeros(0)

    @staticmethod
    def _path(folder: Path, hospital: str, slot: int) -> Path:
        return folder / f"{hospital}.{slot}.f8"
