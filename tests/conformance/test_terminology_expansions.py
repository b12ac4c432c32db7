"""Our expansions of R4's value sets hold the codes that the package's own expansions hold.

Source: Bundle-valueset-expansions.json of the definitions package; hl7.org/fhir/R4/terminology-service.html. The
package's expansions are flat and leave abstract codes out, so that ours are asked for with excludeNotForUI.
"""

from __future__ import annotations

import asyncio
import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from fhirserver.outcome import OutcomeError
from fhirserver.r4.distil.terminology import FILES, distil
from fhirserver.r4.paths_types import TABLES
from fhirserver.terminology import Terminology
from fhirserver.terminology.expand import Options, expand
from tests.kit.package import package_dir

VS = "http://hl7.org/fhir/ValueSet"
TERM = "http://terminology.hl7.org/ValueSet"
OLDER = "the package expanded an older version of the code system, without codes that its CodeSystem has"
DIFFERENT = {
    f"{VS}/c80-doc-typecodes": "the package stopped at 1,000 codes",
    f"{VS}/referencerange-meaning": "the package shows two abstract codes here, which it leaves out elsewhere",
    f"{VS}/detectedissue-category": "the package leaves out the codes of a filter that its CodeSystem has below the code",
    f"{VS}/security-labels": "the package leaves out the codes of a system that it expands elsewhere",
    f"{VS}/observation-interpretation": OLDER,
    f"{VS}/patient-contactrelationship": OLDER,
    f"{VS}/relatedperson-relationshiptype": OLDER,
    f"{VS}/diagnostic-service-sections": OLDER,
    f"{TERM}/v3-ActCode": OLDER,
    f"{TERM}/v3-ActPharmacySupplyType": OLDER,
    f"{TERM}/v2-0916": OLDER,
    f"{TERM}/v2-0487": OLDER,
}
NOT_LISTED = {"code-system-unknown": 54, "expansion-not-possible": 2}
"""Value sets over code systems that the package does not hold (LOINC, SNOMED CT ...), or that are a grammar."""


def packaged() -> dict[str, set[tuple[str, str]]]:
    """The codes of each expansion in the package, by url."""
    bundle = json.loads((package_dir() / "Bundle-valueset-expansions.json").read_bytes())
    found: dict[str, set[tuple[str, str]]] = {}

    def walk(url: str, contains: list[dict[str, Any]]) -> None:
        for each in contains:
            if "code" in each:
                found[url].add((each["system"], each["code"]))
            walk(url, each.get("contains", []))

    for entry in bundle["entry"]:
        resource = entry["resource"]
        found[resource["url"]] = set()
        walk(resource["url"], resource["expansion"].get("contains", []))
    return found


async def expansions(urls: list[str]) -> tuple[dict[str, set[tuple[str, str]]], dict[str, int]]:
    """Our codes by url, and how often which refusal came."""
    terminology = Terminology.of_shipped()
    found, refused = {}, dict.fromkeys(NOT_LISTED, 0)
    for url in urls:
        value_set = await terminology.value_set(url)
        if value_set is None:
            refused["value-set-unknown"] = refused.get("value-set-unknown", 0) + 1
            continue
        try:
            expansion = await expand(terminology, value_set, Options(selectable=True))
        except OutcomeError as error:
            code = error.issues[0].code
            refused[code] = refused.get(code, 0) + 1
        else:
            found[url] = {(e.system, e.concept.code) for e in expansion.entries}
    return found, refused


def test_expansions_are_those_of_the_package() -> None:
    theirs = packaged()
    assert len(theirs) == 553
    ours, refused = asyncio.run(expansions(list(theirs)))
    # one expansion has a url that no ValueSet of the package has
    assert refused == NOT_LISTED | {"value-set-unknown": 1}
    different = {url for url in ours if ours[url] != theirs[url]}
    assert different == set(DIFFERENT)
    assert len(ours) == 496


@pytest.mark.parametrize("url", [f"{VS}/patient-contactrelationship", f"{TERM}/v3-ActPharmacySupplyType"])
def test_a_difference_lies_in_codes_that_the_package_lacks(url: str) -> None:
    ours, _ = asyncio.run(expansions([url]))
    assert ours[url] > packaged()[url]


def test_the_distilled_files_are_those_of_the_package(tmp_path: Path) -> None:
    distil(package_dir(), tmp_path)
    lines = {}
    for type, name in FILES.items():
        ours, theirs = (gzip.decompress((folder / name).read_bytes()) for folder in (TABLES, tmp_path))
        assert ours == theirs
        lines[type] = len(ours.splitlines())
    assert lines == {"CodeSystem": 1062, "ValueSet": 1316, "ConceptMap": 80}
