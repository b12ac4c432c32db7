"""Every example of the R4 package can be indexed, and spot checks against what the files say."""

import math
from pathlib import Path
from typing import Any

import orjson
import pytest

from fhirserver.r4.definitions import Definitions
from fhirserver.search.index import Indexer
from tests.kit.package import package_dir

# The Bundles that repeat the whole specification are beyond the largest body that the server takes.
LARGEST = 1_000_000
SMALLER = 5289


@pytest.fixture(scope="module")
def indexer() -> Indexer:
    return Indexer(Definitions.load(), "t1", "https://clinic.example/fhir")


def read(name: str) -> dict[str, Any]:
    resource: dict[str, Any] = orjson.loads((package_dir() / f"{name}.json").read_bytes())
    return resource


def test_every_example_is_indexed_in_the_agreed_layout(indexer: Indexer) -> None:
    definitions = Definitions.load()
    kinds = {
        t: {c: p.type for c, p in definitions.search_parameters(t).items()}
        for t in definitions.resource_types
    }
    count = 0
    for path in sorted(Path(package_dir()).glob("*-*.json")):
        if path.stat().st_size > LARGEST:
            continue
        resource = orjson.loads(path.read_bytes())
        found = indexer.index(resource["resourceType"], resource)
        for code, entries in found.ix.items():
            check(kinds[resource["resourceType"]].get(code), code, entries, resource.get("id", ""))
        count += 1
    assert count == SMALLER


def check(kind: str | None, code: str, entries: Any, id: str) -> None:
    if code.endswith(("~s", "~d")):
        assert isinstance(entries, str)
        assert entries.endswith("\x00" + id)
        return
    assert isinstance(entries, list), code
    for entry in entries:
        if kind in ("date", "number", "quantity"):
            low, high = (entry["lo"], entry["hi"]) if "lo" in entry else (entry["wl"], entry["wh"])
            assert low <= high
            assert not math.isnan(low)
            assert kind != "date" or low < high
            assert kind != "quantity" or entry["k"][0] == ""
        elif kind == "composite":
            assert {"a", "b"} <= set(entry) <= {"a", "b", "c"}
            assert all(entry.values())
        else:
            assert isinstance(entry, str), code
            assert entry, code


@pytest.mark.parametrize(
    ("name", "code", "entries"),
    [
        ("Patient-example", "family", ["chalmers", "windsor"]),
        ("Patient-example", "organization", ["t1/Organization/1"]),
        ("Patient-example", "birthdate", [{"lo": 157161600000000, "hi": 157248000000000}]),
        ("Observation-blood-pressure", "patient", ["t1/Patient/example"]),
        ("Observation-blood-pressure", "status", ["final", "|final"]),
        (
            "Encounter-example",
            "class",
            [
                "IMP",
                "http://terminology.hl7.org/CodeSystem/v3-ActCode|IMP",
                "http://terminology.hl7.org/CodeSystem/v3-ActCode|",
            ],
        ),
        ("ValueSet-administrative-gender", "url", ["http://hl7.org/fhir/ValueSet/administrative-gender"]),
        (
            "SearchParameter-individual-given",
            "base",
            ["Patient", "|Patient", "Practitioner", "|Practitioner"],
        ),
        ("Location-hl7", "name", ["health level seven international"]),
        ("Organization-hl7", "phone", None),
        ("Appointment-example", "actor", ["t1/Patient/example", "t1/Practitioner/example", "t1/Location/1"]),
        ("Appointment-example", "practitioner", ["t1/Practitioner/example"]),
        ("MolecularSequence-coord-0-base", "window-start", [{"lo": 0.0, "hi": 0.0}]),
    ],
)
def test_spot_checks(indexer: Indexer, name: str, code: str, entries: list[Any] | None) -> None:
    resource = read(name)
    assert indexer.index(resource["resourceType"], resource).ix.get(code) == entries
