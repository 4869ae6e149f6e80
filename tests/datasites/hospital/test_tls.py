"""A front desk behind TLS: one certificate is trusted, TLS 1.3 is spoken, and nothing else gets through."""

import socket
import ssl
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import httpx
import pytest
import requests
from fastapi import FastAPI
from nacl.signing import SigningKey

from datasites.desk.web import connections
from federation.researcher.storage import joining
from federation.researcher.storage.credentials import HospitalLogin
from syft_code.errors import InvalidInput, Refused
from syft_code.evidence import signed_calls, tls_certificates
from syft_code.plans.invitations import Invitation
from syft_code.runtime import tls
from tests import tls_scan
from tests.conftest import free_ports

pytestmark = pytest.mark.servers


@dataclass(frozen=True, kw_only=True)
class Party:
    """Who holds a key, with the certificate that it shows."""

    key: Path
    certificate: Path

    @property
    def pem(self) -> str:
        return self.certificate.read_text()


def party(folder: Path, name: str, *, valid_days: int = 100) -> Party:
    made = Party(key=folder / f"{name}.key", certificate=folder / f"{name}.crt")
    made.key.write_bytes(tls_certificates.new_key())
    made.certificate.write_bytes(
        tls_certificates.self_signed(
            made.key.read_bytes(), name=name, hosts=[], valid_days=valid_days
        )
    )
    return made


class Desk:
    """A server that shows a party's certificate, at a port of its own."""

    def __init__(self, shown: Party, app: FastAPI | None = None) -> None:
        if app is None:
            app = FastAPI()
            app.add_api_route("/", lambda: {"said": "hello"})
        self.port = free_ports(1)
        context = tls.server_context(shown.certificate, shown.key)
        self._server = connections.server(app, port=self.port, tls=context)
        self._thread = threading.Thread(target=self._server.run, daemon=True)
        self._thread.start()
        while not self._server.started:
            time.sleep(0.01)

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.port}"

    def end(self) -> None:
        self._server.should_exit = True
        self._thread.join(20)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("tls")


@pytest.fixture(scope="module")
def north(folder: Path) -> Party:
    return party(folder, "north")


@pytest.fixture(scope="module")
def desk(north: Party) -> Iterator[Desk]:
    started = Desk(north)
    yield started
    started.end()


def ask(desk: Desk, trusted: str) -> httpx.Response:
    return httpx.get(desk.url, verify=tls.pinned(trusted), trust_env=False)


def test_who_trusts_its_certificate_is_answered(desk: Desk, north: Party) -> None:
    assert ask(desk, north.pem).json() == {"said": "hello"}


@pytest.mark.parametrize("other", ["another key of the same name", "an authority's list"])
def test_another_certificate_is_not_trusted(
    desk: Desk, north: Party, folder: Path, other: str
) -> None:
    (folder / "other").mkdir(exist_ok=True)
    swapped = party(folder / "other", "north").pem
    with pytest.raises(httpx.ConnectError) as problem:
        if other.startswith("another"):
            ask(desk, swapped)
        else:
            httpx.get(desk.url, trust_env=False)
    assert tls.why_untrusted(problem.value)


def test_an_expired_certificate_is_refused_by_who_trusts_it(folder: Path) -> None:
    old = party(folder, "old", valid_days=0)
    time.sleep(1.1)
    server = Desk(old)
    try:
        with pytest.raises(httpx.ConnectError) as problem:
            ask(server, old.pem)
        assert "expired" in tls.why_untrusted(problem.value)
    finally:
        server.end()


@pytest.mark.parametrize(
    "version", [ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1, ssl.TLSVersion.TLSv1_2]
)
def test_older_versions_are_not_spoken(desk: Desk, version: ssl.TLSVersion) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.minimum_version, context.maximum_version = ssl.TLSVersion.TLSv1, version
    with (
        socket.create_connection(("127.0.0.1", desk.port), timeout=5) as line,
        pytest.raises((ssl.SSLError, OSError)),
    ):
        context.wrap_socket(line)


@pytest.mark.slow
@tls_scan.needs_openssl
def test_openssl_sees_tls_1_3_its_sound_ciphers_and_nothing_else(desk: Desk) -> None:
    assert "TLSv1.3" in tls_scan.said(desk.port)
    assert tls_scan.old_versions(desk.port) == []
    assert tls_scan.ciphers_1_2(desk.port) == set()
    assert tls_scan.ciphers_1_3(desk.port) <= tls_scan.SOUND
    for option in ("-no_comp", "-comp"):
        assert "Compression: NONE" in tls_scan.said(desk.port, option)


def test_plain_http_gets_no_answer(desk: Desk) -> None:
    with pytest.raises(httpx.HTTPError):
        httpx.get(f"http://127.0.0.1:{desk.port}", trust_env=False)


def test_pysyfts_connection_trusts_the_same_one_and_no_authority_beside_it(
    desk: Desk, north: Party, folder: Path
) -> None:
    def session(trusted: str) -> requests.Session:
        found = requests.Session()
        found.trust_env = False
        found.mount("https://", signed_calls.Pinned(tls.pinned(trusted)))
        return found

    assert session(north.pem).get(desk.url, timeout=5).json() == {"said": "hello"}
    context = tls.pinned(party(folder, "somebody").pem)
    before = len(context.get_ca_certs())
    pinned = requests.Session()
    pinned.mount("https://", signed_calls.Pinned(context))
    with pytest.raises(requests.exceptions.SSLError) as problem:
        pinned.get(desk.url, timeout=5)
    assert tls.why_untrusted(problem.value)
    assert len(context.get_ca_certs()) == before, "the authorities that requests knows were added"


def test_a_silent_stranger_is_cut_off_before_the_handshake(
    folder: Path, north: Party, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "HEAD_S", 0.5)
    server = Desk(north)
    try:
        with socket.create_connection(("127.0.0.1", server.port), timeout=10) as line:
            began = time.monotonic()
            assert line.recv(1) == b""
            assert time.monotonic() - began < 8
    finally:
        server.end()


def test_an_invitation_is_not_sent_to_a_man_in_the_middle(
    desk: Desk, folder: Path, north: Party
) -> None:
    invitation = Invitation(
        hospital="north",
        institution="North",
        url=desk.url,
        certificate=party(folder, "real-north").pem,
        verify_key="ab" * 32,
        email="ada@example.org",
        code="code",
        expires_unix_s=int(time.time()) + 100,
    )
    with pytest.raises(Refused, match="does not show the certificate of north's invitation"):
        joining.accept(invitation, SigningKey.generate())


def test_an_authority_beside_the_certificate_is_not_trusted(north: Party, folder: Path) -> None:
    chain = north.pem + party(folder, "authority").pem
    with pytest.raises(
        InvalidInput, match="must be one, without those of authorities, and this is 2"
    ):
        tls.pinned(chain)
    assert tls.first(chain) == north.pem


def test_no_certificate_is_told_as_such() -> None:
    login = HospitalLogin(
        hospital="north", url="https://h:1", email="a@b.c", password="p" * 20, certificate="none"
    )
    for broken in ("none", f"{tls.BEGIN}\nAAAA\n-----END CERTIFICATE-----\n"):
        with pytest.raises(InvalidInput, match="ask the party for its file"):
            replace(login, certificate=broken).pinned()
    with pytest.raises(InvalidInput, match="must hold a TLS certificate"):
        tls_certificates.fingerprint("none")
