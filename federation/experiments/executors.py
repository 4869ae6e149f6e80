"""Where cells run: in processes of this machine, or on a Ray cluster.

Either way it is the same function with the same arguments, so that the rows are the same. Only
names of cells go in, and files come out: with Ray on several machines the folder and the data must
lie where all of them see them.
"""

import multiprocessing
import os
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from pathlib import Path
from typing import Any

import torch

from federation.experiments import run_cell
from federation.experiments.cell import Cell
from federation.experiments.run_cell import Load
from federation.simulation import ray_cluster
from syft_code.operation.parent_exit import end_with_parent

LOOK_AGAIN_S = 0.5


def by_processes(
    cells: Sequence[Cell], load: Load, folder: Path, *, workers: int
) -> Generator[Cell | None, None, None]:
    """Each cell in one of several processes of one thread; yields a cell as it ends, else None.

    With fewer cells than workers, the workers that are left over take hospitals' rounds of a cell.
    The first that fails ends the others.
    """
    side_by_side = min(workers, len(cells))
    each = workers // side_by_side
    with ProcessPoolExecutor(
        side_by_side,
        mp_context=multiprocessing.get_context("spawn"),
        initializer=_begin,
        initargs=(os.getpid(),),
    ) as pool:
        waiting = {
            pool.submit(run_cell.run, cell, load, folder, workers=each): cell for cell in cells
        }
        try:
            while waiting:
                done, _ = wait(waiting, timeout=LOOK_AGAIN_S, return_when=FIRST_COMPLETED)
                for future in done:
                    future.result()
                    yield waiting.pop(future)
                if not done:
                    yield None
        except BaseException:
            _stop(pool)
            raise


def _begin(parent_pid: int) -> None:
    end_with_parent(parent_pid)
    torch.set_num_threads(1)


def _stop(pool: ProcessPoolExecutor) -> None:
    """End the processes at once: what they have done is on disk, round by round."""
    processes = list((pool._processes or {}).values())
    pool.shutdown(wait=False, cancel_futures=True)
    for process in processes:
        process.terminate()


def by_ray(
    cells: Sequence[Cell], load: Load, folder: Path, *, address: str
) -> Generator[Cell | None, None, None]:
    """Each cell as a Ray task of one core. `address` is a cluster's, or "local" to start one here.

    With fewer cells than the cluster has cores, one cell after the other runs here, and its
    hospitals' rounds are the tasks.

    Raises:
        Unavailable: if Ray is not installed, or the cluster does not answer.
    """
    ray = ray_cluster.join(address)
    try:
        if len(cells) < ray_cluster.cores(ray):
            for cell in cells:
                run_cell.run(cell, load, folder, cluster=address)
                yield cell
            return
        task: Callable[..., Any] = ray.remote(num_cpus=1, max_retries=3)(_on_ray).remote
        waiting = {task(cell, load, str(folder)): cell for cell in cells}
        while waiting:
            done, _ = ray.wait(list(waiting), timeout=LOOK_AGAIN_S)
            for reference in done:
                ray.get(reference)
                yield waiting.pop(reference)
            if not done:
                yield None
    finally:
        ray.shutdown()


def _on_ray(cell: Cell, load: Load, folder: str) -> None:
    torch.set_num_threads(1)
    run_cell.run(cell, load, Path(folder))
