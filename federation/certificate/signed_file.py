"""A certificate's file: JSON that anybody reads, whose last member is the researcher's signature.

    researcher   encode   content, key ─▶ bytes          anybody   decode   bytes ─▶ content

The signature is over the file's own bytes before it, so that no reader needs to write JSON as we do:
docs/protocol.md, section 12.
"""

import json

from nacl.exceptions import BadSignatureError
from nacl.signing import SigningKey, VerifyKey

from federation.certificate.verification import Certificate
from syft_code import canonical
from syft_code.errors import InvalidInput, require
from syft_code.plans.roster import HEX_KEY

DOMAIN = b"consilium/Certificate/1\n"
_BEFORE, _AFTER = b',\n  "researcher_signature": "', b'"\n}\n'
_SIGNATURE_DIGITS = 128
_CHANGED = (
    "The certificate must end with the signature, over every byte before it, of the researcher whom "
    "its plan names, and does not: it was changed since, cut, or never signed."
)


def encode(content: Certificate, key: SigningKey) -> bytes:
    """Researcher: countersign a certificate, with the key that its plan names.

    Raises:
        InvalidInput: if it is another key.
    """
    require(
        content["plan"]["researcher_key"] == key.verify_key.encode().hex(),
        "A certificate must be signed by the researcher whom its plan names: use the credentials "
        "with which the study was made.",
        error=InvalidInput,
    )
    body = _body(content)
    signature = key.sign(DOMAIN + body).signature.hex().encode()
    return b"".join((body, _BEFORE, signature, _AFTER))


def decode(data: bytes) -> Certificate:
    """Anybody: a certificate whose every byte is the one that the researcher signed.

    Raises:
        InvalidInput: in one sentence, if any is not.
    Does not protect: against a certificate that somebody made up with keys of their own
        (`verification.check` holds them against those that you know), or that its researcher did.
    """
    end = len(data) - len(_AFTER) - _SIGNATURE_DIGITS
    start = max(end - len(_BEFORE), 0)
    body, framing = data[:start], (data[start:end], data[end + _SIGNATURE_DIGITS :])
    signature = data[end : end + _SIGNATURE_DIGITS]
    try:
        content = canonical.loads(body + b"\n}")
        key = content["plan"]["researcher_key"]
        whole = framing == (_BEFORE, _AFTER) and signature == signature.lower()
        if not whole or not HEX_KEY.fullmatch(key) or _body(content) != body:
            raise ValueError
        VerifyKey(bytes.fromhex(key)).verify(DOMAIN + body, bytes.fromhex(signature.decode()))
    except (BadSignatureError, ValueError, TypeError, KeyError, RecursionError):
        raise InvalidInput(_CHANGED) from None
    found: Certificate = content
    return found


def _body(content: Certificate) -> bytes:
    """The file up to its signature; nothing can stand in it twice, or in a form of its own."""
    text = json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False)
    return text.removesuffix("\n}").encode()
