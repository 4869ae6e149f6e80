"""A federation's aggregators on one machine, and the table of all its parties."""

from pathlib import Path

from rich.table import Column, Table

from federation.aggregator import local_process
from federation.local.federation_file import FederationConfig
from federation.local.party_users import Choice, PartyUsers
from federation.local.state_folder import AGGREGATORS
from syft_code.operation.process_spec import ProcessSpec
from syft_code.plans.roster import Aggregator


def parties(
    config: FederationConfig, state: Path, *, researcher: str, users: PartyUsers | None = None
) -> list[ProcessSpec]:
    """Every aggregator, ready to be started, for the studies of one researcher's key (hex)."""
    return [
        local_process.party(
            _home(state, one.name),
            name=one.name,
            port=one.port,
            researchers=[researcher],
            user=users.aggregator(one.name) if users else None,
        )
        for one in config.aggregator
    ]


def entries(config: FederationConfig, state: Path) -> tuple[Aggregator, ...]:
    """The aggregators as they tell of themselves, once they have started."""
    return tuple(local_process.public_entry(_home(state, one.name)) for one in config.aggregator)


def table(config: FederationConfig, choice: Choice) -> Table:
    """Who takes part, where they answer, what a hospital gives, and which users run them."""
    found = Table(
        Column("Name", no_wrap=True),
        Column("URL", no_wrap=True),
        "Data",
        "Budget",
        caption=choice.sentence,
        caption_justify="left",
    )
    users = choice.users
    if users is not None:
        found.add_column("Users")
    for entry in config.hospital:
        of = users.hospital(entry.name) if users else None
        own = f"{of.owner.number}-{of.desk.number}" if of else ""
        found.add_row(
            entry.name,
            f"http://127.0.0.1:{entry.port}",
            f"{entry.kind}: {entry.data or 'stand-ins'}",
            f"ε {entry.epsilon:g}, δ {entry.delta:g}",
            *([own] if users else []),
        )
    for aggregator in config.aggregator:
        number = [str(users.aggregator(aggregator.name).number)] if users else []
        found.add_row(aggregator.name, f"127.0.0.1:{aggregator.port}", "secret shares", "", *number)
    return found


def _home(state: Path, name: str) -> Path:
    return (state / AGGREGATORS / name).resolve()
