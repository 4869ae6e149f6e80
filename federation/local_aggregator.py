"""One aggregator as whoever starts it on this machine sees it."""

from pathlib import Path

from federation.collector import AggregatorClient
from syft_code import canonical
from syft_code.errors import ConsiliumError, InvalidInput, Unavailable
from syft_code.party import Party
from syft_code.plan import Aggregator

CONNECT_S = 0.5


def party(home: Path, *, name: str, port: int) -> Party:
    """An aggregator with this folder, ready to be started."""
    arguments = ("--home", str(home), "--name", name, "--port", str(port), "--end-with-starter")
    return Party(
        name=name,
        module="federation.aggregator",
        arguments=arguments,
        healthy=lambda: is_healthy(home),
        log_path=home.with_suffix(".log"),
        port=port,
    )


def public_entry(home: Path) -> Aggregator:
    """What the aggregator in this folder says of itself, for a plan's roster."""
    try:
        data = (home / "public.json").read_bytes()
    except OSError:
        raise Unavailable(
            f"The aggregator in {home} has not started yet: it has no public.json."
        ) from None
    entry: Aggregator = canonical.parse(
        Aggregator, data, what="aggregator's entry", error=InvalidInput
    )
    return entry


def is_healthy(home: Path) -> bool:
    """Whether the aggregator in this folder serves."""
    try:
        client = AggregatorClient(public_entry(home), connect_timeout_s=CONNECT_S)
        try:
            client.health()
        finally:
            client.close()
    except ConsiliumError:
        return False
    return True
