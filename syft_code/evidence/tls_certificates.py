"""Certificates that parties make for themselves, and how people compare them.

Who connects trusts exactly one of them: `syft_code.runtime.tls`.
"""

import datetime
import ipaddress
from collections.abc import Sequence

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from syft_code.errors import InvalidInput

VALID_DAYS = 3650


def new_key() -> bytes:
    """A new private key (EC P-256), as PEM."""
    return ec.generate_private_key(ec.SECP256R1()).private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


def self_signed(
    key: bytes, *, name: str, hosts: Sequence[str], valid_days: int = VALID_DAYS
) -> bytes:
    """A certificate (PEM) for a private key (PEM), in a party's name, for its hosts and this machine."""
    private = serialization.load_pem_private_key(key, password=None)
    if not isinstance(private, ec.EllipticCurvePrivateKey):
        raise InvalidInput("A self-signed certificate must be for a key of `new_key`'s kind.")
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.UTC)
    alternatives = [
        _general_name(text) for text in dict.fromkeys(("localhost", "127.0.0.1", *hosts))
    ]
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(private.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=valid_days))
        .add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .sign(private, hashes.SHA256())
    )
    return certificate.public_bytes(serialization.Encoding.PEM)


def made_for(certificate: bytes) -> tuple[str, list[str]]:
    """The common name and the hosts of a certificate (PEM).

    Raises:
        ValueError: if it is none, or has no such names.
    """
    read = x509.load_pem_x509_certificate(certificate)
    try:
        name = read.subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value
        names = read.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (IndexError, x509.ExtensionNotFound):
        raise ValueError("a certificate without names") from None
    addresses = names.get_values_for_type(x509.IPAddress)
    return str(name), [
        *names.get_values_for_type(x509.DNSName),
        *(str(address) for address in addresses),
    ]


def plain_host(host: str) -> str:
    """A host as a certificate gives it back: an IP address in its shortest form.

    >>> plain_host("::0001"), plain_host("north.example.org")
    ('::1', 'north.example.org')
    """
    try:
        return str(ipaddress.ip_address(host))
    except ValueError:
        return host


def fingerprint(certificate: str) -> str:
    """The SHA-256 of a certificate (PEM), as people compare it: 32 pairs of digits.

    Raises:
        InvalidInput: if it is no certificate.
    """
    try:
        read = x509.load_pem_x509_certificate(certificate.encode("ascii", "replace"))
    except ValueError:
        raise InvalidInput(
            "A party's file must hold a TLS certificate, and holds none: ask the party for it again."
        ) from None
    return read.fingerprint(hashes.SHA256()).hex(":").upper()


def ends(certificate: str) -> datetime.datetime:
    """When a certificate (PEM) stops being valid, in UTC."""
    return x509.load_pem_x509_certificate(certificate.encode("ascii")).not_valid_after_utc


def _general_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)
