"""What the operator of a relay decides, in one TOML file; it holds no secret.

name = "relay"
home = "/var/lib/consilium-relay"        # its key and its certificate
address = "relay.example.org:8600"       # how hospitals reach it

[[hospitals]]
name = "north"
certificate = "north.crt"                # the front desk's, which the hospital shows
port = 8601                              # where researchers find that hospital
"""

from dataclasses import replace
from pathlib import Path
from typing import Annotated

from pydantic import Field

from syft_code import canonical, toml_messages
from syft_code.errors import InvalidInput, require
from syft_code.plans.roster import NAME
from syft_code.runtime import addresses, tls

MAX_BYTES = 2**16
"""Of a certificate's file."""
Port = Annotated[int, Field(ge=1, le=addresses.MOST_PORT)]


@canonical.message
class RelayedHospital:
    """A hospital, the file of the certificate (PEM) that it shows, and its port for researchers."""

    name: str
    certificate: str
    port: Port

    def shown(self) -> str:
        """Its certificate (PEM), without those of authorities that may follow it.

        Raises:
            InvalidInput: if it can't be read.
        """
        try:
            with Path(self.certificate).open("rb") as file:
                return tls.first(file.read(MAX_BYTES).decode("ascii"))
        except (OSError, ValueError):
            raise InvalidInput(
                f"{self.name}'s certificate must be a PEM file, and {self.certificate} can't be read as one: "
                "ask the hospital for its tls.crt."
            ) from None


@canonical.message
class RelayConfig:
    """One relay. `user` is who it is if root starts it; 0: it stays root. `metrics_port` 0 is no metrics.

    Raises:
        InvalidInput: with one sentence that names the field.
    """

    name: str
    home: str
    address: str
    host: str = "0.0.0.0"  # noqa: S104 - a relay is for others
    hospitals: tuple[RelayedHospital, ...] = ()
    user: Annotated[int, Field(ge=0, lt=2**31)] = 60_780
    metrics_host: str = "127.0.0.1"
    metrics_port: Annotated[int, Field(ge=0, le=addresses.MOST_PORT)] = 0

    def __post_init__(self) -> None:
        _require(
            NAME.fullmatch(self.name) is not None, "name must be lower-case letters, digits, '-'"
        )
        _require(self.home != "", "home must be a folder")
        _require(addresses.is_host(self.host), "host must be an IP address or a host name")
        _require(
            addresses.is_host(self.metrics_host),
            "metrics_host must be an IP address or a host name",
        )
        _require(
            addresses.split(self.address) is not None,
            "address must be host:port, as hospitals reach it",
        )
        for one in self.hospitals:
            _require(
                NAME.fullmatch(one.name) is not None,
                "a hospital's name must be lower-case letters, digits, '-'",
            )
        names = [hospital.name for hospital in self.hospitals]
        _require(len(set(names)) == len(names), "each hospital must stand in hospitals once")
        ports = [self.port, *(hospital.port for hospital in self.hospitals)]
        _require(
            len(set(ports)) == len(ports),
            "each hospital must have a port of its own, beside the one of address",
        )

    @property
    def folder(self) -> Path:
        """Its folder."""
        return Path(self.home)

    @property
    def port(self) -> int:
        """Where hospitals come in."""
        return self._reached[1]

    @property
    def host_name(self) -> str:
        """The host of its address."""
        return self._reached[0]

    @property
    def _reached(self) -> tuple[str, int]:
        return addresses.split(self.address) or ("", 0)


def load(path: Path) -> RelayConfig:
    """Read a relay's file; a relative path in it begins beside it.

    Raises:
        InvalidInput: with one sentence that names the field.
    """
    config: RelayConfig = toml_messages.load(RelayConfig, path, what="relay", beside=("home",))
    folder = path.resolve().parent
    return replace(
        config,
        hospitals=tuple(
            replace(one, certificate=str(folder / one.certificate)) for one in config.hospitals
        ),
    )


def _require(holds: bool, sentence: str) -> None:
    require(holds, f"{sentence}.", error=InvalidInput)
