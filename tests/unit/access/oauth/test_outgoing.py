"""The one way out. Rules: security.md 7 (G1-G6), smart.md S31. The host here is real TLS on loopback; only the look-up of
names and, where it says so, the rule of addresses are the test's own.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import http.server
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from fhirserver.access.outgoing import AddressRefused, FetchFailed, Outgoing, check_url, is_public

HOST = "keys.example.com"


@pytest.mark.parametrize(
    "url",
    [
        "http://keys.example.com/", "https://127.0.0.1/", "https://[::1]/", "https://[::]/", "https://10.0.0.5/",
        "https://100.64.0.1/", "https://localhost/", "https://localhost./", "https://169.254.169.254/",
        "https://0x7f000001/", "https://2130706433/", "https://0177.0.0.1/", "https://127.1/",
        "https://[::ffff:169.254.169.254]/", "https://[64:ff9b::a9fe:a9fe]/", "https://[2002:7f00:1::]/",
        "https://good.example@127.0.0.1/", "https://good.example#@127.0.0.1/", "https://good.example\\@127.0.0.1/",
        "https://good.example/\t", "https://good.example/\r\nX: y", "https://g\u043eod.example/", "file:///etc/passwd",
        "gopher://good.example/", "ftp://good.example/", "unix:/run/x", "https://good.example:27017/",
        "https://good.example:80/", "https://user@good.example/", "https://good.example/#x", "https://metadata.google.internal/",
        "https://printer.local/", "https://intranet/", "https:///x", "", "https://[", "https://good.example:x/",
    ],
)  # fmt: skip
def test_addresses_that_are_not_public_are_refused_before_any_packet(url: str) -> None:
    with pytest.raises(AddressRefused):
        check_url(url)


def test_a_public_https_address_is_taken_apart() -> None:
    assert check_url("https://Keys.Example.com/jwks?v=1") == (HOST, "/jwks?v=1")
    assert check_url("https://keys.example.com:443") == (HOST, "/")


@pytest.mark.parametrize(
    ("address", "public"),
    [
        ("8.8.8.8", True), ("2606:4700::1111", True), ("127.0.0.1", False), ("10.1.2.3", False), ("172.31.0.1", False),
        ("192.168.1.1", False), ("169.254.169.254", False), ("100.64.0.1", False), ("0.0.0.0", False),
        ("224.0.0.1", False), ("255.255.255.255", False), ("198.18.0.1", False), ("::1", False), ("::", False),
        ("fe80::1", False), ("fe80::1%eth0", False), ("fc00::1", False), ("::ffff:8.8.8.8", False),
        ("64:ff9b::808:808", False), ("2002:808:808::1", False), ("2001:0:1::1", False), ("2001:db8::1", False), ("x", False),
    ],
)  # fmt: skip
def test_only_addresses_of_the_public_internet_count(address: str, *, public: bool) -> None:
    assert is_public(address) is public


class Host(http.server.BaseHTTPRequestHandler):
    asked: list[str] = []  # noqa: RUF012 a record of the test

    def do_GET(self) -> None:
        Host.asked.append(f"{self.headers['host']} {self.path}")
        if self.path == "/redirect":
            self.send_response(302)
            self.send_header("location", "https://169.254.169.254/")
            self.end_headers()
            return
        self.send_response(200)
        self.send_header("cache-control", "max-age=7")
        self.end_headers()
        with contextlib.suppress(OSError):  # the caller hangs up on what is too large
            for _ in range(160 if self.path == "/large" else 1):
                self.wfile.write(b"x" * 65536 if self.path == "/large" else b'{"keys":[]}')

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Outgoing]:
    """An Outgoing to a host that answers to HOST on loopback, for which loopback counts as public."""
    folder = tmp_path_factory.mktemp("tls")
    pem = certificate(folder)
    serving = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    serving.load_cert_chain(pem)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Host)
    server.socket = serving.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield Outgoing(
        seconds=5,
        most=64 * 1024,
        resolve=lambda name, port: ["127.0.0.1"],
        allowed=lambda address: True,
        port=server.server_address[1],
        context=ssl.create_default_context(cafile=str(pem)),
    )
    server.shutdown()
    server.server_close()


def certificate(folder: Path) -> Path:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, HOST)])
    now = dt.datetime.now(dt.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(HOST)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    file = folder / "host.pem"
    file.write_bytes(private + made.public_bytes(serialization.Encoding.PEM))
    return file


def test_the_checked_address_is_called_under_the_name(host: Outgoing) -> None:
    fetched = host.get(f"https://{HOST}/jwks?a=1", accept="application/json")
    assert fetched.body == b'{"keys":[]}'
    assert fetched.headers["cache-control"] == "max-age=7"
    assert Host.asked[-1] == f"{HOST} /jwks?a=1"


def test_another_name_than_the_certificate_says_is_refused(host: Outgoing) -> None:
    with pytest.raises(FetchFailed):
        host.get("https://other.example.com/", accept="*/*")


def test_redirects_are_not_followed_and_large_answers_not_read(host: Outgoing) -> None:
    for path in ("redirect", "large"):
        with pytest.raises(FetchFailed):
            host.get(f"https://{HOST}/{path}", accept="*/*")


@pytest.mark.parametrize(
    "addresses", [["127.0.0.1"], ["8.8.8.8", "10.0.0.1"], ["2606:4700::1111", "::1"], []]
)
def test_a_name_that_leads_to_any_private_address_is_not_called(host: Outgoing, addresses: list[str]) -> None:
    asked = len(Host.asked)
    careful = Outgoing(port=host.port, context=host.context, resolve=lambda name, port: addresses)
    with pytest.raises(AddressRefused):
        careful.get(f"https://{HOST}/jwks", accept="*/*")
    assert len(Host.asked) == asked


def test_a_name_that_is_unknown_fails() -> None:
    def nobody(name: str, port: int) -> list[str]:
        raise OSError

    with pytest.raises(FetchFailed):
        Outgoing(resolve=nobody).get(f"https://{HOST}/", accept="*/*")
