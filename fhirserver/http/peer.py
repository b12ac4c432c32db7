"""Who is at the other end: the peer's address, seen through proxies that are known. Source: RFC 7239 section 7.4."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping, Sequence
from typing import Any

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def networks(texts: Sequence[str]) -> tuple[Network, ...]:
    """The networks of a setting such as ["10.0.0.0/8", "::1"]. Raises ValueError."""
    return tuple(ipaddress.ip_network(text, strict=False) for text in texts)


def peer_address(
    scope: Mapping[str, Any], headers: Mapping[str, str], proxies: Sequence[Network]
) -> str | None:
    """The IP address of the caller: the nearest hop of X-Forwarded-For that is no known proxy, from the right.

    Without known proxies the header, which anybody can write, is not looked at. None where the transport has none.
    """
    client = scope.get("client")
    address: str | None = client[0] if client else None
    if not proxies or address is None or not _is_proxy(address, proxies):
        return address
    for hop in reversed(headers.get("x-forwarded-for", "").split(",")):
        text = hop.strip()
        if not _is_address(text):
            return address
        address = text
        if not _is_proxy(text, proxies):
            return address
    return address


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def _is_proxy(text: str, proxies: Sequence[Network]) -> bool:
    if not _is_address(text):
        return False
    address = ipaddress.ip_address(text)
    return any(address in network for network in proxies)
