"""The ledger's bytes: canonical events, entries, leaf hashes, MACs, against the published vectors (format v1)."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest

from fhirserver.audit.ledger import START, NotCanonical, canonical, entry, is_authentic, leaf, mac
from tests.unit.audit import vectors

BODY_0 = (
    '{"action":"R","agent":[{"requestor":true,"who":{"reference":"Practitioner/p1"}}],'
    '"entity":[{"what":{"reference":"Patient/0"}}],"id":"v0","outcome":"0",'
    '"recorded":"2026-03-01T12:00:00.000Z","resourceType":"AuditEvent",'
    '"source":{"observer":{"display":"José \\"Açaí\\""}},'
    '"type":{"code":"rest","system":"http://terminology.hl7.org/CodeSystem/audit-event-type"}}'
)


def test_the_canonical_bytes_are_those_of_the_vector() -> None:
    assert canonical(vectors.event(0)) == BODY_0.encode()
    assert len(BODY_0.encode()) == 359


def test_every_entry_of_the_vectors_has_the_published_hashes() -> None:
    last: dict[bytes, bytes] = {}
    for i, (w, s, digest, h) in enumerate(vectors.ENTRIES):
        body = canonical(vectors.event(i))
        made = entry(w, s, last.get(w, START), body)
        assert len(made) == 93
        assert hashlib.sha256(body).hexdigest() == digest
        assert leaf(made).hex() == h
        last[w] = leaf(made)


def test_the_first_two_entries_are_the_published_bytes() -> None:
    first = entry(vectors.A, 0, START, canonical(vectors.event(0)))
    assert first.hex() == "4648414c01" + vectors.A.hex() + "00" * 8 + "00" * 32 + vectors.ENTRIES[0][2]
    second = entry(vectors.A, 1, leaf(first), canonical(vectors.event(1)))
    assert second.hex().endswith("0000000000000001" + vectors.ENTRIES[0][3] + vectors.ENTRIES[1][2])


def test_the_ingest_mac_is_the_published_one_and_another_is_refused() -> None:
    tag = mac(vectors.INGEST_KEY, vectors.LEAVES[0])
    assert tag.hex() == vectors.MAC_0
    assert is_authentic(vectors.INGEST_KEY, vectors.LEAVES[0], tag)
    assert not is_authentic(b"\x43" * 32, vectors.LEAVES[0], tag)
    assert not is_authentic(vectors.INGEST_KEY, vectors.LEAVES[1], tag)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("\b\t\n\f\r\x01\x1f\x7f", rb'"\b\t\n\f\r\u0001\u001f' + b'\x7f"'),
        ("</a> € \U0001f600", '"</a> € \U0001f600"'.encode()),
        (2**53 - 1, b"9007199254740991"),
        (-(2**53) + 1, b"-9007199254740991"),
        ([None, True, False, {}, []], b"[null,true,false,{},[]]"),
        ({"b": 1, "a": 2, "B": 3, "": 4}, b'{"":4,"B":3,"a":2,"b":1}'),
    ],
)
def test_values_are_written_as_rfc_8785_says(value: Any, text: bytes) -> None:
    assert canonical({"x": value}) == b'{"x":' + text + b"}"


@pytest.mark.parametrize(
    "value",
    [
        1.0,
        1.5,
        float("nan"),
        2**53,
        -(2**53),
        "\ud800",
        {"é": 1},
        {1: 2},
        {"\udc00": 1},
        b"x",
        (1,),
        {"deep": [{"x": 0.1}]},
    ],
)
def test_values_outside_of_the_domain_are_refused(value: Any) -> None:
    with pytest.raises(NotCanonical):
        canonical({"x": value})


def test_an_event_that_is_no_object_or_too_deep_is_refused() -> None:
    deep: Any = "x"
    for _ in range(300):
        deep = [deep]
    for event in ([], "x", {"x": deep}):
        with pytest.raises(NotCanonical):
            canonical(event)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("w", "s", "p"),
    [
        (b"x" * 15, 0, START),
        (b"x" * 17, 0, START),
        (vectors.A, -1, START),
        (vectors.A, 2**64, START),
        (vectors.A, 0, b""),
    ],
)
def test_an_entry_of_wrong_sizes_is_refused(w: bytes, s: int, p: bytes) -> None:
    with pytest.raises(ValueError, match="entry takes"):
        entry(w, s, p, b"{}")
