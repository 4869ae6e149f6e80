"""A Ray cluster: joined, or started on this machine; what it can't do is a sentence."""

import importlib
import importlib.util
import os
from typing import Any

from syft_code.errors import Unavailable, require

LOCAL = "local"
START_S = 120
"""So long the processes of a cluster may take to start; a busy machine needs more than Ray's own 30 s."""


def join(address: str) -> Any:
    """Ray, connected to a cluster, or to one that is started here if the address is "local".

    Raises:
        Unavailable: if Ray is not installed, or the cluster does not answer.
    """
    require(
        importlib.util.find_spec("ray") is not None,
        "Ray must be installed to run on a cluster, and is not: pip install 'consilium[cluster]'. "
        "Without --cluster everything runs in processes of this machine.",
        error=Unavailable,
    )
    os.environ.setdefault("RAY_raylet_start_wait_time_s", str(START_S))
    os.environ.setdefault("RAY_agent_register_timeout_ms", str(1000 * START_S))
    ray: Any = importlib.import_module("ray")
    if ray.is_initialized():
        return ray
    try:
        ray.init(address=address, include_dashboard=False, log_to_driver=False)
    except Exception as problem:  # Ray raises many kinds
        raise Unavailable(
            f"The Ray cluster must answer at {address!r}, and did not ({type(problem).__name__}): see "
            "that it runs, or leave --cluster out."
        ) from None
    return ray


def cores(ray: Any) -> int:
    """How many tasks of one core the cluster runs side by side."""
    return max(int(ray.cluster_resources().get("CPU", 1)), 1)
