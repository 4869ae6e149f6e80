"""Invitations that wait to be used: for each e-mail the hash of one code, and when it ends.

A used one is kept by the hash of its answer until it ends, so that who lost the desk's word asks again.
"""

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
    "one is not. If you have not used it, tell the data owner: somebody else may have. Ask for another."
)


@canonical.message
class KeptInvitation:
    """An offer, and the hash of the answer that used it; empty while nobody has."""

    offer: InvitationOffer
    answer_sha256: str = ""


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
            kept = self._forget_ended()
            require(
                kept < MAX_WAITING,
                f"At most {MAX_WAITING:,} invitations may wait to be used: let some be used, or end.",
                error=Refused,
            )
            self._keep(KeptInvitation(offer=invitation))

    def void(self, email: str) -> bool:
        """Let no invitation of an e-mail make an account any more; whether there was one."""
        with self._taking:
            path = self._path(email)
            waited = path.exists()
            path.unlink(missing_ok=True)
            durable_files.sync_folder(self._folder)
            return waited

    def take(self, answer: InvitationAnswer, add_account: Callable[[str, str], None]) -> None:
        """Make the account of an invitation (`add_account`: e-mail, password), and void the invitation.

        The same answer again changes nothing. A crash between the two leaves an invitation that makes no
        account any more, since there is one: the owner removes it and invites anew.

        Raises:
            Refused: if there is none with this code; the sentence does not say which of it is wrong.
        """
        with self._taking:
            path = self._path(answer.email)
            require(path.exists(), USED, error=Refused)
            kept = _read(path)
            said = canonical.sha256(canonical.encode(answer))
            require(
                kept.offer.expires_unix_s > time.time()
                and secrets.compare_digest(
                    canonical.sha256(answer.code.encode()), kept.offer.code_sha256
                )
                and kept.answer_sha256 in ("", said),
                USED,
                error=Refused,
            )
            if not kept.answer_sha256:
                add_account(answer.email, answer.password)
                self._keep(KeptInvitation(offer=kept.offer, answer_sha256=said))

    def _keep(self, invitation: KeptInvitation) -> None:
        durable_files.write_durably(
            self._path(invitation.offer.email), canonical.encode(invitation)
        )

    def _forget_ended(self) -> int:
        """Delete those that have ended; how many are left."""
        kept = 0
        for path in self._folder.glob("*.json"):
            if _read(path).offer.expires_unix_s <= time.time():
                path.unlink()
            else:
                kept += 1
        return kept

    def _path(self, email: str) -> Path:
        return self._folder / f"{canonical.sha256(email.encode())}.json"


def _read(path: Path) -> KeptInvitation:
    kept: KeptInvitation = canonical.parse(
        KeptInvitation, path.read_bytes(), what="kept invitation"
    )
    return kept
