"""Order, pages, totals.

hl7.org/fhir/R4/search.html#sort, #count, #total, hl7.org/fhir/R4/http.html#paging.
"""

from __future__ import annotations

import base64
import random
from dataclasses import replace
from typing import Any

import pytest

from fhirserver.outcome import BadRequest
from fhirserver.search.expression import Equals, Not
from tests.kit.corpus import Corpus, refused
from tests.kit.trace import permitted

SIZE = 60


def patient(n: int) -> dict[str, Any]:
    dice = random.Random(n)
    found: dict[str, Any] = {
        "resourceType": "Patient",
        "id": f"p{n:03d}",
        "gender": dice.choice(["male", "female"]),
    }
    if n % 5:
        found["birthDate"] = f"19{dice.randint(10, 20)}-01-0{dice.randint(1, 3)}"
    if n % 7:
        found["name"] = [
            {"family": dice.choice("ABC"), "given": dice.sample("xyz", 2)},
            {"family": dice.choice("DEF")},
        ]
    if n % 3:
        found["managingOrganization"] = {"reference": f"Organization/{dice.randint(1, 4)}"}
    return found


@pytest.fixture(scope="module")
def corpus(make_corpus: Any) -> Corpus:
    made: Corpus = make_corpus(
        *(patient(n) for n in random.Random(1).sample(range(SIZE), SIZE)),
        *({"resourceType": "Practitioner", "id": f"p{n:03d}", "name": [{"family": "A"}]} for n in range(5)),
        *({"resourceType": "PractitionerRole", "id": f"r{n}"} for n in range(3)),
    )
    made.delete("Patient", "p010")
    return made


def expected(key: Any, descending: bool = False) -> list[str]:
    """Ids by key, those without one last; equal keys by id."""
    rows = [patient(n) for n in range(SIZE) if n != 10]
    there = sorted((r for r in rows if key(r) is not None), key=lambda r: r["id"], reverse=descending)
    there.sort(key=key, reverse=descending)
    missing = sorted((r for r in rows if key(r) is None), key=lambda r: r["id"])
    return [r["id"] for r in (*there, *missing)]


def families(row: dict[str, Any]) -> list[str]:
    return [name["family"] for name in row.get("name", ())]


@pytest.mark.parametrize(
    ("sort", "order"),
    [
        ("", expected(lambda r: r["id"])),
        ("&_sort=_id", expected(lambda r: r["id"])),
        ("&_sort=-_id", expected(lambda r: r["id"], True)),
        ("&_sort=birthdate", expected(lambda r: r.get("birthDate"))),
        ("&_sort=-birthdate", expected(lambda r: r.get("birthDate"), True)),
        ("&_sort=family", expected(lambda r: min(families(r), default=None))),
        ("&_sort=-family", expected(lambda r: max(families(r), default=None), True)),
        ("&_sort=organization", expected(lambda r: r.get("managingOrganization", {}).get("reference"))),
    ],
)
@pytest.mark.parametrize("count", [1, 7, 58, 59, 100])
def test_all_pages_together_hold_every_match_once_in_order(
    corpus: Corpus, sort: str, order: list[str], count: int
) -> None:
    assert corpus.walk(f"Patient?_count={count}{sort}") == order


def test_several_keys_sort_one_after_the_other(corpus: Corpus) -> None:
    rows = {r["id"]: r for r in (patient(n) for n in range(SIZE)) if r["id"] != "p010"}
    walked = corpus.walk("Patient?_count=9&_sort=gender,-birthdate,family")
    assert sorted(walked) == sorted(rows)

    def key(id: str) -> tuple[Any, ...]:
        row = rows[id]
        born = row.get("birthDate")
        shifted = tuple(-ord(c) for c in born) if born else ()
        family = min(families(row), default=None)
        return row["gender"], born is None, shifted, family is None, (family or "").lower(), id

    assert walked == sorted(rows, key=key)


def test_lastupdated_sorts_both_ways(corpus: Corpus) -> None:
    ascending = corpus.walk("Patient?_sort=_lastUpdated&_count=11")
    assert len(ascending) == SIZE - 1
    assert corpus.walk("Patient?_sort=-_lastUpdated&_count=13") == ascending[::-1]


@pytest.mark.parametrize(
    "sort",
    ["", "&_sort=family", "&_sort=-family", "&_sort=-_lastUpdated", "&_sort=family,given", "&_sort=-_id"],
)
@pytest.mark.parametrize("count", [1, 4, 100])
def test_types_are_walked_together(corpus: Corpus, sort: str, count: int) -> None:
    types = "Patient,Practitioner" if "family" in sort else "Patient,PractitionerRole,Practitioner"
    size = SIZE - 1 + 5 + (0 if "family" in sort else 3)
    walked = corpus.walk(f"?_type={types}&_count={count}{sort}")
    assert len(walked) == len(set(walked)) == size
    assert walked == corpus.walk(f"?_type={types}&_count=1000{sort}")


