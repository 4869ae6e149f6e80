"""A front desk's numbers for whoever watches it; `metrics_http` serves them.

Guarantee: nothing here depends on patients, and the front desk holds none. No label and no line holds a
    name, a study, a key or an e-mail: numbers, and the fixed words below. How long a round took is not
    among them: it would tell how many patients train.
"""

from collections.abc import Callable

from prometheus_client import generate_latest

from datasites.desk.storage.security_log import EventKind
from datasites.site_condition import Point, SiteCondition
from syft_code.errors import ConsiliumError
from syft_code.operation.metrics_http import Registry

PREFIX = "consilium_hospital"


class DeskMetrics:
    """Counts of answers by class of status and of refusals by kind; `look` is asked at each look."""

    def __init__(self, look: Callable[[], SiteCondition]) -> None:
        self._look = look
        self._registry = registry = Registry(PREFIX)
        self._answers = registry.counter("http_answers", "HTTP answers.", "status")
        self._refusals = registry.counter("refusals", "What was refused.", "kind")
        self._good = registry.gauge("in_order", "1 if it is in order, else 0.", "what")
        for status in ("2xx", "3xx", "4xx", "5xx"):
            self._answers.labels(status)
        for kind in ("call", "request", "login"):
            self._refusals.labels(kind)

    def on_answer(self, status: int) -> None:
        """Told of each answer's status."""
        self._answers.labels(f"{status // 100}xx").inc()

    def on_refusal(self, kind: EventKind) -> None:
        """Told of each refusal."""
        self._refusals.labels(kind).inc()

    def text(self) -> bytes:
        """All numbers, in the text format of Prometheus."""
        for point in self._found().points:
            self._good.labels(point.name).set(point.is_good)
        return generate_latest(self._registry.collected)

    def health(self) -> tuple[bool, str]:
        """Whether all of the hospital is in order, in one sentence."""
        found = self._found()
        return found.is_good, found.sentence

    def _found(self) -> SiteCondition:
        try:
            return self._look()
        except ConsiliumError as problem:
            return SiteCondition(
                points=(Point(name="folder", is_good=False, sentence=str(problem)),)
            )
