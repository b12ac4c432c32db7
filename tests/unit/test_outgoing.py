"""The one way out. Rules: security.md 7 (G1-G6), smart.md S31. The host here is real TLS on loopback; only the look-up of
names is the test's own.
"""

from __future__ import annotations

import contextlib
import http.server
import ssl
import threading
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from fhirserver.access.issuers import Issuers
from fhirserver.access.vocabulary import DefinedVocabulary
from fhirserver.outgoing import AddressRefused, FetchFailed, Outgoing, check_url, is_public
from fhirserver.r4.definitions import Definitions
from fhirserver.settings import Issuer, Settings
from fhirserver.settings import Outgoing as Chosen
from tests.kit.tls import certificate, tls_host

HOST = "keys.example.com"
REFUSED = [
    "http://keys.example.com/", "https://127.0.0.1/", "https://[::1]/", "https://[::]/", "https://10.0.0.5/",
    "https://100.64.0.1/", "https://localhost/", "https://localhost./", "https://169.254.169.254/",
    "https://0x7f000001/", "https://2130706433/", "https://0177.0.0.1/", "https://127.1/",
    "https://[::ffff:169.254.169.254]/", "https://[64:ff9b::a9fe:a9fe]/", "https://[2002:7f00:1::]/",
    "https://good.example@127.0.0.1/", "https://good.example#@127.0.0.1/", "https://good.example\\@127.0.0.1/",
    "https://good.example/\t", "https://good.example/\r\nX: y", "https://g\u043eod.example/", "file:///etc/passwd",
    "gopher://good.example/", "ftp://good.example/", "unix:/run/x", "https://good.example:27017/",
    "https://good.example:80/", "https://user@good.example/", "https://good.example/#x", "https://metadata.google.internal/",
    "https://printer.local/", "https://intranet/", "https:///x", "", "https://[", "https://good.example:x/",
]  # fmt: skip


@pytest.mark.parametrize("url", REFUSED)
def test_addresses_that_are_not_public_are_refused_before_any_packet(url: str) -> None:
    with pytest.raises(AddressRefused):
        check_url(url)
    with pytest.raises(AddressRefused):
        check_url(url, {"other.example", "127.0.0.1:8443"})
    with pytest.raises(ValueError, match="jwks_url"):
        Issuers([Issuer(issuer="x", jwks_url=url)], DefinedVocabulary(Definitions.load()), "y", Outgoing())


def test_a_public_https_address_is_taken_apart() -> None:
    target = check_url("https://Keys.Example.com/jwks?v=1")
    assert (target.host, target.port, target.path, target.listed) == (HOST, 443, "/jwks?v=1", False)
    assert check_url("https://keys.example.com:443").path == "/"


@pytest.mark.parametrize(
    ("url", "hosts", "name"),
    [
        ("https://127.0.0.1:8443/x", {"127.0.0.1:8443"}, "127.0.0.1:8443"),
        ("https://alerts.internal/x", {"alerts.internal"}, "alerts.internal"),
        ("https://Alerts.internal:443/x", {"alerts.internal"}, "alerts.internal"),
        ("https://[::1]:9/", {"[::1]:9"}, "[::1]:9"),
        ("https://127.0.0.1:8444/x", {"127.0.0.1:8443"}, None),
        ("https://127.0.0.1/x", {"127.0.0.1:8443"}, None),
        ("http://127.0.0.1:8443/x", {"127.0.0.1:8443"}, None),
        ("https://u@127.0.0.1:8443/x", {"127.0.0.1:8443"}, None),
        ("https://127.1:8443/x", {"127.0.0.1:8443"}, None),
    ],
)
def test_a_host_of_the_own_network_is_called_where_exactly_it_is_listed(
    url: str, hosts: set[str], name: str | None
) -> None:
    if name is None:
        with pytest.raises(AddressRefused):
            check_url(url, hosts)
    else:
        assert (check_url(url, hosts).name, check_url(url, hosts).listed) == (name, True)


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


WAITED = threading.Event()  # never comes


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
        self.flush_headers()
        with contextlib.suppress(OSError):
            for number in range(40 if self.path == "/slow" else 0):
                self.wfile.write(b"x-%d: y\r\n" % number)
                WAITED.wait(0.05)
            if self.path == "/slow":
                Host.asked.append("slow to the end")
        self.send_header("cache-control", "max-age=7")
        self.end_headers()
        with contextlib.suppress(OSError):  # the caller hangs up on what is too large
            for _ in range(160 if self.path == "/large" else 1):
                self.wfile.write(b"x" * 65536 if self.path == "/large" else b'{"keys":[]}')

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        Host.asked.append(f"{self.headers['x-mark']} {self.headers.get('cookie')} {body.decode()}")
        self.send_response(204 if self.path == "/taken" else 500)
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        pass


