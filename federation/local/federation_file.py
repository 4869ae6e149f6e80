"""A federation in one TOML file: who takes part, on which ports, with which budgets.

    [[hospital]]
    name = "rosendahl"
    port = 8101
    data = "/data/ham10000"     # optional: published at the first start
    kind = "ham10000"           # or "brats", "lgg", "heart", "symptoms", "vitals", "table", "images"
    patients = 250              # with data: the training patients that its owner declares
    epsilon = 8.0
    epsilon_alone = 20.0        # optional, as epsilon: the bound if all other hospitals collude
    delta = 1e-5

    [[aggregator]]
    name = "aggregator-1"
    port = 8201

Hospitals that name the same data folder share it between them, as a demo does.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, TypeAdapter, ValidationError
from pydantic_core import ErrorDetails

from datasites.data.readers import Kind
from datasites.hospital.hospital_file import (
    ALONE_FACTOR,
    LEAST_PORT,
    HospitalEntry,
    Port,
)
from syft_code import canonical, toml_text
from syft_code.errors import InvalidInput, require
from syft_code.plans.roster import NAME
from syft_code.runtime import addresses
from syft_code.runtime.cli_output import plain, quoted

FIRST_PORT = 8101
AGGREGATORS = 3
AGGREGATOR_PORTS = 99
"""So far above the first hospital's port, less one, is the first aggregator's."""
PORTS = AGGREGATOR_PORTS + AGGREGATORS


@canonical.message
class AggregatorEntry:
    """One aggregator."""

    name: str
    port: Port


@canonical.message
class FederationConfig:
    """The whole federation, with the least number of hospitals that a sum may have."""

    hospital: tuple[HospitalEntry, ...]
    aggregator: tuple[AggregatorEntry, ...]
    min_hospitals: Annotated[int, Field(ge=3)] = 3

    def __post_init__(self) -> None:
        parties: list[HospitalEntry | AggregatorEntry] = [*self.hospital, *self.aggregator]
        for what, values in (
            ("name", [party.name for party in parties]),
            ("port", [str(party.port) for party in parties]),
        ):
            twice = sorted({value for value in values if values.count(value) > 1})
            require(
                not twice,
                f"Every party must have a {what} of its own, and two have {', '.join(twice)}.",
                error=InvalidInput,
            )
        require(
            all(NAME.fullmatch(party.name) for party in parties),
            "A party's name must be 1 to 40 lower-case letters, digits, '-' or '_'.",
            error=InvalidInput,
        )
        require(
            len(self.hospital) >= self.min_hospitals and len(self.aggregator) >= 2,
            f"A federation needs at least {self.min_hospitals} hospitals and 2 aggregators, got "
            f"{len(self.hospital)} and {len(self.aggregator)}.",
            error=InvalidInput,
        )


MOST_FAULTS = 8
_CONFIG = TypeAdapter(FederationConfig)
DEFAULT_EPSILON = 8.0
DEFAULT_DELTA = 1e-5
DEFAULT_HOSPITALS: dict[Kind, tuple[str, ...]] = {
    "ham10000": ("vidir-molemax", "vidir-modern", "rosendahl", "vienna-dias"),
    "heart": ("cleveland", "hungarian", "va", "switzerland"),
    "lgg": ("du", "ht", "cs", "fg", "ez"),
}
"""The sites that the data really come from, the largest first; others do not name theirs."""
NAMELESS = ("hospital-1", "hospital-2", "hospital-3", "hospital-4")


def default(
    *,
    first_port: int = FIRST_PORT,
    names: Sequence[str] = (),
    epsilon: float = DEFAULT_EPSILON,
    kind: Kind = "ham10000",
    tell_researchers: bool = False,
) -> FederationConfig:
    """The federation that needs no file: three aggregators and four hospitals, or all `names`.

    Raises:
        InvalidInput: if a port would be none.
    """
    require(
        LEAST_PORT <= first_port <= addresses.MOST_PORT - PORTS,
        f"--first-port must lie between {LEAST_PORT} and {addresses.MOST_PORT - PORTS}, since the parties "
        f"take ports up to {PORTS} above it, got {first_port}.",
        error=InvalidInput,
    )
    return FederationConfig(
        hospital=tuple(
            HospitalEntry(
                name=name,
                port=first_port + i,
                epsilon=epsilon,
                epsilon_alone=ALONE_FACTOR * epsilon,
                delta=DEFAULT_DELTA,
                kind=kind,
                tell_researchers=tell_researchers,
            )
            for i, name in enumerate(names or DEFAULT_HOSPITALS.get(kind, NAMELESS))
        ),
        aggregator=tuple(
            AggregatorEntry(name=f"aggregator-{i}", port=first_port + AGGREGATOR_PORTS + i)
            for i in range(1, AGGREGATORS + 1)
        ),
    )


def load(path: Path) -> FederationConfig:
    """Read a federation's file.

    Raises:
        InvalidInput: with every fault that the file's fields have, each with its party's name.
    """
    name = quoted(str(path))
    try:
        table = toml_text.loads(path.read_text(encoding="utf-8"))
    except OSError as problem:
        raise InvalidInput(
            f"The federation file {name} can't be read: {problem.strerror}. Give a TOML file with "
            "--federation."
        ) from None
    except UnicodeDecodeError:
        raise InvalidInput(f"The federation file {name} must be TOML in UTF-8.") from None
    except ValueError as problem:  # TOMLDecodeError is one; huge numbers another
        raise InvalidInput(f"The federation file {name} must be TOML; {problem}.") from None
    try:
        config: FederationConfig = _CONFIG.validate_json(json.dumps(table, default=str))
        return config
    except ValidationError as problem:
        faults = problem.errors(include_url=False, include_input=False)
        told = "; ".join(_fault(fault, table) for fault in faults[:MOST_FAULTS])
        more = f"; and {len(faults) - MOST_FAULTS} more" if len(faults) > MOST_FAULTS else ""
        raise InvalidInput(f"In the federation file {name}: {told}{more}.") from None


def _fault(fault: ErrorDetails, table: Mapping[str, Any]) -> str:
    """One fault with the name of its party.

    >>> table = {"hospital": [{"name": "north"}]}
    >>> fault = {"type": "missing", "loc": ("hospital", 0, "port"), "msg": "Field required"}
    >>> _fault(fault, table)
    'hospital north: port: Field required'
    """
    message = plain(fault["msg"].removeprefix("Value error, "))
    match fault["loc"]:
        case (str(kind), int(number), *inner):
            entries = table.get(kind)
            entry = entries[number] if isinstance(entries, list) else {}
            name = entry.get("name") if isinstance(entry, Mapping) else None
            party = (
                f"{kind} {quoted(name)[1:-1]}" if isinstance(name, str) else f"{kind} {number + 1}"
            )
            return ": ".join((party, *map(str, inner), message))
        case loc:
            return ": ".join((*map(str, loc), message))
