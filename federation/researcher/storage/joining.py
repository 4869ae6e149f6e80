"""An invitation becomes a login: a password of one's own, sent to who invited.

The password follows from one's signing key and the invitation's code, so that who lost the answer joins
again with the same one.
"""

import hashlib
import time

import httpx
from nacl.signing import SigningKey

from federation.researcher.storage.credentials import HospitalLogin
from syft_code import canonical
from syft_code.errors import Refused, Unavailable, require
from syft_code.plans.invitations import PATH, Invitation, InvitationAnswer
from syft_code.runtime import tls

ANSWER_S = 30.0


def accept(invitation: Invitation, key: SigningKey) -> HospitalLogin:
    """Make the account of an invitation, for who has this signing key, and return the login.

    Accepted again with the same key it is the same login.

    Raises:
        Refused: if it ended or was used, or somebody else answers at its address.
        Unavailable: if nobody does.
    """
    require(
        invitation.expires_unix_s > time.time(),
        f"The invitation of {invitation.hospital} must be used before its end, which was "
        f"{time.strftime('%Y-%m-%d %H:%M UTC', time.gmtime(invitation.expires_unix_s))}: ask its data "
        "owner for another.",
        error=Refused,
    )
    login = HospitalLogin(
        hospital=invitation.hospital,
        url=invitation.url,
        email=invitation.email,
        password=_password(key, invitation),
        certificate=invitation.certificate,
    )
    answer = InvitationAnswer(email=login.email, code=invitation.code, password=login.password)
    try:
        said = httpx.post(
            f"{login.url}{PATH}",
            content=canonical.encode(answer),
            timeout=ANSWER_S,
            trust_env=False,
            verify=login.pinned() or True,
        )
    except httpx.HTTPError as problem:
        stranger = tls.why_untrusted(problem)
        if stranger:
            raise Refused(login.not_trusted(stranger)) from None
        raise Unavailable(
            f"The front desk of {login.hospital} does not answer at {login.url}: see that this machine "
            f"reaches it, and join again. ({type(problem).__name__})"
        ) from None
    if said.is_error:
        raise Refused(_sentence(said, login))
    return login


def _password(key: SigningKey, invitation: Invitation) -> str:
    """256 bits that nobody has who has not the key."""
    words = f"consilium invitation {invitation.hospital} {invitation.code}".encode()
    return hashlib.blake2b(words, key=key.encode(), digest_size=32).hexdigest()


def _sentence(said: httpx.Response, login: HospitalLogin) -> str:
    try:
        return f"{login.hospital} said no: {said.json()['sentence']}"
    except (ValueError, KeyError, TypeError):
        return (
            f"{login.hospital} said no without a sentence (HTTP status {said.status_code}): is "
            f"{login.url} its front desk?"
        )
