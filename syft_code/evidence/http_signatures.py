"""How an HTTP request beside PySyft proves whose PySyft account it comes from.

Both sides compute the same bytes; the account's Ed25519 key signs them. A signature is
good for one method, one path, one body and one minute; it stands in the head, so that whose a
body is, and how long, is known before any of it is read.
"""

import hashlib
import math
import time
from collections.abc import Mapping
from datetime import UTC, datetime

from nacl.exceptions import BadSignatureError
from nacl.signing import SigningKey, VerifyKey

from syft_code.errors import InvalidMessage, require

KEY_HEADER = "consilium-account"
TIME_HEADER = "consilium-time"
BODY_HEADER = "consilium-body-sha256"
SIGNATURE_HEADER = "consilium-signature"
MAX_AGE_S = 60.0


def headers(account_key: SigningKey, method: str, path: str, body: bytes = b"") -> dict[str, str]:
    """The headers that sign one request, now."""
    now, digest = f"{time.time():.3f}", hashlib.sha256(body).hexdigest()
    signed = _signed_bytes(method, path, now, f"{len(body)}", digest)
    return {
        KEY_HEADER: account_key.verify_key.encode().hex(),
        TIME_HEADER: now,
        BODY_HEADER: digest,
        SIGNATURE_HEADER: account_key.sign(signed).signature.hex(),
    }


def account_of(headers: Mapping[str, str], method: str, path: str) -> str:
    """The account key (hex) that signed a request; raise `InvalidMessage` if none did just now.

    Its body must have the announced length, and the hash in `BODY_HEADER`.
    """
    key, now = headers.get(KEY_HEADER, ""), headers.get(TIME_HEADER, "")
    length, digest = headers.get("content-length", "0"), headers.get(BODY_HEADER, "")
    try:
        VerifyKey(bytes.fromhex(key)).verify(
            _signed_bytes(method, path, now, length, digest),
            bytes.fromhex(headers.get(SIGNATURE_HEADER, "")),
        )
        late_s = time.time() - float(now)
        good = math.isfinite(late_s)
    except (BadSignatureError, ValueError, TypeError):
        good = False
    if not good:
        raise InvalidMessage(
            "A request must be signed by an account of this hospital: log in again."
        )
    require(
        abs(late_s) <= MAX_AGE_S,
        f"A request must be signed within the last minute. By this hospital's clock, "
        f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S} UTC, it was signed {_apart(late_s)}: have a time service set "
        "both clocks, and send it again.",
        error=InvalidMessage,
    )
    return key


def _apart(late_s: float) -> str:
    """How far off a clock is, in words.

    >>> _apart(312.4), _apart(-75.0)
    ('312 s ago', '75 s from now')
    """
    return f"{abs(late_s):.0f} s {'ago' if late_s > 0 else 'from now'}"


def _signed_bytes(method: str, path: str, now: str, length: str, digest: str) -> bytes:
    return f"consilium/request/2\n{method.upper()}\n{path}\n{now}\n{length}\n{digest}".encode()
