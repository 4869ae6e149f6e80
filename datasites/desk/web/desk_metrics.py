"""A front desk's numbers for whoever watches it; `metrics_http` serves them.

Guarantee: nothing here depends on patients, and the front desk holds none. No label and no line holds a
    name, a study, a key or an e-mail: numbers, and the fixed words below. How long a round took is not
    among them: it would tell how many patients train.
"""

from collections.abc import Callable, Mapping

from prometheus_client import generate_latest

from datasites.site_condition import SiteCondition
from syft_code.operation.metrics_http import Registry

PREFIX = "consilium_hospital"
STATUSES = ("2xx", "3xx", "4xx", "5xx")
KINDS = ("call", "request", "login")


class DeskMetrics:
    """Counts of answers by class of status and of refusals by kind; `look` is asked at each look."""

    def __init__(
        self,
        look: Callable[[], SiteCondition],
        *,
        answered: Mapping[str, int],
        refused: Mapping[str, int],
    ) -> None:
        self._look, self._answered, self._refused = look, answered, refused
        self._registry = Registry(PREFIX)
        self._answers = self._registry.gauge(
            "http_answers", "HTTP answers since the start.", "status"
        )
        self._refusals = self._registry.gauge(
            "refusals", "What was refused since the start.", "kind"
        )
        self._good = self._registry.gauge("in_order", "1 if it is in order, else 0.", "what")

    def text(self) -> bytes:
        """All numbers, in the text format of Prometheus."""
        for status in STATUSES:
            self._answers.labels(status).set(self._answered.get(status, 0))
        for kind in KINDS:
            self._refusals.labels(kind).set(self._refused.get(kind, 0))
        for point in self._look().points:
            self._good.labels(point.name).set(point.is_good)
        return generate_latest(self._registry.collected)

    def health(self) -> tuple[bool, str]:
        """Whether all of the hospital is in order, in one sentence."""
        found = self._look()
        return found.is_good, found.sentence
