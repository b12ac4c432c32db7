"""The one way out: GET from an address on the public internet that someone else has named.

https only, the standard port, every resolved address checked and the checked one connected to (the name stays in SNI and
Host), no redirects, no proxy of the environment, no credentials; bounded in time and size. Source: OWASP ASVS 5.0 1.3.6.
Blocking: for worker threads.
"""

from __future__ import annotations

import ipaddress
import re
import socket
import ssl
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import httpx

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
Resolve = Callable[[str, int], Sequence[str]]


class AddressRefused(Exception):
    """The address is not one that this server calls."""


class FetchFailed(Exception):
    """The address was called, and gave no usable answer; the text says why in general terms."""


@dataclass(frozen=True, slots=True)
class Fetched:
    """An answer of status 200. `headers`: by lower-case name."""

    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)


def check_url(url: str) -> tuple[str, str]:
    """The host and the request target of an address that may be called. Raises AddressRefused.

    What the name resolves to is checked at every call, by Outgoing.
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
    if port not in (None, 443):
        raise AddressRefused("the standard port of https")
    host = (parts.hostname or "").lower()
    if not _HOST.fullmatch(host) or host.endswith(_LOCAL):
        raise AddressRefused("the name of a public host, not a number and not a local name")
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return host, target


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


@dataclass(frozen=True, slots=True)
class Outgoing:
    """Calls addresses. `seconds`: for all of a call. `most`: bytes of a body. The others are for tests."""

    seconds: float = 10.0
    most: int = 2**20
    resolve: Resolve = resolve
    allowed: Callable[[str], bool] = is_public
    port: int = 443
    context: ssl.SSLContext | None = None

    def get(self, url: str, *, accept: str) -> Fetched:
        """The body of `url`. Raises AddressRefused, FetchFailed."""
        host, target = check_url(url)
        deadline = time.monotonic() + self.seconds
        try:
            addresses = self.resolve(host, self.port)
        except OSError:
            raise FetchFailed("the name cannot be resolved") from None
        if not addresses or not all(map(self.allowed, addresses)):
            raise AddressRefused("the name does not lead to a public address")
        try:
            return self._call(addresses[0], host, target, accept, deadline)
        except (httpx.HTTPError, ssl.SSLError, OSError):
            raise FetchFailed("the host does not answer as it should") from None

    def _call(self, address: str, host: str, target: str, accept: str, deadline: float) -> Fetched:
        def left() -> float:
            seconds = deadline - time.monotonic()
            if seconds <= 0:
                raise FetchFailed("the answer took too long")
            return seconds

        literal = f"[{address}]" if ":" in address else address
        client = httpx.Client(
            verify=self.context or ssl.create_default_context(), trust_env=False, timeout=left()
        )
        headers = {"Host": host, "Accept": accept, "Accept-Encoding": "identity", "Connection": "close"}
        call = client.stream(
            "GET",
            f"https://{literal}:{self.port}{target}",
            headers=headers,
            extensions={"sni_hostname": host},
        )
        with client, call as response:
            if response.status_code != 200:
                raise FetchFailed(f"the host answers {response.status_code}")
            body = bytearray()
            for chunk in response.iter_raw(8192):
                body += chunk
                if len(body) > self.most:
                    raise FetchFailed("the answer is too large")
                left()
            return Fetched(bytes(body), {name.lower(): value for name, value in response.headers.items()})