@dataclass
class Called:
    """`out` calls the host, which answers to HOST at `root` on loopback, where the operator has listed it."""

    out: Outgoing
    root: str


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Called]:
    pem = certificate(tmp_path_factory.mktemp("tls"), HOST)
    with tls_host(pem, Host) as port:
        out = Outgoing(
            seconds=5,
            most=64 * 1024,
            hosts=frozenset((f"{HOST}:{port}", f"other.example.com:{port}")),
            context=ssl.create_default_context(cafile=str(pem)),
            resolve=lambda name, port: ["127.0.0.1"],
        )
        yield Called(out, f"https://{HOST}:{port}")


def test_the_checked_address_is_called_under_the_name(host: Called) -> None:
    fetched = host.out.get(f"{host.root}/jwks?a=1", accept="application/json")
    assert fetched.body == b'{"keys":[]}'
    assert fetched.headers["cache-control"] == "max-age=7"
    assert Host.asked[-1] == f"{host.root.removeprefix('https://')} /jwks?a=1"


def test_a_body_is_handed_over_and_only_a_success_counts(host: Called) -> None:
    assert host.out.post(f"{host.root}/taken", b"told", {"x-mark": "m"}).body == b""
    assert Host.asked[-1] == "m None told"
    with pytest.raises(FetchFailed, match="500"):
        host.out.post(f"{host.root}/failing", b"told", {"x-mark": "m"})


def test_another_name_than_the_certificate_says_is_refused(host: Called) -> None:
    with pytest.raises(FetchFailed):
        host.out.get(host.root.replace(HOST, "other.example.com"), accept="*/*")


def test_an_answer_that_comes_byte_by_byte_is_given_up_in_time(host: Called) -> None:
    assert host.out.get(f"{host.root}/slow", accept="*/*").body == b'{"keys":[]}'
    with pytest.raises(FetchFailed):
        replace(host.out, seconds=0.5).get(f"{host.root}/slow", accept="*/*")
    assert Host.asked.count("slow to the end") == 1  # that of the patient caller


def test_redirects_are_not_followed_and_large_answers_not_read(host: Called) -> None:
    for path in ("redirect", "large"):
        with pytest.raises(FetchFailed):
            host.out.get(f"{host.root}/{path}", accept="*/*")


@pytest.mark.parametrize(
    "addresses", [["127.0.0.1"], ["8.8.8.8", "10.0.0.1"], ["2606:4700::1111", "::1"], []]
)
def test_a_name_that_leads_to_any_private_address_is_not_called(host: Called, addresses: list[str]) -> None:
    asked = len(Host.asked)
    careful = replace(host.out, hosts=frozenset(), resolve=lambda name, port: addresses)
    with pytest.raises(AddressRefused):
        careful.get(f"https://{HOST}/jwks", accept="*/*")
    assert len(Host.asked) == asked


def test_a_name_is_looked_up_once_so_that_its_second_answer_counts_for_nothing(host: Called) -> None:
    answers = [["127.0.0.1"], ["10.0.0.1"]]
    once = replace(host.out, resolve=lambda name, port: answers.pop(0))
    assert once.get(f"{host.root}/jwks", accept="*/*").body
    assert answers == [["10.0.0.1"]]


def test_a_name_that_is_unknown_fails() -> None:
    def nobody(name: str, port: int) -> list[str]:
        raise OSError

    with pytest.raises(FetchFailed):
        Outgoing(resolve=nobody).get(f"https://{HOST}/", accept="*/*")


def test_the_settings_say_whom_to_call_and_whom_to_trust(host: Called, tmp_path: Path) -> None:
    made = Outgoing.of(Settings(outgoing=Chosen(hosts=["Alerts.Internal:8443"])))
    assert (made.hosts, made.context) == ({"alerts.internal:8443"}, None)
    with pytest.raises(ValueError, match="ca_file"):
        Outgoing.of(Settings(outgoing=Chosen(ca_file=tmp_path / "absent.pem")))
    bad = tmp_path / "bad.pem"
    bad.write_text("no certificate")
    with pytest.raises(ValueError, match="ca_file"):
        Outgoing.of(Settings(outgoing=Chosen(ca_file=bad)))
