"""A hospital's folder: what stands where, and the settings that its processes share.

HOME/site.json      name, port and the time limit of a round (public)
HOME/tls.crt        the certificate that its front desk shows (public), if it speaks TLS itself
HOME/relay.crt      the certificate of the relay that it is reached through (public), if there is one
HOME/desk.uid       the front desk's id in PySyft (public)
HOME/*-process.log  what its processes print
HOME/policy.toml    the policy as its owner writes it; in force once it is signed
HOME/owner/         the owner's key, the salt of patients' hashes, the account at the front desk
HOME/vault/         cohorts, approvals, ledger, audit log, sealed shares, the hospital's key
HOME/encoders/      files of public encoders that the operator put there; perhaps none
HOME/desk/          PySyft's database, blobs on their way, notes, the log of refusals
"""

import secrets
import ssl
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import TypeAdapter, ValidationError

from datasites import private_files
from syft_code import canonical
from syft_code.errors import InvalidInput, require
from syft_code.models.devices import Precision
from syft_code.runtime import durable_files, encoder_files, tls

ROUND_LIMIT_S = 6 * 3600.0
LONGEST_S = 30 * 86_400.0
MOST_PROCESSES = 64
WantedDevice = Literal["auto", "cpu", "cuda"]
Tls = Literal["none", "own", "proxy"]
LOOPBACK = "127.0.0.1"


@canonical.message
class SiteSettings:
    """What the owner sets before a start.

    The front desk listens at `host` and `port`; others reach it at `address` (host:port). `tls` is "own"
    (its own certificate, in HOME/desk), "proxy" (it listens on the loopback address, and whoever ends TLS
    at `address` passes on what comes), or "none": plain HTTP, on the loopback address alone.

    Its numbers are served at `metrics_host` and `metrics_port`; 0: they are not.

    Behind a relay (host:port) it opens connections to that, perhaps through the HTTP proxy `relay_proxy`
    (host:port), and listens on the loopback address.

    A round that takes longer than `round_limit_s` seconds is ended; what it cost stays spent. A
    training's batches are split between so many `training_processes`, each with the whole cohort in
    memory. It computes on `device` ("auto": a CUDA device if a contained process can use one, behind
    weaker walls) in `precision`; Opacus computes on the processor in float32.
    """

    name: str
    port: int
    round_limit_s: float = ROUND_LIMIT_S
    training_processes: int = 1
    device: WantedDevice = "cpu"
    precision: Precision = "float32"
    host: str = LOOPBACK
    address: str = ""
    tls: Tls = "none"
    institution: str = ""
    metrics_host: str = LOOPBACK
    metrics_port: int = 0
    relay: str = ""
    relay_proxy: str = ""

    def __post_init__(self) -> None:
        require(
            self.tls == "own" or self.host == LOOPBACK,
            f'A front desk must speak TLS where others hear it: set tls = "own", or listen at '
            f"{LOOPBACK}; got {self.tls!r} at {self.host}.",
            error=InvalidInput,
        )
        require(
            (self.address != "") == (self.tls != "none"),
            'There must be an address, as others reach it, with tls = "own" or "proxy", and none '
            f"without; got {self.address!r} and {self.tls!r}.",
            error=InvalidInput,
        )
        require(
            0 < self.round_limit_s <= LONGEST_S,
            f"round_limit_s must lie above 0 and at most at {LONGEST_S:g}, got "
            f"{self.round_limit_s}.",
            error=InvalidInput,
        )
        require(
            1 <= self.training_processes <= MOST_PROCESSES,
            f"training_processes must lie between 1 and {MOST_PROCESSES}, got "
            f"{self.training_processes}.",
            error=InvalidInput,
        )
        require(
            self.training_processes == 1 or self.device == "cpu",
            'Several training_processes compute on the processor: set device = "cpu", or '
            f"training_processes = 1; got {self.training_processes} and {self.device!r}.",
            error=InvalidInput,
        )

    @property
    def url(self) -> str:
        """Where the front desk answers others."""
        return self.local_url if self.tls == "none" else f"https://{self.address}"

    @property
    def local_url(self) -> str:
        """Where it answers on its own machine."""
        host = {"0.0.0.0": LOOPBACK, "::": "[::1]"}.get(self.host, self.host)  # noqa: S104
        return f"{'https' if self.tls == 'own' else 'http'}://{host}:{self.port}"


@canonical.message
class OwnerAccount:
    """What the owner chooses for the account at the own front desk; `signing_key` is a seed (hex)."""

    password: str
    signing_key: str


