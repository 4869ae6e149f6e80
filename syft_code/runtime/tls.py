"""TLS 1.3, and a trust in exactly one certificate.

    server: its key and certificate ─▶ `server_context`
    client: that certificate, from a file that a person handed over ─▶ `pinned`

Guarantee: a client with a pinned certificate speaks to who holds its key, whoever else a public
    authority may have vouched for; an expired one is refused.
Does not protect: where the file with the certificate was exchanged on its way; people compare its
    fingerprint by another one (`syft_code.evidence.tls_certificates`).
"""

import ssl
from pathlib import Path

from syft_code.errors import InvalidInput, require

BEGIN, _END = "-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----"


def server_context(certificate: Path, key: Path) -> ssl.SSLContext:
    """What a server shows: TLS 1.3 alone, whose ciphers are all sound.

    Raises:
        ssl.SSLError, OSError: if the two are not there, or not of each other.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.load_cert_chain(certificate, key)
    return context


def first(chain: str) -> str:
    """The first certificate (PEM) of a file, which is the party's own; authorities' may follow it."""
    return chain[: chain.index(_END) + len(_END)] + "\n" if _END in chain else chain


def pinned(certificate: str) -> ssl.SSLContext:
    """Trust in one certificate (PEM) and no other, whatever it is the name of.

    A host's name adds nothing to it: who holds the key is the party, at whatever address.

    Raises:
        InvalidInput: if it is no certificate, or more than one: an authority's would vouch for others.
    """
    require(
        certificate.count(BEGIN) == 1,
        "A party's TLS certificate must be one, without those of authorities, and this is "
        f"{certificate.count(BEGIN)}: ask the party for its file again.",
        error=InvalidInput,
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.check_hostname = False
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN  # also one that an authority signed
    try:
        context.load_verify_locations(cadata=certificate)
    except (ssl.SSLError, ValueError):
        raise InvalidInput(
            "A party's TLS certificate must be whole, and this one is not: ask the party for its file "
            "again."
        ) from None
    return context


def why_untrusted(problem: BaseException | None) -> str:
    """Why a certificate was not trusted, as OpenSSL says it; empty if it failed for another reason."""
    seen: set[int] = set()
    while problem is not None and id(problem) not in seen:
        seen.add(id(problem))
        if isinstance(problem, ssl.SSLCertVerificationError):
            return problem.verify_message
        inner = problem.args[0] if problem.args else None
        reason = getattr(inner, "reason", None)  # urllib3 keeps the cause there
        problem = (
            problem.__cause__
            or problem.__context__
            or (reason if isinstance(reason, BaseException) else None)
            or (inner if isinstance(inner, BaseException) else None)
        )
    return ""
