"""How fast cases of BraTS's size are read, and what that holds: `python -m benchmarks volumes`.

Drawn cases of 240 x 240 x 155 voxels in four modalities and a mask, gzip, as BraTS is stored. The reader
checks, standardises and cuts them (64 pixels, 16 slices a case); its peer is nibabel, which loads the voxels of the
same files and does nothing with them, in turns with it and as it, on two threads. Memory is the peak of a
process of its own, libraries included, for few cases and for more.
"""

import gzip
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import nibabel as nib
import numpy as np

from benchmarks.figures import Figure
from datasites.data import readers
from datasites.data.folders.threads import THREADS

SHAPE = (240, 240, 155)
SIZE_PX = 64
WORDS = ("t1", "t1ce", "t2", "flair")
_PEAK = """
import sys
from pathlib import Path
from datasites.data import readers
readers.read("brats", Path(sys.argv[1]), size_px=int(sys.argv[2]))
status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
print(int(status["VmHWM"].split()[0]) / 1024)
"""


def figures(*, tiny: bool) -> Iterator[Figure]:
    """Read in turns with nibabel, then once for few cases and once for four times as many."""
    few, shape = (1, (24, 24, 16)) if tiny else (3, SHAPE)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "few"
        for number in range(few):
            _write(folder, number, shape)
        rates: dict[str, list[float]] = {"ours": [], "nibabel": []}
        for _ in range(1 if tiny else 4):
            rates["ours"].append(_a_minute(few, lambda: _read(folder)))
            rates["nibabel"].append(_a_minute(few, lambda: _load(folder)))
        ours, peer = (statistics.median(rates[name]) for name in ("ours", "nibabel"))
        yield Figure(
            benchmark="volumes",
            what="cases of BraTS's size",
            value=ours,
            unit="cases a minute",
            peer=peer,
            peer_name="nibabel alone",
        )
        yield Figure(
            benchmark="volumes",
            what="time, of nibabel alone",
            value=statistics.median(
                b / a for a, b in zip(rates["ours"], rates["nibabel"], strict=True)
            ),
            unit="x",
            goal=2.0,
        )
        yield _memory(folder, few)
        for number in range(few, 4 * few):
            _write(folder, number, shape)
        yield _memory(folder, 4 * few)


def _write(folder: Path, number: int, shape: tuple[int, int, int]) -> None:
    """A head of noise that fills what a brain does of BraTS's volumes, some 16 %."""
    rng = np.random.default_rng(number)
    axes = np.meshgrid(*(np.linspace(-1, 1, size) for size in shape), indexing="ij", sparse=True)
    distance = np.sqrt(sum(axis**2 for axis in axes))
    name = f"BraTS2021_{number:05}"
    (folder / name).mkdir(parents=True)
    volumes = {
        word: np.where(distance < 0.67, rng.integers(200, 1200, shape, dtype=np.int16), 0)
        for word in WORDS
    }
    volumes["seg"] = np.select([distance < 0.1, distance < 0.2, distance < 0.3], [1, 4, 2])
    for word, voxels in volumes.items():
        kind = np.uint8 if word == "seg" else np.int16
        image = nib.Nifti1Image(voxels.astype(kind), np.diag([-1.0, -1, 1, 1]))
        packed = gzip.compress(image.to_bytes(), compresslevel=6)
        (folder / name / f"{name}_{word}.nii.gz").write_bytes(packed)


def _read(folder: Path) -> None:
    readers.read("brats", folder, size_px=SIZE_PX)


def _load(folder: Path) -> None:
    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(_voxels, sorted(folder.glob("*/*.nii.gz"))))


def _voxels(path: Path) -> int:
    return int(np.asanyarray(nib.load(path).dataobj).size)


def _a_minute(cases: int, work: Callable[[], None]) -> float:
    began = time.monotonic()
    work()
    return 60 * cases / (time.monotonic() - began)


def _memory(folder: Path, cases: int) -> Figure:
    command = [sys.executable, "-c", _PEAK, str(folder), str(SIZE_PX)]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return Figure(
        benchmark="volumes", what=f"peak memory, cases: {cases}", value=float(said), unit="MiB"
    )
