"""What a hospital decides, in one TOML file; it holds no secret.

    name = "charite"                                  # in plans and certificates
    institution = "Charité Berlin"
    home = "/var/lib/consilium/charite"               # patients, keys, approvals, ledger
    address = "consilium.charite.example.org:8443"    # how researchers reach its front desk
    port = 8443
    kind = "ham10000"
    data = "/data/skin"
    patients = 250                                    # what its owner declares to the public
    epsilon = 8.0
    delta = 1e-5

`deploy/hospital.toml` has every field with a comment.
"""

from dataclasses import replace
from pathlib import Path
from typing import Annotated

from pydantic import Field

from datasites.data.readers import Kind
from datasites.data.train_test_split import HELD_OUT
from datasites.owner.publishing import Declaration
from datasites.site import LOOPBACK, MOST_PROCESSES, SiteSettings, Tls, WantedDevice
from datasites.site_users import FIRST_USER, LAST_USER
from policies.known_parties import MAX_TEXT
from policies.site_policy import SitePolicy
from syft_code import canonical, toml_messages
from syft_code.errors import InvalidInput, require
from syft_code.models.devices import Precision
from syft_code.plans.catalogue import LARGEST_DELTA, LEAST_DELTA, Terms
from syft_code.plans.roster import NAME
from syft_code.runtime import addresses

LEAST_PORT = 1024
ALONE_FACTOR = 2.5
"""A new hospital's `epsilon_alone` ÷ its epsilon: shared noise over three or four hospitals of which one
may collude needs 1.4 to 2.2."""
EVERYWHERE = "0.0.0.0"  # noqa: S104 - a hospital's front desk is for others
Port = Annotated[int, Field(ge=LEAST_PORT, le=addresses.MOST_PORT)]
Delta = Annotated[float, Field(ge=LEAST_DELTA, le=LARGEST_DELTA)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]


@canonical.message
class HospitalEntry:
    """What any hospital decides, alone or in a federation's file, with what its first policy.toml says.

    Units: a round that takes longer than `round_limit_s` seconds is ended inside the hospital; its
    batches are split between so many `training_processes`, and computed on `device` in `precision`.

    `patients`, `held_out` and `lacks` are what its owner says of the data to the public.
    """

    name: str
    port: Port
    epsilon: Positive
    delta: Delta
    kind: Kind = "ham10000"
    data: str = ""
    patients: Annotated[int, Field(ge=0)] = 0
    held_out: Annotated[float, Field(ge=0, lt=1)] = HELD_OUT
    lacks: tuple[str, ...] = ()
    min_noise_multiplier: Positive = 0.3
    min_patients: Annotated[int, Field(ge=1)] = 1
    epsilon_alone: Positive | None = None
    tell_researchers: bool = False
    round_limit_s: Positive = 6 * 3600.0
    training_processes: Annotated[int, Field(ge=1, le=MOST_PROCESSES)] = 1
    device: WantedDevice = "cpu"
    precision: Precision = "float32"

    def site_settings(self) -> SiteSettings:
        """What its processes need to know."""
        return SiteSettings(
            name=self.name,
            port=self.port,
            round_limit_s=self.round_limit_s,
            training_processes=self.training_processes,
            device=self.device,
            precision=self.precision,
        )

    def declaration(self) -> Declaration | None:
        """What its owner says of the data to the public; None if nothing."""
        if not self.patients:
            return None
        return Declaration(patients=self.patients, held_out=self.held_out, lacks=self.lacks)

    def policy(self, *, min_hospitals: int) -> SitePolicy:
        """What its first policy.toml says."""
        terms = Terms(
            epsilon=self.epsilon,
            delta=self.delta,
            min_noise_multiplier=self.min_noise_multiplier,
            min_patients=self.min_patients,
            min_hospitals=min_hospitals,
            epsilon_alone=self.epsilon_alone,
        )
        return SitePolicy(terms=terms, tell_researchers=self.tell_researchers)