@dataclass(frozen=True, slots=True)
class Site:
    """The paths of one hospital's folder."""

    home: Path

    @property
    def owner(self) -> Path:
        """The owner's own folder: the key that signs actions, the salt, the password."""
        return self.home / "owner"

    @property
    def policy(self) -> Path:
        """The policy's TOML text."""
        return self.home / "policy.toml"

    @property
    def vault(self) -> Path:
        """The vault's folder; its socket stands here too."""
        return self.home / "vault"

    @property
    def desk(self) -> Path:
        """The front desk's folder."""
        return self.home / "desk"

    @property
    def desk_account(self) -> Path:
        """The owner's account on its way to the front desk, until that has made it."""
        return self.desk / "owner_account.json"

    @property
    def certificate(self) -> Path:
        """The certificate that the front desk shows, if it speaks TLS itself."""
        return self.home / "tls.crt"

    @property
    def tls_key(self) -> Path:
        """The certificate's private key, the front desk's alone."""
        return self.desk / "tls.key"

    @property
    def relay_certificate(self) -> Path:
        """The certificate of the relay that the front desk is reached through, if there is one."""
        return self.home / "relay.crt"

    def pinned(self) -> ssl.SSLContext | None:
        """Trust in the own front desk's certificate and no other; None where it speaks plain HTTP."""
        if self.settings().tls != "own":
            return None
        return tls.pinned(self.shown_certificate())

    def shown_certificate(self) -> str:
        """The front desk's own certificate (PEM), without those of authorities that may follow it."""
        return tls.first(private_files.read_required(self.certificate).decode("ascii", "replace"))

    @property
    def desk_uid(self) -> str:
        """The front desk's id in PySyft (hex)."""
        return private_files.read_required(self.home / "desk.uid").decode("ascii")

    @property
    def encoders(self) -> Path:
        """Files of public encoders that no installed package has."""
        return self.home / encoder_files.FOLDER

    def settings(self) -> SiteSettings:
        """Read the settings; raise with one sentence if they are missing or broken."""
        data = private_files.read_required(self.home / "site.json")
        try:
            return TypeAdapter(SiteSettings).validate_json(data, strict=True)
        except ValidationError as problem:
            raise InvalidInput(
                f"A site.json must be well formed; in {canonical.first_problem(problem)}."
            ) from None

    def new_account(self) -> OwnerAccount:
        """The account that the front desk is to make for the owner."""
        data = private_files.read_required(self.desk_account)
        account: OwnerAccount = canonical.parse(OwnerAccount, data, what="owner's account")
        return account


def owner_email(hospital: str) -> str:
    """The owner's account name at a hospital's front desk."""
    return f"owner@{hospital}.example.org"


NEEDED = {
    "site.json": ("owner/key", "owner/salt", "vault/owner.pub"),
    "vault/vault.db": ("vault/key",),
    "desk/syft.db": ("desk/key", "desk.uid", "owner/password", "owner/account"),
    "owner/terms.json": ("vault/key", "vault/vault.db"),
}
"""Once the file on the left exists, the folder is whole only with those on the right."""


def create(home: Path, settings: SiteSettings, *, policy: str = "") -> Site:
    """Make a hospital's folder with its owner's key, or go on with the one that is there.

    `policy` is the text of the first policy.toml; one that is there already stays.

    Raises:
        Unavailable: if the folder is half written; nothing is changed then.
    """
    site = Site(home)
    if home.exists() and any(home.iterdir()):
        _check_whole(home)
    for folder in (home, site.owner, site.vault, site.desk):
        private_files.private_folder(folder)
    owner_key = private_files.signing_key(site.owner / "key", owned_as_folder=True)
    if not (site.owner / "salt").exists():
        _write(site.owner / "salt", secrets.token_bytes(32))
    _write(site.vault / "owner.pub", owner_key.verify_key.encode())
    _choose_account(site)
    if not (home / "desk.uid").exists():
        _write(home / "desk.uid", uuid.uuid4().hex.encode("ascii"))
    if policy and not site.policy.exists():
        _write(site.policy, policy.encode("utf-8"))
    _write(home / "site.json", canonical.encode(settings))
    return site


def _write(path: Path, data: bytes) -> None:
    durable_files.write_durably(path, data, owned_as_folder=True)


def _choose_account(site: Site) -> None:
    """The owner's password and key at the front desk, which is told them before its first start."""
    password = site.owner / "password"
    if not password.exists():
        _write(password, secrets.token_urlsafe(24).encode("ascii"))
    account = OwnerAccount(
        password=password.read_text(encoding="ascii"),
        signing_key=private_files.signing_key(site.owner / "account", owned_as_folder=True)
        .encode()
        .hex(),
    )
    if not (site.desk / "syft.db").exists():
        _write(site.desk_account, canonical.encode(account))


def _check_whole(home: Path) -> None:
    private_files.read_required(home / "site.json")
    for present, needed in NEEDED.items():
        if (home / present).exists():
            for name in needed:
                private_files.read_required(home / name)
