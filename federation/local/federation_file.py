"""A federation in one TOML file: who takes part, on which ports, with which budgets.

    [[hospital]]
    name = "rosendahl"
    port = 8101
    data = "/data/ham10000"     # optional: published at the first start
    kind = "ham10000"           # or "brats", "heart", "symptoms", "vitals", "table"
    epsilon = 8.0
    delta = 1e-5

    [[aggregator]]
    name = "aggregator-1"
    port = 8201

Hospitals that name the same data folder share it between them, as a demo does.
"""

import json
import tomllib
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, TypeAdapter, ValidationError

from syft_code import canonical
from syft_code.errors import InvalidInput, require
from syft_code.plans.roster import NAME

Port = Annotated[int, Field(ge=1024, le=65535)]
Kind = Literal["ham10000", "brats", "heart", "symptoms", "vitals", "table"]


@canonical.message
class HospitalEntry:
    """One hospital, with what its first policy.toml says: see `policies.site_policy`.

    Units: a round that takes longer than `round_limit_s` seconds is ended inside the hospital.
    """

    name: str
    port: Port
    epsilon: float
    delta: float
    kind: Kind = "ham10000"
    data: str = ""
    min_noise_multiplier: float = 0.3
    min_patients: int = 1
    tell_researchers: bool = False
    round_limit_s: float = 6 * 3600.0


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
            ("port", [party.port for party in parties]),
        ):
            require(
                len(set(values)) == len(values),
                f"Every party must have a {what} of its own: two are alike.",
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


DEFAULT_EPSILON = 8.0
DEFAULT_DELTA = 1e-5
DEFAULT_HOSPITALS: dict[Kind, tuple[str, ...]] = {
    "ham10000": ("vidir-molemax", "vidir-modern", "rosendahl", "vienna-dias"),
    "heart": ("cleveland", "hungarian", "va", "switzerland"),
}
"""The four sites that the data really come from, the largest first; others do not name theirs."""
NAMELESS = ("hospital-1", "hospital-2", "hospital-3", "hospital-4")


def default(
    *,
    first_port: int = 8101,
    hospitals: int = 4,
    epsilon: float = DEFAULT_EPSILON,
    kind: Kind = "ham10000",
    tell_researchers: bool = False,
) -> FederationConfig:
    """The federation that needs no file: four hospitals and three aggregators."""
    return FederationConfig(
        hospital=tuple(
            HospitalEntry(
                name=name,
                port=first_port + i,
                epsilon=epsilon,
                delta=DEFAULT_DELTA,
                kind=kind,
                tell_researchers=tell_researchers,
            )
            for i, name in enumerate(DEFAULT_HOSPITALS.get(kind, NAMELESS)[:hospitals])
        ),
        aggregator=tuple(
            AggregatorEntry(name=f"aggregator-{i}", port=first_port + 99 + i) for i in (1, 2, 3)
        ),
    )


def load(path: Path) -> FederationConfig:
    """Read a federation's file.

    Raises:
        InvalidInput: with one sentence that names the field.
    """
    try:
        text = path.read_text(encoding="utf-8")
        table = tomllib.loads(text)
        as_json = json.dumps(table, default=str)
        config: FederationConfig = TypeAdapter(FederationConfig).validate_json(as_json)
        return config
    except (OSError, UnicodeDecodeError) as problem:
        raise InvalidInput(f"The federation file {path} can't be read: {problem}.") from None
    except tomllib.TOMLDecodeError as problem:
        raise InvalidInput(f"{path} must be TOML; {problem}.") from None
    except ValidationError as problem:
        raise InvalidInput(f"In {path}, {canonical.first_problem(problem)}.") from None
