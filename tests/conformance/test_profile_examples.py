"""R4's own profiles: their snapshots are made as published, and R4's examples conform to what they claim.

Source: npm hl7.fhir.r4.examples@4.0.1
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Any

import orjson
import pytest

from fhirserver.outcome import Unprocessable
from fhirserver.r4.snapshot import Snapshots
from fhirserver.validation import Validator
from fhirserver.validation.profiles import Profiles
from tests.conformance.test_validation_examples import BROKEN, files_by_type
from tests.kit.package import package_dir
from tests.unit.validation.profilekit import elements, terminology

Json = dict[str, Any]

IMPOSSIBLE = {
    "codesystem-history": "profile-cardinality",  # extension:revision.extension has max 0, then required slices
    "familymemberhistory-genetic": "profile-slicing",  # condition:Condition, without slicing on condition
}
"""Definitions that break R4's own rules for profiles -> why they are refused."""

DIFFERENT = {
    "bp": 32,  # R4's tool narrows component.value[x] itself where we make its slice valueQuantity: the same meaning
    "catalog": 2,  # a slice name on date, which does not repeat: a label there, no slice here
    "elementdefinition-de": 8,  # R4's tool unfolds two extension slices of unknown content
    "cholesterol": 1,  # R4's tool repeats the invariants of SimpleQuantity where it is used
    "hdlcholesterol": 1,
    "ldlcholesterol": 1,
    "provenance-relevant-history": 1,  # the differential binds another value set than the published snapshot
}
"""Profile -> in how many elements our snapshot differs from the published one, each looked at."""

UNCHECKED = {
    "example-composition": "slices by resolve().code and profiles that stand in another definition",
}

EXCEPTIONS = {
    "Bundle-valueset-expansions": "extension translation on expansion.contains; its context is string, code, markdown",
}
"""Examples with an error that their type alone has not."""


def published() -> Iterator[Json]:
    for file in files_by_type()["StructureDefinition"]:
        definition = orjson.loads(file.read_bytes())
        if definition.get("derivation") == "constraint":
            yield definition


@cache
def profiles() -> Profiles:
    return Profiles.of(elements=elements(), terminology=terminology())


@cache
def validator() -> Validator:
    return Validator(profiles=profiles())


def essence(element: Json) -> Json:
    """What of an element matters for validation, in one form."""
    found: Json = {
        name: value
        for name, value in element.items()
        if name in ("min", "max", "sliceName", "maxLength")
        or name.startswith(("fixed", "pattern", "minValue", "maxValue"))
    }
    if element.get("mustSupport"):
        found["mustSupport"] = True
    if "type" in element:
        found["type"] = sorted(map(type_essence, element["type"]))
    if "binding" in element:
        binding = element["binding"]
        found["binding"] = (binding["strength"], binding.get("valueSet", "").partition("|")[0])
    if "slicing" in element:
        slicing = element["slicing"]
        by = [(d["type"], d["path"]) for d in slicing.get("discriminator", ())]
        found["slicing"] = (slicing["rules"], slicing.get("ordered", False), by)
    keys = [rule["key"] for rule in element.get("constraint", ())]
    own = sorted(key for key in keys if key not in ("ele-1", "ext-1") and not key.startswith("dom-"))
    return found | ({"constraint": own} if own else {})


def type_essence(type_: Json) -> tuple[str, list[str], list[str]]:
    code = type_["code"]
    if code.startswith("http") or code in ("id", "uri", "string"):
        code = "text"  # ids and urls are declared as System.String in snapshots
    targets = sorted(type_.get("targetProfile", ()))
    if any(target.endswith("/Resource") for target in targets):
        targets = []
    return code, sorted(p.partition("|")[0] for p in type_.get("profile", ())), targets


def differences(definition: Json) -> int:
    ours = {e["id"]: essence(e) for e in snapshots().snapshot(definition["url"])}
    theirs = {e["id"]: essence(e) for e in definition["snapshot"]["element"]}
    return sum(ours.get(place) != theirs.get(place) for place in ours.keys() | theirs.keys())


@cache
def snapshots() -> Snapshots:
    return Snapshots(elements(), {definition["url"]: definition for definition in published()})


def test_the_snapshots_of_r4_are_made_as_published_but_for_those_listed() -> None:
    count, different, refused = 0, {}, {}
    for definition in published():
        if "snapshot" not in definition:
            continue
        count += 1
        try:
            number = differences(definition)
        except Unprocessable as error:
            refused[definition["id"]] = error.issues[0].code
        else:
            if number:
                different[definition["id"]] = number
    assert count == 439
    assert refused == IMPOSSIBLE
    assert different == DIFFERENT


def test_a_snapshot_that_differs_is_noticed() -> None:
    definition = next(d for d in published() if d["id"] == "bodyheight")
    definition["snapshot"]["element"][3]["max"] = "7"
    assert differences(definition) == 1


def test_every_profile_of_r4_is_checked_as_a_whole_but_for_those_listed() -> None:
    partly = set()
    for url in profiles().definitions:
        name = url.rpartition("/")[2]
        if name not in IMPOSSIBLE and profiles().notes(url):
            partly.add(name)
    assert partly == set(UNCHECKED)


@pytest.mark.parametrize("prefix", sorted(files_by_type()))
def test_the_examples_conform_to_what_they_claim_and_use_extensions_as_defined(prefix: str) -> None:
    for file in files_by_type()[prefix]:
        if file.stem in BROKEN:
            continue
        errors = [i for i in validator().validate(orjson.loads(file.read_bytes())) if i.severity == "error"]
        assert bool(errors) == (file.stem in EXCEPTIONS), (file.name, errors[:3])


def test_claims_were_checked_indeed() -> None:
    claims: dict[str, int] = {}
    for files in files_by_type().values():
        for file in files:
            for claim in orjson.loads(file.read_bytes()).get("meta", {}).get("profile", ()):
                if profiles().knows(claim):
                    claims[claim.rpartition("/")[2]] = claims.get(claim.rpartition("/")[2], 0) + 1
    assert claims == {
        "shareablecodesystem": 624,
        "shareablevalueset": 1306,
        "vitalsigns": 12,
        "cqf-questionnaire": 1,
    }
    vital = orjson.loads((package_dir() / "Observation-body-height.json").read_bytes())
    assert validator().validate(vital) == []
    del vital["category"]
    assert {issue.expression for issue in validator().validate(vital)} == {("Observation.category",)}
