"""Every example and definition of the R4 package is valid, but for those listed here, which break R4.

Source: npm hl7.fhir.r4.examples@4.0.1
"""

from __future__ import annotations

from collections import defaultdict
from functools import cache
from pathlib import Path
from typing import Any

import orjson
import pytest

from fhirserver.validation import Validator
from tests.kit.package import package_dir

GUIDE = {
    "ImplementationGuide.name": "min 1; the resource has none",
    "ImplementationGuide.status": "min 1; the resource has none",
    "ImplementationGuide.manifest.resource[11904].reference.reference": "an id has at most 64 characters; 67",
}
NO_BASE = {"SearchParameter.base": "min 1; an extension's parameter, without any base"}
NO_PARENT = {"StructureDefinition": "sdf-4: a logical model that is not abstract and has no baseDefinition"}
EMPTY = "txt-2: the div holds white space only"

BROKEN: dict[str, dict[str, str]] = {
    "ActivityDefinition-blood-tubes-supply": {"ActivityDefinition.text.div": EMPTY},
    "ActivityDefinition-heart-valve-replacement": {"ActivityDefinition.text.div": EMPTY},
    "Bundle-dataelements": {
        "Bundle": "bdl-7: fullUrl de-Quantity.value and others occur three times, unversioned"
    },
    "DeviceMetric-example": {"DeviceMetric.parent.reference": "targets: Device; it is a DeviceDefinition"},
    "DeviceUseStatement-example": {
        "DeviceUseStatement.reasonReference[0].reference": "targets have no Procedure; it is one"
    },
    "EventDefinition-example": {"EventDefinition.text.div": EMPTY},
    "ImplementationGuide-fhir": GUIDE,
    "ig-r4": GUIDE,
    "Media-1.2.840.11361907579238403408700.3.1.04.19970327150033": {
        "Media.text.div": "the picture is all there is, so it must be embedded; it is a link to a server"
    },
    "MedicationRequest-medrx0301": {
        "MedicationRequest.dispenseRequest.performer.reference": "targets: Organization; it is a Practitioner"
    },
    "Observation-clinical-gender": {
        "Observation.performer[0].reference": "targets have no Encounter; it is one"
    },
    "Questionnaire-zika-virus-exposure-assessment": {"Questionnaire.text.div": EMPTY},
    "Questionnaire-qs1": {"Questionnaire.item[0].item[*].linkId": "min 1; 32 items have none"},
    "SearchParameter-questionnaireresponse-extensions-QuestionnaireResponse-item-subject": {
        "SearchParameter.id": "an id has at most 64 characters; 67"
    },
    **{
        f"SearchParameter-{kind}-extensions-{name}-{code}": NO_BASE
        for kind, name in (("codesystem", "CodeSystem"), ("valueset", "ValueSet"))
        for code in ("author", "effective", "end", "keyword", "workflow")
    },
    **{f"StructureDefinition-{name}": NO_PARENT for name in ("Definition", "Event", "FiveWs", "Request")},
}
"""File -> expression -> what it breaks, each compared by hand with the StructureDefinition of its type."""


@cache
def validator() -> Validator:
    return Validator()


@cache
def files_by_type() -> dict[str, list[Path]]:
    found: dict[str, list[Path]] = defaultdict(list)
    for file in sorted(package_dir().glob("*.json")):
        if file.name != "package.json":
            found[file.name.partition("-")[0]].append(file)
    return found


def expressions(resource: Any) -> set[str]:
    return {expression for issue in validator().validate(resource) for expression in issue.expression}


def expected(file: Path) -> set[str]:
    if file.stem == "Questionnaire-qs1":
        items = list(without_link_id(orjson.loads(file.read_bytes())["item"], "Questionnaire"))
        assert len(items) == 32
        return set(items)
    return set(BROKEN.get(file.stem, ()))


def without_link_id(items: list[dict[str, Any]], path: str):  # type: ignore[no-untyped-def]
    for index, item in enumerate(items):
        here = f"{path}.item[{index}]"
        if "linkId" not in item:
            yield f"{here}.linkId"
        yield from without_link_id(item.get("item", []), here)


def test_the_package_is_complete_and_every_exception_is_one_of_its_files() -> None:
    names = {file.stem for files in files_by_type().values() for file in files}
    assert len(names) == 5306
    assert set(BROKEN) <= names


@pytest.mark.parametrize("prefix", sorted(files_by_type()))
def test_the_examples_are_valid_except_where_they_break_r4(prefix: str) -> None:
    for file in files_by_type()[prefix]:
        assert expressions(orjson.loads(file.read_bytes())) == expected(file), file.name


def test_a_broken_example_is_noticed() -> None:
    file = package_dir() / "Patient-example.json"
    resource = orjson.loads(file.read_bytes())
    assert expressions(resource) == set()
    assert expressions(resource | {"gender": "m"}) == {"Patient.gender"}
