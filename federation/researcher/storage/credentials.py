"""A researcher's credentials: logins, a signing key and the aggregators, in one file. Loads no PySyft."""

import ssl
from dataclasses import dataclass
from pathlib import Path

from nacl.signing import SigningKey

from syft_code import canonical
from syft_code.errors import InvalidInput
from syft_code.plans.roster import Aggregator
from syft_code.runtime import durable_files, tls


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class HospitalLogin:
    """A researcher's login at one hospital.

    `certificate` is the one (PEM) that its front desk shows; empty: one of a public authority, or plain
    HTTP on this machine.
    """

    __pydantic_config__ = canonical.STRICT
    hospital: str
    url: str
    email: str
    password: str
    certificate: str = ""

    def pinned(self) -> ssl.SSLContext | None:
        """Trust in that certificate and no other; None where authorities are trusted.

        Raises:
            InvalidInput: if it is no certificate.
        """
        return tls.pinned(self.certificate) if self.certificate else None

    def not_trusted(self, why: str) -> str:
        """What to tell people where another answers at the address than the hospital's certificate says."""
        if not self.certificate:
            return (
                f"Who answers at {self.url} must show a certificate that this machine trusts for it, and does "
                f"not ({why}), so nothing was sent: ask {self.hospital} what its proxy shows."
            )
        return (
            f"Who answers at {self.url} does not show the certificate of {self.hospital}'s invitation "
            f"({why}), so nothing was sent: ask the hospital on the telephone whether it has a new one, and if "
            f"so take it by `consilium researcher trust {self.hospital} --certificate FILE`."
        )


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Credentials:
    """Everything that a researcher needs to start: kept in one file that only they may read."""

    __pydantic_config__ = canonical.STRICT
    accounts: tuple[HospitalLogin, ...]
    aggregators: tuple[Aggregator, ...]
    signing_key: str

    @property
    def verify_key(self) -> str:
        """The public half (hex) of the signing key, which plans name."""
        return SigningKey(bytes.fromhex(self.signing_key)).verify_key.encode().hex()

    @classmethod
    def load(cls, path: Path) -> "Credentials":
        """Read the file; raise `InvalidInput` with one sentence if it is missing or broken."""
        try:
            data = path.read_bytes()
        except OSError:
            raise InvalidInput(
                f"There is no credentials file {path}: start a federation with `consilium "
                "up`, which writes one, or ask the hospitals for an invitation."
            ) from None
        found: Credentials = canonical.parse(cls, data, what="credentials file", error=InvalidInput)
        return found

    def save(self, path: Path) -> None:
        """Write the file, for this user alone."""
        durable_files.write_durably(path, canonical.encode(self))
