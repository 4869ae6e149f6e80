"""A hospital's folder: what stands where, and the settings that its processes share.

HOME/site.json      name, port and policy (public)
HOME/public.json    what a researcher needs to know (public, written at start)
HOME/owner/         the owner's key and passwords
HOME/vault/         cohorts, approvals, ledger, sealed shares, the hospital's key
HOME/desk/          PySyft's database, blobs on their way
"""

from dataclasses import dataclass
from pathlib import Path

from datasites import keeping
from policies.rules import SitePolicy
from syft_code import canonical
from syft_code.errors import InvalidInput


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteSettings:
    """What the owner sets before the first start; `port` is on the loopback address."""

    __pydantic_config__ = canonical.STRICT
    name: str
    port: int
    policy: SitePolicy

    @property
    def url(self) -> str:
        """Where the front desk answers."""
        return f"http://127.0.0.1:{self.port}"


@dataclass(frozen=True, slots=True)
class Site:
    """The paths of one hospital's folder."""

    home: Path

    @property
    def owner(self) -> Path:
        """The owner's own folder: the key that signs acts, and passwords."""
        return self.home / "owner"

    @property
    def vault(self) -> Path:
        """The vault's folder; its socket stands here too."""
        return self.home / "vault"

    @property
    def desk(self) -> Path:
        """The front desk's folder."""
        return self.home / "desk"

    def settings(self) -> SiteSettings:
        """Read the settings; raise with one sentence if they are missing or broken."""
        data = keeping.read_kept(self.home / "site.json")
        settings: SiteSettings = canonical.parse(
            SiteSettings, data, what="site.json", error=InvalidInput
        )
        return settings


NEEDED = {
    "site.json": ("owner/key", "vault/owner.pub"),
    "vault/records.db": ("vault/key", "vault/ledger.db"),
    "desk/syft.db": ("desk/key", "desk/uid"),
}
"""Once the file on the left exists, the folder is whole only with those on the right."""


def create(home: Path, settings: SiteSettings) -> Site:
    """Make a hospital's folder with its owner's key, or go on with the one that is there.

    Raises:
        Unavailable: if the folder is half written; nothing is changed then.
    """
    site = Site(home)
    if home.exists() and any(home.iterdir()):
        _check_whole(home)
    for folder in (home, site.owner, site.vault, site.desk):
        keeping.private_folder(folder)
    owner_key = keeping.signing_key(site.owner / "key")
    keeping.write_private(site.vault / "owner.pub", owner_key.verify_key.encode())
    keeping.write_private(home / "site.json", canonical.encode(settings))
    return site


def _check_whole(home: Path) -> None:
    keeping.read_kept(home / "site.json")
    for present, needed in NEEDED.items():
        if (home / present).exists():
            for name in needed:
                keeping.read_kept(home / name)
