"""Key sets of clients: kept as long as they say, asked again for an unknown key, never for long from a dead host."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from fhirserver.access.oauth.jwks import JwksCache, lifetime
from fhirserver.outgoing import Fetched, FetchFailed
from fhirserver.store.oauth import ClientRecord
from tests.kit.oauth import new_key

CLIENT = ClientRecord(
    "c", "C", "private_key_jwt", datetime.now(UTC), jwks_uri="https://keys.example.com/jwks"
)


class Host:
    """Answers with `keys`; None fails."""

    def __init__(self, keys: list[dict[str, Any]] | None, cache_control: str = "") -> None:
        self.keys, self.cache_control, self.calls = keys, cache_control, 0

    def get(self, url: str, *, accept: str) -> Fetched:
        self.calls += 1
        if self.keys is None:
            raise FetchFailed("no")
        return Fetched(json.dumps({"keys": self.keys}).encode(), {"cache-control": self.cache_control})


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def a_key() -> dict[str, Any]:
    return dict(new_key("ES384").as_dict(private=False))


def kept(host: Host) -> tuple[JwksCache, Clock]:
    clock = Clock()
    return JwksCache(host, clock), clock  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("said", "seconds"),
    [("", 300), ("max-age=60", 60), ("public, Max-Age=60", 60), ("no-store", 0), ("no-cache", 0), ("max-age=0", 0),
     ("s-maxage=60", 300), ("max-age=99999999", 86400), ("max-age=x", 300)],
)  # fmt: skip
def test_cache_control_says_how_long(said: str, seconds: float) -> None:
    assert lifetime(said) == seconds


def test_keys_are_fetched_again_when_their_time_is_over() -> None:
    key = a_key()
    host = Host([key], "max-age=60")
    cache, clock = kept(host)
    for _ in range(3):
        assert cache.keys(CLIENT, key["kid"]) == [key]
    assert host.calls == 1
    clock.now += 61
    assert cache.keys(CLIENT, key["kid"]) == [key]
    assert host.calls == 2


def test_an_unknown_key_is_asked_for_once_a_minute() -> None:
    old, new = a_key(), a_key()
    host = Host([old])
    cache, clock = kept(host)
    cache.keys(CLIENT, old["kid"])
    host.keys = [old, new]
    assert cache.keys(CLIENT, new["kid"]) == [old]
    clock.now += 60
    assert new in cache.keys(CLIENT, new["kid"])
    cache.keys(CLIENT, "unknown")
    assert host.calls == 2


def test_keys_that_must_not_be_kept_work_all_the_same() -> None:
    key = a_key()
    host = Host([key], "no-store")
    cache, _ = kept(host)
    assert cache.keys(CLIENT, key["kid"]) == cache.keys(CLIENT, key["kid"]) == [key]
    assert host.calls == 2


@pytest.mark.parametrize("keys", [None, [], [{"kty": "oct", "k": "AA", "kid": "a"}], [{"kid": "a"}], ["x"]])
def test_a_host_without_good_keys_gives_none_and_is_left_alone_for_a_while(keys: Any) -> None:
    host = Host(keys)
    cache, clock = kept(host)
    for _ in range(3):
        assert cache.keys(CLIENT, "a") == []
    assert host.calls == 1
    host.keys = [a_key()]
    clock.now += 11
    assert cache.keys(CLIENT, host.keys[0]["kid"]) == host.keys


def test_private_keys_at_the_address_are_not_taken() -> None:
    host = Host([dict(new_key("ES384").as_dict(private=True))])
    cache, _ = kept(host)
    assert cache.keys(CLIENT, host.keys[0]["kid"]) == []  # type: ignore[index]
