"""Pages by signed cursors: complete and without doubles while others write. hl7.org/fhir/R4/http.html#paging."""

from __future__ import annotations

import threading
from urllib.parse import parse_qs, urlparse

import pytest

from tests.kit.builders import SYSTEM, a_patient
from tests.kit.client import Fhir, assert_outcome, entry, unique


def many(fhir: Fhir, tag: str, count: int) -> set[str]:
    """Patients with the tag; their `Patient/id`."""
    meta = {"tag": [{"system": SYSTEM, "code": tag}]}
    made = fhir.bundle(
        "batch", *(entry("POST", "Patient", a_patient(meta=meta, birthDate=f"19{n % 90 + 10}-01-01")) for n in range(count))
    ).json()  # fmt: skip
    return {e["response"]["location"].partition("/_history")[0] for e in made["entry"]}


@pytest.mark.verifies("http-paging-1")
@pytest.mark.parametrize("sort", ["", "&_sort=birthdate", "&_sort=-_lastUpdated"])
def test_all_pages_hold_everything_once_while_others_write(fhir: Fhir, sort: str) -> None:
    tag = unique("page")
    there = many(fhir, tag, 60)
    done = threading.Event()

    def write() -> None:
        with Fhir(str(fhir.base_url)) as other:
            while not done.is_set():
                many(other, tag, 5)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        found, url = list[str](), f"/Patient?_tag={tag}&_count=7{sort}"
        for _ in range(12):  # the writer adds pages without end at the end of this order
            body = fhir.get(url).json()
            found += [f"Patient/{e['resource']['id']}" for e in body["entry"]]
            url = next((link["url"] for link in body["link"] if link["relation"] == "next"), "")
            if not url:
                break
    finally:
        done.set()
        writer.join()
    while url:
        body = fhir.get(url).json()
        found += [f"Patient/{e['resource']['id']}" for e in body["entry"]]
        url = next((link["url"] for link in body["link"] if link["relation"] == "next"), "")
    assert len(found) == len(set(found))
    assert there <= set(found)


@pytest.mark.verifies("http-paging-1")
def test_a_page_knows_itself_and_the_next(fhir: Fhir) -> None:
    tag = unique("page")
    many(fhir, tag, 5)
    first = fhir.get(f"/Patient?_tag={tag}&_count=3&_sort=birthdate").json()
    links = {link["relation"]: link["url"] for link in first["link"]}
    assert set(links) == {"self", "next"}
    assert fhir.get(links["self"]).json() == first
    second = fhir.get(links["next"]).json()
    assert [link["relation"] for link in second["link"]] == ["self"]
    assert fhir.get(second["link"][0]["url"]).json() == second


def test_a_cursor_that_is_not_ours_is_refused(fhir: Fhir) -> None:
    tag = unique("page")
    many(fhir, tag, 4)
    body = fhir.get(f"/Patient?_tag={tag}&_count=2").json()
    following = next(link["url"] for link in body["link"] if link["relation"] == "next")
    assert fhir.get(following).status_code == 200  # the positive control
    cursor = parse_qs(urlparse(following).query)["_cursor"][0]
    flipped = cursor[:-2] + ("A" if cursor[-2] != "A" else "B") + cursor[-1]
    for url in (
        following.replace(cursor, flipped),
        following.replace(cursor, "x"),
        f"/Patient?_cursor={cursor}",  # of another search
        f"/Observation?_tag={tag}&_count=2&_cursor={cursor}",
    ):
        assert_outcome(fhir.get(url), 400, "invalid", "cursor-invalid")


@pytest.mark.verifies("search-count-1")
def test_the_page_size_is_bounded(fhir: Fhir) -> None:
    assert fhir.get("/Patient?_count=1000000").status_code == 200
    for value in ("-1", "abc", "1.5", ""):
        assert_outcome(fhir.get(f"/Patient?_count={value}"), 400, "invalid", "parameter-value")
    assert "entry" not in fhir.get("/Patient?_count=0").json()
