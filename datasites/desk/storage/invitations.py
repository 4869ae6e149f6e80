"""Invitations that wait to be used: for each e-mail the hash of one code, and when it ends."""

import secrets
import threading
import time
from collections.abc import Callable
from pathlib import Path

from datasites import private_files
from syft_code import canonical
from syft_code.errors import Refused, require
from syft_code.plans.invitations import InvitationAnswer, InvitationOffer
from syft_code.runtime import durable_files

MAX_WAITING = 1000
USED = (
    "An invitation must be the hospital's newest for this e-mail, unused and not past its end, and this "
    "one is not: ask the data owner for another."
)


class Invitations:
    """The invitations of one front desk, in its folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = private_files.private_folder(folder)
        self._taking = threading.Lock()

    def offer(self, invitation: InvitationOffer) -> None:
        """Keep an invitation; an earlier one of the same e-mail is void.

        Raises:
            Refused: if too many wait.
        """
        with self._taking:
            self._forget_ended()
            require(
                sum(1 for _ in self._folder.iterdir()) < MAX_WAITING,
                f"At most {MAX_WAITING:,} invitations may wait to be used: let some be used, or end.",
                error=Refused,
            )
            path = self._path(invitation.email)
            durable_files.write_durably(path, canonical.encode(invitation))

    def void(self, email: str) -> None:
        """Let no invitation of an e-mail make an account any more."""
        with self._taking:
            self._path(email).unlink(missing_ok=True)
            durable_files.sync_folder(self._folder)

    def take(self, answer: InvitationAnswer, enroll: Callable[[str, str], None]) -> None:
        """Make the account of an invitation (`enroll`: e-mail, password), and void the invitation.

        A crash between the two leaves an invitation that can be used again, by who has its code.

        Raises:
            Refused: if there is none with this code; the sentence does not say which of it is wrong.
        """
        with self._taking:
            path = self._path(answer.email)
            require(path.exists() and self._is_good(path.read_bytes(), answer), USED, error=Refused)
            enroll(answer.email, answer.password)
            path.unlink()
            durable_files.sync_folder(self._folder)

    def _is_good(self, kept: bytes, answer: InvitationAnswer) -> bool:
        offer: InvitationOffer = canonical.parse(InvitationOffer, kept, what="kept invitation")
        code_sha256 = canonical.sha256(answer.code.encode())
        return offer.expires_unix_s > time.time() and secrets.compare_digest(
            code_sha256, offer.code_sha256
        )

    def _forget_ended(self) -> None:
        for path in self._folder.iterdir():
            offer: InvitationOffer = canonical.parse(
                InvitationOffer, path.read_bytes(), what="kept invitation"
            )
            if offer.expires_unix_s <= time.time():
                path.unlink()

    def _path(self, email: str) -> Path:
        return self._folder / f"{canonical.sha256(email.encode())}.json"
