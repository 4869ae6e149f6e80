"""A hospital's invitation to a researcher: a file that makes one account, once.

    owner ─ offer: e-mail, hash of a code, end ─▶ front desk
      └── the file: address, certificate, code ──▶ researcher ─ code, a password of their own ─▶ front desk

Guarantee: no password travels that is good afterwards: the code makes one account, once, before it
    ends, and the password is chosen by who uses it.
Does not protect: against who reads the file on its way and is first. The researcher is then refused
    and asks, and the owner takes the account away (`Owner.remove_account`) before inviting anew.
"""

import re
from typing import Literal

from syft_code import canonical
from syft_code.errors import InvalidInput, require
from syft_code.plans.roster import HEX_KEY, NAME

FORMAT: Literal["consilium-invitation-1"] = "consilium-invitation-1"
PATH = "/invitations"
"""Where a front desk takes answers; offers come below /owner."""
MAX_EMAIL, LEAST_PASSWORD, MAX_PASSWORD = 320, 16, 1024
_EMAIL = re.compile(r"[a-z0-9._+-]{1,64}@[a-z0-9-]{1,63}(\.[a-z0-9-]{1,63})+")
_URL = re.compile(r"https://[^/\s]+|http://(127\.0\.0\.1|localhost|\[::1\]):[0-9]+")


@canonical.message
class Invitation:
    """What a hospital's owner hands to a researcher.

    `certificate` (PEM) is the one that the front desk at `url` shows; empty: a public authority's, or plain
    HTTP on the same machine. `verify_key` (hex) is the hospital's own, for researchers to compare.
    """

    hospital: str
    institution: str
    url: str
    certificate: str
    verify_key: str
    email: str
    code: str
    expires_unix_s: int
    format: Literal["consilium-invitation-1"] = FORMAT

    def __post_init__(self) -> None:
        check_email(self.email)
        require(
            NAME.fullmatch(self.hospital) is not None
            and HEX_KEY.fullmatch(self.verify_key) is not None
            and _URL.fullmatch(self.url) is not None,
            "An invitation must name its hospital, the hospital's key and an address https://host:port (plain "
            "HTTP on one machine alone).",
            error=InvalidInput,
        )


@canonical.message
class InvitationOffer:
    """What the owner tells the front desk of one: never the code itself."""

    email: str
    code_sha256: str
    expires_unix_s: int

    def __post_init__(self) -> None:
        check_email(self.email)
        require(
            HEX_KEY.fullmatch(self.code_sha256) is not None,
            "An invitation's code must be told by its SHA-256.",
            error=InvalidInput,
        )


@canonical.message
class InvitationAnswer:
    """What the researcher sends to the front desk: the code, and a password of their own."""

    email: str
    code: str
    password: str

    def __post_init__(self) -> None:
        check_email(self.email)
        require(
            LEAST_PASSWORD <= len(self.password) <= MAX_PASSWORD and len(self.code) <= MAX_PASSWORD,
            f"A password must have {LEAST_PASSWORD} to {MAX_PASSWORD} characters.",
            error=InvalidInput,
        )


def check_email(email: str) -> None:
    """Raise `InvalidInput` unless a text is an e-mail's address."""
    require(
        len(email) <= MAX_EMAIL and _EMAIL.fullmatch(email) is not None,
        f"A researcher must be invited by an e-mail address in lower-case letters, got {email[:80]!r}.",
        error=InvalidInput,
    )
