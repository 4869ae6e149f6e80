"""The processes of one training meet: gloo over the loopback device of a network of their own.

Workers of one template share its network, where nobody else is (`datasites.sandbox.namespaces`).
"""

import contextlib
import datetime
from collections.abc import Iterator

import torch.distributed as dist

from syft_code.errors import TrainingFailed
from syft_code.learning.ranks import Group

PORT = 29_400
"""Of their own network: taken by no one."""
LONGEST_STEP = datetime.timedelta(hours=6)
START = datetime.timedelta(minutes=5)


@contextlib.contextmanager
def met(rank: int, count: int) -> Iterator[Group]:
    """Meet the others for one training; raise `TrainingFailed` if they do not come."""
    try:
        dist.init_process_group(
            "gloo",
            init_method=f"tcp://127.0.0.1:{PORT}",
            rank=rank,
            world_size=count,
            timeout=START,
        )
        group: Group = dist.new_group(timeout=LONGEST_STEP)
    except (RuntimeError, OSError):
        raise TrainingFailed(
            f"The {count} processes that this hospital trains on did not find each other: start "
            "the hospital again, or set training_processes to 1 in its site.json."
        ) from None
    yield group
    with contextlib.suppress(RuntimeError, ValueError, AssertionError):
        dist.destroy_process_group()
