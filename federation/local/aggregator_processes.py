"""A federation's aggregators on one machine, and the table of all its parties."""

from pathlib import Path

from rich.table import Column, Table

from federation.aggregator import local_process
from federation.local.federation_file import FederationConfig
from syft_code.plans.roster import Aggregator
from syft_code.runtime.process_spec import ProcessSpec

ONE_USER = (
    "All parties are one user: whoever takes over one of them reads the keys and the patients of all. "
    "In earnest give the owner, the vault, the front desk and each aggregator a user of their own."
)


def parties(config: FederationConfig, state: Path, *, researcher: str) -> list[ProcessSpec]:
    """Every aggregator, ready to be started, for the studies of one researcher's key (hex)."""
    return [
        local_process.party(
            _home(state, one.name), name=one.name, port=one.port, researchers=[researcher]
        )
        for one in config.aggregator
    ]


def entries(config: FederationConfig, state: Path) -> tuple[Aggregator, ...]:
    """The aggregators as they tell of themselves, once they have started."""
    return tuple(local_process.public_entry(_home(state, one.name)) for one in config.aggregator)


def table(config: FederationConfig) -> Table:
    """Who takes part, where they answer, what a hospital gives, and that one user runs them all."""
    found = Table(
        Column("Name", no_wrap=True),
        Column("URL", no_wrap=True),
        "Data",
        "Budget",
        caption=ONE_USER,
        caption_justify="left",
    )
    for entry in config.hospital:
        found.add_row(
            entry.name,
            f"http://127.0.0.1:{entry.port}",
            f"{entry.kind}: {entry.data or 'stand-ins'}",
            f"ε {entry.epsilon:g}, δ {entry.delta:g}",
        )
    for aggregator in config.aggregator:
        found.add_row(aggregator.name, f"127.0.0.1:{aggregator.port}", "secret shares", "")
    return found


def _home(state: Path, name: str) -> Path:
    return (state / "aggregators" / name).resolve()
