"""How a hospital is: do its processes answer, is its relay a way to it, how long will certificate and disk do?

Nothing here depends on patients.
"""

import ctypes
import datetime as dt
import shutil
from dataclasses import dataclass

from datasites import site_processes
from datasites.site import Site
from syft_code.evidence import tls_certificates

SOON_DAYS = 30
LEAST_FREE_BYTES = 2 * 2**30
_TIME_ERROR = 5
"""What Linux answers to `adjtimex` where nobody keeps the clock (adjtimex(2))."""
_TIMEX_BYTES = 512
"""More than `struct timex` has; all zero, it asks and changes nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """One thing that was looked at, whether it is good, and a sentence."""

    name: str
    is_good: bool
    sentence: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteCondition:
    """All that was looked at."""

    points: tuple[Point, ...]

    @property
    def is_good(self) -> bool:
        """Whether each point is."""
        return all(point.is_good for point in self.points)

    @property
    def sentence(self) -> str:
        """What is wrong, in one sentence."""
        wrong = [f"{p.name}: {p.sentence}" for p in self.points if not p.is_good]
        return f"Not in order: {'; '.join(wrong)}." if wrong else "All is in order."


def look(site: Site) -> SiteCondition:
    """Look at a hospital that was made.

    Raises:
        ConsiliumError: if its folder has no settings, or its certificate can't be read.
    """
    settings = site.settings()
    points = [
        _answers("vault", site_processes.vault_is_healthy(site.home)),
        _answers("front desk", site_processes.desk_is_healthy(site.home)),
    ]
    if settings.relay:
        points.append(_answers("relay", site_processes.desk_is_reached(site)))
    if settings.tls == "own":
        points.append(_certificate(site))
    return SiteCondition(points=(*points, _disk(site)))


def _answers(name: str, healthy: bool) -> Point:
    sentence = "answers" if healthy else "does not answer"
    return Point(name=name, is_good=healthy, sentence=sentence)


def _certificate(site: Site) -> Point:
    text = site.shown_certificate()
    ends = tls_certificates.ends(text)
    good = ends > dt.datetime.now(dt.UTC) + dt.timedelta(days=SOON_DAYS)
    said = f"valid until {ends:%Y-%m-%d}, SHA-256 {tls_certificates.fingerprint(text)}"
    mend = "" if good else ": docs/deploy.md says how to have a new one"
    return Point(name="certificate", is_good=good, sentence=said + mend)


def _disk(site: Site) -> Point:
    free = shutil.disk_usage(site.home).free
    good = free >= LEAST_FREE_BYTES
    said = f"{free / 2**30:,.1f} GiB free at {site.home}"
    mend = "" if good else f", below {LEAST_FREE_BYTES / 2**30:.0f}: make room"
    return Point(name="disk", is_good=good, sentence=said + mend)


def clock() -> Point:
    """What the clock says, and whether anybody keeps it: one that nobody keeps may still be right."""
    libc = ctypes.CDLL(None)
    asked = ctypes.create_string_buffer(_TIMEX_BYTES)
    kept = hasattr(libc, "adjtimex") and libc.adjtimex(asked) not in (-1, _TIME_ERROR)
    now = f"{dt.datetime.now(dt.UTC):%Y-%m-%d %H:%M:%S} UTC"
    sentence = (
        f"{now}, kept by a time service"
        if kept
        else f"{now}; no time service keeps it, and requests are refused once it is a minute off: install chrony"
    )
    return Point(name="clock", is_good=True, sentence=sentence)
