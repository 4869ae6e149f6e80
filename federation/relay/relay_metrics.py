"""A relay's numbers for whoever watches it; `metrics_http` serves them. No label names anybody."""

from prometheus_client import generate_latest

from federation.relay.relay_server import RelayServer
from syft_code.operation.metrics_http import Registry

PREFIX = "consilium_relay"
_TEXTS = {
    "hospitals": "Hospitals in its file.",
    "hospitals_there": "Hospitals with a connection parked.",
    "parked": "Connections that wait for a researcher.",
    "joined": "Researchers who are joined to a hospital.",
}


class RelayMetrics:
    """What a relay counts, at each look."""

    def __init__(self, relay: RelayServer) -> None:
        self._relay = relay
        self._registry = registry = Registry(PREFIX)
        self._gauges = {name: registry.gauge(name, text) for name, text in _TEXTS.items()}
        self._joined = registry.counter("researchers_joined", "Researchers who were joined.")
        self._told = 0

    def text(self) -> bytes:
        """All numbers, in the text format of Prometheus."""
        numbers = self._relay.numbers
        for name, gauge in self._gauges.items():
            gauge.set(numbers[name])
        ever = numbers["joined_since_start"]
        self._joined.inc(ever - self._told)
        self._told = ever
        return generate_latest(self._registry.collected)

    def health(self) -> tuple[bool, str]:
        """Whether each hospital is there, in one sentence."""
        numbers = self._relay.numbers
        there, all_ = numbers["hospitals_there"], numbers["hospitals"]
        return there == all_, f"{there} of {all_} hospitals are there."
