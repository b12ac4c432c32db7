"""Everything that the store gives out is cut to what the caller is shown. docs/explanation/access.md; threat C4."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

import pytest

from fhirserver.access.masks import MaskBook
from fhirserver.context import Agent, Permission, Version
from fhirserver.outcome import Unprocessable
from fhirserver.r4.definitions import Definitions
from fhirserver.r4.elements import Elements
from fhirserver.r4.jsontext import dump_json, parse_json
from fhirserver.search.mask import Mask, Masks
from fhirserver.store import Store
from fhirserver.store.masked import check_marks, check_shown, shown
from fhirserver.store.search import Searcher

BOOK = MaskBook(Definitions.load(), Elements.load())
DOCTOR = {"resourceType": "Practitioner", "id": "d", "telecom": [{"value": "x"}]}
PLACE = {
    "extension": [
        {"url": "http://hl7.org/fhir/StructureDefinition/data-absent-reason", "valueCode": "masked"}
    ]
}


def permission(of: Mapping[str, Mask] | None = None, *closed: str) -> Permission:
    return Permission(Agent("x"), "test", masks=Masks(of or {}, frozenset(closed), BOOK.nothing))


def version(patients: tuple[str, ...] | None = (), **resource: Any) -> Version:
    body = {"resourceType": "Patient", "id": "p"} | resource
    return Version(body["resourceType"], body["id"], 3, 0, dump_json(body), patients=patients)


@pytest.mark.parametrize("owner", [Store, Searcher])
def test_every_way_out_of_the_store_is_cut(owner: type) -> None:
    """A method that gives out versions cuts them, or stands in this list with its reason."""
    inner = {"version"}  # makes a Version of a document, for the searches
    given = {
        name: inspect.getsource(method)
        for name, method in inspect.getmembers(owner, inspect.isfunction)
        if not name.startswith("_") and name not in inner
        and any(part in str(inspect.signature(method).return_annotation) for part in ("Version", "Page"))
    }  # fmt: skip
    assert len(given) == (6 if owner is Store else 2)
    assert [name for name, source in given.items() if "shown(" not in source] == []


def test_a_version_of_which_nothing_is_hidden_is_given_out_as_it_is() -> None:
    plain, deleted = version(name=[{"family": "x"}]), Version("Patient", "p", 4, 0, None)
    mask = {"Patient": BOOK.mask(["administrative"], "Patient")}
    for each in (plain, deleted):
        assert shown(each, permission(mask)) is each
        assert shown(each, Permission(Agent("x"), "test")) is each
    quoting = version(photo=[{"title": 'a text with "contained": in it'}])
    assert shown(quoting, permission(None, "Practitioner")) is quoting


def test_a_version_is_cut_but_keeps_what_it_is() -> None:
    whole = version(photo=[{"title": "x"}])
    found = shown(whole, permission({"Patient": BOOK.mask(["administrative"], "Patient")}))
    assert (found.type, found.id, found.vid, found.etag) == ("Patient", "p", 3, whole.etag)
    assert "photo" not in parse_json(found.raw or b"")
    inside = version(contained=[DOCTOR])
    cut = shown(inside, permission(None, "Practitioner"))
    assert parse_json(cut.raw or b"")["contained"] == [{"resourceType": "Practitioner", "id": "d"}]


def test_what_is_hidden_from_a_writer_is_not_theirs_to_change() -> None:
    masked = permission({"Patient": BOOK.mask(["administrative"], "Patient")})
    with pytest.raises(Unprocessable):
        check_shown(version(photo=[{"title": "x"}]), masked)
    for fine in (None, version(), Version("Patient", "p", 4, 0, None)):
        check_shown(fine, masked)
    check_shown(version(photo=[{"title": "x"}]), Permission(Agent("x"), "test"))


@pytest.mark.parametrize(
    ("before", "after", "refused"),
    [({}, {"name": [PLACE]}, True), ({"name": [PLACE]}, {"name": [PLACE]}, False), ({}, {"name": [{"text": "masked"}]}, False),
     ({"name": [PLACE]}, {"name": [PLACE, PLACE]}, True), ({}, {"meta": {"tag": [{"code": "SUBSETTED"}]}}, True),
     ({"meta": {"tag": [{"code": "SUBSETTED"}]}}, {"meta": {"tag": [{"code": "SUBSETTED"}]}}, False),
     (None, {"name": [PLACE]}, False)],
)  # fmt: skip
def test_an_update_brings_no_masked_places_in(before: Any, after: Any, refused: bool) -> None:
    old = None if before is None else version(**before)
    body = {"resourceType": "Patient", "id": "p"} | after
    if not refused:
        check_marks(old, dump_json(body), body)
        return
    with pytest.raises(Unprocessable) as raised:
        check_marks(old, dump_json(body), body)
    assert raised.value.issues[0].code == "masked-copy"
