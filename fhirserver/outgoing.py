"""The one way out: GET from, or POST to, an address on the public internet that someone else has named.

https only, the standard port, every resolved address checked and the checked one connected to (the name stays in SNI and
Host), no redirects, no proxy of the environment, no credentials; bounded in time and size. Hosts inside the own network
are called only where the operator lists them (settings `outgoing`). Source: OWASP ASVS 5.0 1.3.6. Blocking: for worker
threads.
"""

from __future__ import annotations

import ipaddress
import re
import socket
import ssl
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import httpx

if TYPE_CHECKING:
    from fhirserver.settings import Settings

_HOST = re.compile(r"(?=.{1,253}$)([a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9])?\.)+[a-z][a-z0-9-]{0,61}[a-z0-9]")
_LOCAL = (".localhost", ".local", ".internal", ".home.arpa", ".lan", ".intranet")
_NOT_PUBLIC = tuple(
    map(
        ipaddress.ip_network,
        (
            "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12",
            "192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24",
            "203.0.113.0/24", "224.0.0.0/3",
        ),
    )
)  # fmt: skip
_GLOBAL_6 = ipaddress.ip_network("2000::/3")
_NOT_PUBLIC_6 = tuple(map(ipaddress.ip_network, ("2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20")))
_HTTPS = 443
_DEADLINE: ContextVar[float] = ContextVar("deadline")  # of the call under way, by time.monotonic
Resolve = Callable[[str, int], Sequence[str]]


class AddressRefused(Exception):
    """The address is not one that this server calls."""


class FetchFailed(Exception):
    """The address was called, and gave no usable answer; the text says why in general terms."""


@dataclass(frozen=True, slots=True)
class Fetched:
    """An answer of status 2xx. `headers`: by lower-case name."""

    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Target:
    """What an address names. `listed`: the operator has listed it, so that it may be inside the own network."""

    host: str
    port: int
    path: str
    listed: bool = False

    @property
    def name(self) -> str:
        """The value of the header Host."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _HTTPS else f"{host}:{self.port}"


def check_url(url: str, hosts: Collection[str] = ()) -> Target:
    """What an address names that may be called. Raises AddressRefused.

    `hosts`: those that may be inside the own network, as `host` or `host:port`. What a name of another one resolves to is
    checked at every call, by Outgoing.
    """
    if not re.fullmatch(r"[!-~]{1,2000}", url) or "\\" in url:
        raise AddressRefused("an https URL of printable ASCII")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise AddressRefused("a valid https URL") from None
    if parts.scheme != "https" or "@" in parts.netloc or "#" in url:
        raise AddressRefused("https, without user name and fragment")
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    target = Target((parts.hostname or "").lower(), port or _HTTPS, path)
    if target.name in hosts:
        return replace(target, listed=True)
    if port not in (None, _HTTPS):
        raise AddressRefused("the standard port of https")
    if not _HOST.fullmatch(target.host) or target.host.endswith(_LOCAL):
        raise AddressRefused("the name of a public host, not a number and not a local name")
    return target


def is_public(address: str) -> bool:
    """True for an address of the public internet; never for one that embeds or tunnels another."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return False
    if isinstance(parsed, ipaddress.IPv4Address):
        return not any(parsed in network for network in _NOT_PUBLIC)
    if parsed.scope_id is not None or parsed not in _GLOBAL_6:
        return False
    return not any(parsed in network for network in _NOT_PUBLIC_6)


def resolve(host: str, port: int) -> Sequence[str]:
    """The addresses of a name."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [str(entry[4][0]) for entry in found]


class _Bounded(ssl.SSLSocket):
    """A connection that reads until the deadline of its call: the client's own limit begins anew with every byte."""

    def recv(self, buflen: int = 1024, flags: int = 0) -> bytes:
        left = _DEADLINE.get() - time.monotonic()
        if left <= 0:
            raise TimeoutError
        self.settimeout(min(self.gettimeout() or left, left))
        return super().recv(buflen, flags)


@dataclass(frozen=True, slots=True)
class Outgoing:
    """Calls addresses. `seconds`: for all of a call. `most`: bytes of a body. `hosts`: as in check_url.

    `context`: TLS; None: the system's certificates. `resolve`: of names, another one for tests.
    """

    seconds: float = 10.0
    most: int = 2**20
    hosts: frozenset[str] = frozenset()
    context: ssl.SSLContext | None = None
    resolve: Resolve = resolve

    @classmethod
    def of(cls, settings: Settings) -> Outgoing:
        """What calls addresses that the settings name. Raises ValueError for certificates that cannot be read."""
        chosen, context = settings.outgoing, None
        if chosen.ca_file is not None:
            try:
                context = ssl.create_default_context()
                context.load_verify_locations(str(chosen.ca_file))
            except OSError as error:
                raise ValueError("outgoing.ca_file cannot be read as certificates") from error
        return cls(hosts=frozenset(host.lower() for host in chosen.hosts), context=context)

    def get(self, url: str, *, accept: str) -> Fetched:
        """The body of `url`. Raises AddressRefused, FetchFailed."""
        return self._send("GET", url, {"Accept": accept}, None)

    def post(self, url: str, body: bytes, headers: Mapping[str, str]) -> Fetched:
        """Hand `body` to `url`; what it answers. Raises AddressRefused, FetchFailed."""
        return self._send("POST", url, headers, body)

    def _send(self, method: str, url: str, headers: Mapping[str, str], body: bytes | None) -> Fetched:
        target = check_url(url, self.hosts)
        deadline = time.monotonic() + self.seconds
        try:
            addresses = self.resolve(target.host, target.port)
        except OSError:
            raise FetchFailed("the name cannot be resolved") from None
        if not addresses or not (target.listed or all(map(is_public, addresses))):
            raise AddressRefused("the name does not lead to a public address")
        try:
            return self._call(_Call(method, target, addresses[0], headers, body), deadline)
        except (httpx.HTTPError, ssl.SSLError, OSError):
            raise FetchFailed("the host does not answer as it should") from None

    def _call(self, call: _Call, deadline: float) -> Fetched:
        def left() -> float:
            seconds = deadline - time.monotonic()
            if seconds <= 0:
                raise FetchFailed("the answer took too long")
            return seconds

        _DEADLINE.set(deadline)
        context = self.context or ssl.create_default_context()
        context.sslsocket_class = _Bounded
        client = httpx.Client(verify=context, trust_env=False, timeout=left())
        own = {"Host": call.target.name, "Accept-Encoding": "identity", "Connection": "close"}
        streamed = client.stream(
            call.method,
            call.url,
            headers={**call.headers, **own},
            content=call.body,
            extensions={"sni_hostname": call.target.host},
        )
        with client, streamed as response:
            if not 200 <= response.status_code < 300:
                raise FetchFailed(f"the host answers {response.status_code}")
            body = bytearray()
            for chunk in response.iter_raw(8192):
                body += chunk
                if len(body) > self.most:
                    raise FetchFailed("the answer is too large")
                left()
            return Fetched(bytes(body), {name.lower(): value for name, value in response.headers.items()})


@dataclass(frozen=True, slots=True)
class _Call:
    """One call of a checked address."""

    method: str
    target: Target
    address: str
    headers: Mapping[str, str]
    body: bytes | None

    @property
    def url(self) -> str:
        """The URL with the checked address in place of the name."""
        literal = f"[{self.address}]" if ":" in self.address else self.address
        return f"https://{literal}:{self.target.port}{self.target.path}"
