"""A researcher's credentials: logins, a signing key and the aggregators, in one file. Loads no PySyft."""

from dataclasses import dataclass
from pathlib import Path

from syft_code import canonical
from syft_code.errors import InvalidInput
from syft_code.plans.roster import Aggregator
from syft_code.runtime import durable_files


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class HospitalLogin:
    """A researcher's login at one hospital."""

    __pydantic_config__ = canonical.STRICT
    hospital: str
    url: str
    email: str
    password: str


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Credentials:
    """Everything that a researcher needs to start: kept in one file that only they may read."""

    __pydantic_config__ = canonical.STRICT
    accounts: tuple[HospitalLogin, ...]
    aggregators: tuple[Aggregator, ...]
    signing_key: str

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
