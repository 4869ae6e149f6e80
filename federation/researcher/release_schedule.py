"""A plan's release schedule from a run on the public mock, on the researcher's machine."""

import os
from collections.abc import Sequence
from urllib.parse import urlsplit

from federation.researcher.syft_client import HospitalClient
from syft_code.local_training import round_time
from syft_code.plans.plan import Plan
from syft_code.plans.plan_parts import ReleaseSchedule

ELSEWHERE = 3.0
"""Another machine may be so many times slower than this one, which nobody here can know."""
_HERE = frozenset({"127.0.0.1", "localhost", "::1"})


def from_mock(plan: Plan, hospitals: Sequence[HospitalClient]) -> ReleaseSchedule:
    """Ticks with room for the plan's work at the slowest of its hospitals.

    Hospitals on this machine share its cores between them.
    """
    here = sum(urlsplit(hospital.url).hostname in _HERE for hospital in hospitals)
    crowded = here / (os.cpu_count() or 1)
    slowness = max(ELSEWHERE if here < len(hospitals) else 1.0, crowded)
    mock = hospitals[0].mock(plan.hospital(hospitals[0].name).asset)
    return round_time.release_schedule(plan, mock, slowness=slowness)
