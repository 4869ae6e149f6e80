"""An aggregator's numbers for whoever watches it; `metrics_http` serves them.

Guarantee: no label and no line holds a hospital's name, a study's name or hash, a key, or anything
    of a share: numbers, and the fixed words below.
"""

from collections.abc import Callable

from prometheus_client import Histogram, generate_latest

from syft_code import canonical
from syft_code.operation.metrics_http import Registry

PREFIX = "consilium_aggregator"
SECONDS = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0)
_COUNTED = {
    "share_taken": ("shares_taken", "Shares taken whole."),
    "set_chosen": ("sets_chosen", "Rounds whose one set was chosen."),
    "sum_released": ("sums_released", "Rounds whose sums were worked out; repeats not counted."),
    "refused": ("refusals", "Calls that were answered with no."),
    "study_wiped": ("studies_wiped", "Studies wiped since the start."),
}


@canonical.message
class Condition:
    """How an aggregator is at this moment, in numbers that its operator may show anybody."""

    studies: int
    wiped_studies: int
    stored_bytes: int
    free_bytes: int
    reserve_bytes: int
    max_stored_bytes: int

    @property
    def problem(self) -> str:
        """Why it can't take a share, in one sentence; empty if it can."""
        if not self.free_bytes > self.reserve_bytes:
            return (
                f"The disk must have more than {self.reserve_bytes / 2**20:,.0f} MiB free, and has "
                f"{self.free_bytes / 2**20:,.0f}: no share is taken until there is room again."
            )
        if self.stored_bytes >= self.max_stored_bytes:
            return (
                f"At most {self.max_stored_bytes / 2**30:,.2f} GiB may be stored (max_stored_gib), "
                f"and {self.stored_bytes / 2**30:,.2f} are: no share is taken until a study is "
                "wiped."
            )
        return ""

    @property
    def sentence(self) -> str:
        """Its health in one sentence."""
        return self.problem or (
            f"Healthy: {self.studies} {'study' if self.studies == 1 else 'studies'}, {self.stored_bytes / 2**30:,.2f} GiB stored, "
            f"{self.free_bytes / 2**30:,.1f} GiB free."
        )


class Metrics:
    """An aggregator's numbers; `condition` is asked at each look."""

    def __init__(self, condition: Callable[[], Condition]) -> None:
        self.condition = condition
        self._registry = registry = Registry(PREFIX)
        self._counts = {kind: registry.counter(*named) for kind, named in _COUNTED.items()}
        self._received = registry.counter("received_bytes", "Bytes of sealed shares that arrived.")
        self._sum_seconds = Histogram(
            f"{PREFIX}_sum_seconds",
            "Time to add up the sums of one round.",
            buckets=SECONDS,
            registry=registry.collected,
        )
        self._studies = registry.gauge("studies", "Studies that were opened here.", "state")
        self._stored = registry.gauge("stored_bytes", "Bytes of shares and sums on the disk.")
        self._free = registry.gauge("free_disk_bytes", "Free bytes on the folder's disk.")
        self._reserve = registry.gauge("reserve_disk_bytes", "Below this, no share is taken.")
        self._healthy = registry.gauge("healthy", "1 if it can take shares, else 0.")

    def on_event(self, kind: str, amount: int) -> None:
        """Told by the rules what happened; what is not counted here is let pass."""
        if kind in self._counts:
            self._counts[kind].inc()
        elif kind == "upload_bytes":
            self._received.inc(amount)
        elif kind == "sum_milliseconds":
            self._sum_seconds.observe(amount / 1000)

    def text(self) -> bytes:
        """All numbers, in the text format of Prometheus."""
        found = self.condition()
        self._studies.labels("open").set(found.studies - found.wiped_studies)
        self._studies.labels("wiped").set(found.wiped_studies)
        self._stored.set(found.stored_bytes)
        self._free.set(found.free_bytes)
        self._reserve.set(found.reserve_bytes)
        self._healthy.set(not found.problem)
        return generate_latest(self._registry.collected)

    def health(self) -> tuple[bool, str]:
        """Whether it can take a share, in one sentence."""
        found = self.condition()
        return not found.problem, found.sentence
