"""What the operator of an aggregator decides, in one TOML file.

    name = "aggregator-1"                            # in plans, and in the certificate
    home = "/var/lib/consilium-aggregator"           # keys, shares, sums, logs
    host = "0.0.0.0"                                 # where it listens
    port = 8201
    public_address = "aggregator.example.org:8201"   # how others reach it

`deploy/aggregator.toml` has every field with a comment.
"""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from federation.aggregator.storage.upload_buffer import Quotas
from syft_code import canonical, toml_messages
from syft_code.errors import InvalidInput, require
from syft_code.plans.roster import HEX_KEY, NAME
from syft_code.runtime import addresses

GIB = 2**30
LogLevel = Literal["debug", "info", "warning", "error"]
Port = Annotated[int, Field(ge=0, le=65535)]


@canonical.message
class AggregatorConfig:
    """One aggregator, as its operator wants it. Holds no secret.

    `port` 0 takes any free one, for tests; `metrics_port` 0 is no metrics. Without
    `public_address` others reach it at `host` and `port`. `researchers` are the keys of those
    who may open studies, none: nobody. One study may take `max_study_gib`, and each of its hospitals
    an equal part of what its sums leave of that. A stop waits `stop_grace_s` for running calls.
    Started as root, it gives its folder to the user with the number `user`, and is that user; 0: it stays
    root, whom a hole in it would then give the machine.

    Raises:
        InvalidInput: with one sentence that names the field.
    """

    name: str
    home: str
    port: Port
    host: str = "127.0.0.1"
    public_address: str = ""
    metrics_host: str = "127.0.0.1"
    metrics_port: Port = 0
    researchers: tuple[str, ...] = ()
    max_stored_gib: float = 50.0
    max_study_gib: float = 20.0
    log_level: LogLevel = "info"
    stop_grace_s: Annotated[float, Field(ge=0, le=600)] = 20.0
    user: Annotated[int, Field(ge=0, lt=2**31)] = 60_790

    def __post_init__(self) -> None:
        _require(
            NAME.fullmatch(self.name) is not None,
            "name must be 1 to 40 lower-case letters, digits, '-' or '_', and begin with a letter",
        )
        _require(self.home != "", "home must be a folder")
        for field, host in (("host", self.host), ("metrics_host", self.metrics_host)):
            _require(addresses.is_host(host), f"{field} must be an IP address or a host name")
        _require(
            self.public_address != "" or self.host not in addresses.EVERYWHERE,
            f"public_address must say how others reach it, as host:port, since {self.host} is "
            "every address of this machine and none of them",
        )
        _require(
            self.public_address == "" or addresses.split(self.public_address) is not None,
            "public_address must be host:port, as others reach it",
        )
        _require(
            self.metrics_port == 0
            or (self.metrics_host, self.metrics_port) != (self.host, self.port),
            "metrics_port must not be the port of the aggregator itself",
        )
        _require(
            all(HEX_KEY.fullmatch(key) for key in self.researchers),
            "researchers must be a list of public keys, each of 64 hexadecimal digits",
        )
        _require(
            self.max_stored_gib > 0 and self.max_study_gib > 0,
            "max_stored_gib and max_study_gib must be above 0",
        )

    @property
    def folder(self) -> Path:
        """The folder that is the aggregator's own."""
        return Path(self.home)

    @property
    def quotas(self) -> Quotas:
        """How much it may keep."""
        return Quotas(
            total_bytes=int(self.max_stored_gib * GIB), study_bytes=int(self.max_study_gib * GIB)
        )

    @property
    def hosts(self) -> tuple[str, ...]:
        """The names and addresses that its certificate must stand for."""
        public = addresses.split(self.public_address)
        listening = () if self.host in addresses.EVERYWHERE else (self.host,)
        return tuple(dict.fromkeys((*listening, *([public[0]] if public else []))))

    @property
    def local_host(self) -> str:
        """Where somebody on this machine reaches it."""
        return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.host, self.host)  # noqa: S104

    def address(self, port: int) -> str:
        """Its address for others, when it listens at this port."""
        return self.public_address or addresses.joined(self.host, port)


def load(path: Path) -> AggregatorConfig:
    """Read an aggregator's file; a relative `home` is beside it.

    Raises:
        InvalidInput: with one sentence that names the field.
    """
    config: AggregatorConfig = toml_messages.load(
        AggregatorConfig, path, what="aggregator", beside=("home",)
    )
    return config


def _require(holds: bool, sentence: str) -> None:
    require(holds, f"{sentence}.", error=InvalidInput)