def test_pages_are_complete_while_others_write(make_corpus: Any) -> None:
    corpus: Corpus = make_corpus(
        *({"resourceType": "Basic", "id": f"b{n:03d}", "code": {"text": "x"}} for n in range(50))
    )

    def meanwhile(page: int) -> None:
        corpus.add({"resourceType": "Basic", "id": f"a{page:03d}", "code": {"text": "before"}})
        corpus.add({"resourceType": "Basic", "id": f"c{page:03d}", "code": {"text": "after"}})
        corpus.delete("Basic", f"b{page * 5 - 1:03d}")  # behind the reader

    walked = corpus.walk("Basic?_count=5", meanwhile=meanwhile)
    assert len(walked) == len(set(walked))
    assert [id for id in walked if id.startswith("b")] == [f"b{n:03d}" for n in range(50)]
    assert not [id for id in walked if id.startswith("a")]


@pytest.mark.parametrize(
    ("parameters", "matches", "total"),
    [
        ("", 20, None),
        ("&_count=59", 59, 59),
        ("&_count=100", 59, 59),
        ("&_count=5&_total=accurate", 5, 59),
        ("&_count=100&_total=none", 59, None),
        ("&_count=0", 0, 59),
        ("&_summary=count", 0, 59),
        ("&_summary=count&birthdate:missing=true", 0, 11),
        ("&_count=5000", 59, 59),
        ("&_id=zzz", 0, 0),
    ],
)
def test_totals(corpus: Corpus, parameters: str, matches: int, total: int | None) -> None:
    page = corpus.page(f"Patient?{parameters.lstrip('&')}")
    assert (len(page.matches), page.total) == (matches, total)
    assert (page.next is not None) == (matches not in (0, 59))


def test_an_estimate_is_a_number(corpus: Corpus) -> None:
    total = corpus.page("Patient?_total=estimate&_count=1").total
    assert total is not None
    assert abs(total - 59) <= 1  # it may count a deletion


def altered(cursor: str, at: int) -> str:
    data = bytearray(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
    data[at] ^= 1
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def test_a_cursor_that_is_not_ours_is_refused(corpus: Corpus) -> None:
    cursor = corpus.page("Patient?_count=5").next
    assert cursor is not None
    wrong = [altered(cursor, at) for at in (0, 15, 16, -1)]
    wrong += ["", "x", "!", "a" * 100_000, cursor[:-1], cursor + "A", "\u00e9"]
    for text in wrong[1:]:
        if text:
            with pytest.raises(BadRequest) as caught:
                corpus.page("Patient?_count=5", cursor=text)
            assert caught.value.issues[0].code == "cursor-invalid"
    with pytest.raises(BadRequest):
        corpus.page("Patient?_count=5&gender=male", cursor=cursor)
    with pytest.raises(BadRequest):
        corpus.page("Practitioner?_count=5", cursor=cursor)
    assert corpus.page("Patient?_count=6", cursor=cursor).matches[0].id == "p005"


def test_a_cursor_expires(corpus: Corpus) -> None:
    now = 1_800_000_000
    query = corpus.query("Patient?_count=5")
    cursor = corpus.run(corpus.searcher(clock=lambda: now).search(query, PERMISSION)).next
    later = corpus.searcher(clock=lambda: now + 86_401)
    with pytest.raises(BadRequest) as caught:
        corpus.run(later.search(replace(query, cursor=cursor), PERMISSION))
    assert caught.value.issues[0].code == "cursor-expired"


PERMISSION = permitted("test")


def test_a_cursor_carries_no_permission(corpus: Corpus) -> None:
    cursor = corpus.page("Patient?_count=5").next
    women = permitted("w", restrictions={"Patient": Equals("gender", ("female",))})
    none = permitted("n", denied=frozenset(("Patient",)))
    seen = corpus.page("Patient?_count=5", women, cursor)
    assert all(b'"female"' in (v.raw or b"") for v in seen.matches)
    assert corpus.page("Patient?_count=5", none, cursor).matches == []
    assert corpus.page("Patient?_summary=count", none).total == 0
    counted = corpus.page("Patient?_summary=count", women).total
    assert counted == corpus.page("Patient?_summary=count&gender=female").total
    others = permitted("m", restrictions={"Patient": Not(Equals("gender", ("female",)))})
    assert corpus.page("Patient?_total=accurate&_sort=-birthdate", others).total == SIZE - 1 - (counted or 0)


@pytest.mark.parametrize(
    ("name", "value", "code"),
    [
        ("_count", "-1", "parameter-value"),
        ("_count", "abc", "parameter-value"),
        ("_count", "", "parameter-value"),
        ("_count", "1e3", "parameter-value"),
        ("_count", "\u0663", "parameter-value"),
        ("_count", "1000000", ""),
        ("_count:exact", "5", "modifier-unknown"),
        ("_total", "some", "parameter-value"),
        ("_summary", "TRUE", "parameter-value"),
        ("_elements", "__proto__,$where", "parameter-value"),
        ("_elements", "name,Patient.birthDate", ""),
        ("_sort", "$where", "parameter-unknown"),
        ("_sort", "nonsense", "parameter-unknown"),
        ("_sort", "", "sort-empty"),
        ("_sort", ",".join(["family"] * 9), "sort-too-many"),
        ("_sort", "_content", "sort-unsupported"),
        ("_contained", "maybe", "parameter-value"),
        ("_type", "Patient", "type-twice"),
    ],
)
def test_a_page_is_refused(corpus: Corpus, name: str, value: str, code: str) -> None:
    assert refused(corpus, "Patient", (name, value)) == code
