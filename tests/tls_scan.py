"""What a server speaks, as `openssl s_client` finds out: versions and ciphers, one connection each."""

import shutil
import subprocess

import pytest

needs_openssl = pytest.mark.skipif(
    shutil.which("openssl") is None, reason="openssl is not installed"
)
OLD = ("-tls1", "-tls1_1")
TLS_1_3 = (
    "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256", "TLS_AES_128_GCM_SHA256",
    "TLS_AES_128_CCM_SHA256", "TLS_AES_128_CCM_8_SHA256",
)  # fmt: skip
SOUND = {"TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256", "TLS_AES_128_GCM_SHA256"}


def said(port: int, *options: str) -> str:
    """All that `openssl s_client` says of one connection."""
    words = ["openssl", "s_client", "-connect", f"127.0.0.1:{port}", *options]
    done = subprocess.run(words, input="", capture_output=True, text=True, timeout=20, check=False)
    return done.stdout + done.stderr


def _agreed(port: int, *options: str) -> bool:
    told = said(port, *options)
    return "Cipher is (NONE)" not in told and "Cipher is " in told


def old_versions(port: int) -> list[str]:
    """Which of TLS 1.0 and 1.1 are spoken, with whatever cipher; OpenSSL itself must be told to."""
    return [old for old in OLD if _agreed(port, old, "-cipher", "ALL:@SECLEVEL=0")]


def ciphers_1_2(port: int) -> set[str]:
    """The ciphers that are agreed on over TLS 1.2, of all that this OpenSSL knows."""
    listed = subprocess.run(
        ["openssl", "ciphers", "-s", "-tls1_2", "ALL:COMPLEMENTOFALL:@SECLEVEL=0"],
        capture_output=True,
        text=True,
        check=True,
    )
    return {
        name
        for name in listed.stdout.strip().split(":")
        if not name.startswith("TLS_")
        and _agreed(port, "-tls1_2", "-cipher", f"{name}:@SECLEVEL=0")
    }


def ciphers_1_3(port: int) -> set[str]:
    """The ciphers that are agreed on over TLS 1.3."""
    return {name for name in TLS_1_3 if _agreed(port, "-tls1_3", "-ciphersuites", name)}