@canonical.message
class HospitalConfig(HospitalEntry):
    """One hospital alone on its machine.

    Its `data`, of `kind`, are published as `asset`, pictures at `size_px` (the kind's own size if left
    out), with `facts` if the kind has them: all hospitals of a study must say the same.

    Its front desk listens at `host` and `port`, and others reach it at `address`. `tls` is "own" (its own
    certificate) or "proxy" (a proxy ends TLS at `address`; the front desk listens on the loopback
    address). Started as root, its processes are users with numbers from `first_user` on. What Prometheus
    reads is at `metrics_host` and `metrics_port`; 0 is none.

    A hospital that allows no inbound connection names a `relay` (host:port) with the file of its
    certificate, and perhaps the HTTP proxy (host:port) that it leaves the house through; `address` is then
    where the relay is found by researchers.
    """

    institution: str
    home: str
    address: str
    asset: str = ""
    size_px: Annotated[int, Field(ge=8, le=512)] | None = None
    facts: bool = False
    host: str = EVERYWHERE
    tls: Tls = "own"
    min_hospitals: Annotated[int, Field(ge=3)] = 3
    first_user: Annotated[int, Field(ge=1000, le=LAST_USER)] = FIRST_USER
    metrics_host: str = LOOPBACK
    metrics_port: Annotated[int, Field(ge=0, le=addresses.MOST_PORT)] = 0
    relay: str = ""
    relay_certificate: str = ""
    relay_proxy: str = ""

    def __post_init__(self) -> None:
        _require(
            NAME.fullmatch(self.name) is not None,
            "name must be 1 to 40 lower-case letters, digits, '-' or '_', and begin with a letter",
        )
        _require(self.home != "", "home must be a folder")
        _require(
            0 < len(self.institution) <= MAX_TEXT and self.institution.isprintable(),
            f"institution must be the hospital's name as people write it, in at most {MAX_TEXT} characters",
        )
        _require(
            addresses.split(self.address) is not None,
            "address must be host:port, as researchers reach the front desk, for example "
            "consilium.charite.example.org:8443",
        )
        _require(
            self.tls != "none", 'tls must be "own" or "proxy": only `consilium up` goes without'
        )
        _require(
            self.tls == "own" or self.host in (EVERYWHERE, LOOPBACK),
            f'host must be left out with tls = "proxy": the front desk listens at {LOOPBACK}',
        )
        self._check_ways_out()
        _require(
            not self.data or NAME.fullmatch(self.asset) is not None,
            "asset must be the name under which data are published, 1 to 40 lower-case letters, digits, "
            "'-' or '_'",
        )
        _require(
            not self.data or self.patients > 0,
            "patients must say how many training patients the public may read of: what is public is "
            "never computed from data",
        )

    def _check_ways_out(self) -> None:
        """What it is watched at, and what it is reached through."""
        _require(
            addresses.is_host(self.metrics_host),
            "metrics_host must be an IP address or a host name",
        )
        _require(
            self.metrics_port != self.port, "metrics_port must not be the port of the front desk"
        )
        _require(
            (self.relay == "") == (self.relay_certificate == ""),
            "relay (host:port) and relay_certificate (its file) must stand together",
        )
        for field, address in (("relay", self.relay), ("relay_proxy", self.relay_proxy)):
            _require(
                not address or addresses.split(address) is not None, f"{field} must be host:port"
            )
        _require(
            not self.relay or (self.tls == "own" and self.host in (EVERYWHERE, LOOPBACK)),
            f'tls must be "own" and host left out behind a relay: the front desk listens at {LOOPBACK}, and who '
            "ends its TLS could read what passes",
        )

    @property
    def folder(self) -> Path:
        """Its folder."""
        return Path(self.home)

    def site_settings(self) -> SiteSettings:
        """What its processes need to know."""
        return replace(
            HospitalEntry.site_settings(self),
            host=self.host if self.tls == "own" and not self.relay else LOOPBACK,
            address=self.address,
            tls=self.tls,
            institution=self.institution,
            metrics_host=self.metrics_host,
            metrics_port=self.metrics_port,
            relay=self.relay,
            relay_proxy=self.relay_proxy,
        )


def load(path: Path) -> HospitalConfig:
    """Read a hospital's file; a relative `home` or `data` is beside it.

    Raises:
        InvalidInput: with one sentence that names the field.
    """
    config: HospitalConfig = toml_messages.load(
        HospitalConfig, path, what="hospital", beside=("home", "data", "relay_certificate")
    )
    return config


def _require(holds: bool, sentence: str) -> None:
    require(holds, f"{sentence}.", error=InvalidInput)
