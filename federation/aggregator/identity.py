"""Who an aggregator is: its keys and certificate, made once, in a folder of its own.

    HOME/identity/sign.key   Ed25519, signs partial sums
                  seal.key   X25519, opens shares
                  tls.key    and tls.crt, self-signed; its common name is the aggregator's, its
                             other names are where it listens and how others reach it
    HOME/public.json         what goes into a plan's roster

All files are 0600 in folders of 0700. A folder with some of them is refused: new keys
in an old folder would make every share that waits there worthless, silently.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from nacl.public import PrivateKey
from nacl.signing import SigningKey

from syft_code import canonical
from syft_code.errors import InvalidInput, Unavailable, require
from syft_code.evidence import tls_certificates
from syft_code.plans.roster import Aggregator
from syft_code.runtime.durable_files import sync_folder, write_durably

FOLDER = "identity"
STAGING = "identity.new"
PUBLIC = "public.json"
FILES = ("sign.key", "seal.key", "tls.key", "tls.crt")


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Identity:
    """An aggregator's keys, in memory. Never printed, logged or serialised."""

    name: str
    sign_key: SigningKey
    seal_key: PrivateKey
    tls_key: bytes
    certificate: bytes

    def public(self, address: str) -> Aggregator:
        """The entry for a plan's roster."""
        return Aggregator(
            name=self.name,
            address=address,
            verify_key=bytes(self.sign_key.verify_key).hex(),
            seal_key=bytes(self.seal_key.public_key).hex(),
            certificate=self.certificate.decode("ascii"),
        )


def create(home: Path, *, name: str, hosts: Sequence[str]) -> None:
    """Make keys and certificate in a staging folder; `commit` makes them the aggregator's."""
    staging = home / STAGING
    staging.mkdir(mode=0o700)
    tls_key = tls_certificates.new_key()
    contents = {
        "sign.key": bytes(SigningKey.generate()).hex().encode("ascii"),
        "seal.key": bytes(PrivateKey.generate()).hex().encode("ascii"),
        "tls.key": tls_key,
        "tls.crt": tls_certificates.self_signed(tls_key, name=name, hosts=hosts),
    }
    for file, data in contents.items():
        write_durably(staging / file, data)


def commit(home: Path) -> None:
    """The last step of a first start: from here on the folder is an aggregator's."""
    (home / STAGING).rename(home / FOLDER)
    sync_folder(home)


def load(home: Path, *, name: str, hosts: Sequence[str]) -> Identity:
    """Read the keys back, or say in one sentence why the folder is not in order."""
    folder = home / FOLDER
    for file in FILES:
        path = folder / file
        require(
            path.is_file() and path.stat().st_mode & 0o077 == 0,
            f"An aggregator's folder must hold {FOLDER}/{file}, readable by its owner alone: "
            "restore it, or start with an empty folder and new keys.",
            error=Unavailable,
        )
    sign_key, seal_key, tls_key, certificate = ((folder / file).read_bytes() for file in FILES)
    try:
        identity = Identity(
            name=name,
            sign_key=SigningKey(bytes.fromhex(sign_key.decode("ascii"))),
            seal_key=PrivateKey(bytes.fromhex(seal_key.decode("ascii"))),
            tls_key=tls_key,
            certificate=certificate,
        )
        made_for, names = tls_certificates.made_for(certificate)
    except (ValueError, TypeError):
        raise Unavailable(
            f"An aggregator's keys must be whole, and a file in {FOLDER}/ is not: restore it, "
            "or start with an empty folder and new keys."
        ) from None
    missing = [host for host in hosts if tls_certificates.plain_host(host) not in names]
    require(
        made_for == name and not missing,
        f"This folder's certificate is for the aggregator {made_for!r} at {', '.join(names)}"
        f"{', and not for ' + ', '.join(missing) if missing else ''}: start it under that name and "
        "address, or with an empty folder and new keys.",
        error=Unavailable,
    )
    return identity


def publish(home: Path, identity: Identity, *, address: str) -> Aggregator:
    """Write `public.json`, which a researcher puts into a plan."""
    entry = identity.public(address)
    write_durably(home / PUBLIC, canonical.encode(entry))
    return entry


def published(home: Path) -> Aggregator:
    """Read `public.json` back."""
    try:
        data = (home / PUBLIC).read_bytes()
    except OSError:
        raise Unavailable(
            f"The aggregator in {home} has not started yet: it has no {PUBLIC}."
        ) from None
    entry: Aggregator = canonical.parse(
        Aggregator, data, what="aggregator's entry", error=InvalidInput
    )
    return entry
