"""How an HTTP request beside PySyft proves whose PySyft account it comes from.

Both sides compute the same bytes; the account's Ed25519 key signs them. A signature is
good for one method, one path and one minute.
"""

import time
from collections.abc import Mapping

from nacl.exceptions import BadSignatureError
from nacl.signing import SigningKey, VerifyKey

from syft_code.errors import InvalidMessage

KEY_HEADER = "consilium-account"
TIME_HEADER = "consilium-time"
SIGNATURE_HEADER = "consilium-signature"
MAX_AGE_S = 60.0


def headers(account_key: SigningKey, method: str, path: str) -> dict[str, str]:
    """The headers that sign one request, now."""
    now = f"{time.time():.3f}"
    return {
        KEY_HEADER: account_key.verify_key.encode().hex(),
        TIME_HEADER: now,
        SIGNATURE_HEADER: account_key.sign(_signed_bytes(method, path, now)).signature.hex(),
    }


def account_of(headers: Mapping[str, str], method: str, path: str) -> str:
    """The account key (hex) that signed a request; raise `InvalidMessage` if none did just now."""
    key, now = headers.get(KEY_HEADER, ""), headers.get(TIME_HEADER, "")
    try:
        VerifyKey(bytes.fromhex(key)).verify(
            _signed_bytes(method, path, now), bytes.fromhex(headers.get(SIGNATURE_HEADER, ""))
        )
        recent = abs(time.time() - float(now)) <= MAX_AGE_S
    except (BadSignatureError, ValueError, TypeError):
        recent = False
    if not recent:
        raise InvalidMessage(
            "A request must be signed by an account of this hospital within the last minute: "
            "log in again, and see that your clock is right."
        )
    return key


def _signed_bytes(method: str, path: str, now: str) -> bytes:
    return f"consilium/request/1\n{method.upper()}\n{path}\n{now}".encode()
