"""Profiles beside resources that keep to them, and the same resources with one thing wrong.

Source: hl7.org/fhir/R4/profiling.html, elementdefinition.html
"""

# ruff: noqa: E501 - a row of the table is a line
# fmt: off

from typing import Any

from tests.unit.validation.kit import GONE, Json
from tests.unit.validation.profilekit import CANONICAL, R4, ProfileCase, extension, profile, sliced

UCUM = "http://unitsofmeasure.org"
CATEGORY = "http://terminology.hl7.org/CodeSystem/observation-category"
LOINC = "http://loinc.org"
CPF, CNS, OTHER = "urn:cpf", "urn:cns", "urn:other"


def ids(*systems: str) -> Json:
    return {"identifier": [{"system": system, "value": "1"} for system in systems]}


def coded(system: str, code: str, **more: Any) -> Json:
    return {"coding": [{"system": system, "code": code}]} | more


def ext(name: str, **value: Any) -> Json:
    return {"url": CANONICAL + name, **value}


def rule(expression: str, severity: str = "error", key: str = "t-1") -> Json:
    return {"constraint": [{"key": key, "severity": severity, "human": "A rule of the test", "expression": expression}]}


def quantity(code: str, value: Any = 1) -> Json:
    return {"valueQuantity": {"value": value, "unit": code, "system": UCUM, "code": code}}


BY_SYSTEM = {
    "identifier": sliced("value", "system"),
    "identifier:cpf": {"min": 1, "max": "1"},
    "identifier:cpf.system": {"min": 1, "fixedUri": CPF},
    "identifier:cpf.value": {"min": 1, "maxLength": 11},
    "identifier:cns": {"max": "1"},
    "identifier:cns.system": {"min": 1, "fixedUri": CNS},
}
CLOSED = BY_SYSTEM | {"identifier": sliced("value", "system", "closed")}
ORDERED = BY_SYSTEM | {"identifier": sliced("value", "system", ordered=True)}
AT_END = BY_SYSTEM | {"identifier": sliced("value", "system", "openAtEnd")}
BY_PATTERN = {
    "category": sliced("pattern", "$this", "closed"),
    "category:lab": {"min": 1, "max": "1", "patternCodeableConcept": coded(CATEGORY, "laboratory")},
    "category:vital": {"patternCodeableConcept": coded(CATEGORY, "vital-signs")},
}
BY_CODE = {
    "component": {"slicing": {"discriminator": [{"type": "value", "path": "code.coding.code"}, {"type": "value", "path": "code.coding.system"}], "rules": "closed"}},
    "component:sys": {"min": 1, "max": "1"},
    "component:sys.code.coding": {"min": 1},
    "component:sys.code.coding.code": {"min": 1, "fixedCode": "8480-6"},
    "component:sys.code.coding.system": {"min": 1, "fixedUri": LOINC},
    "component:sys.value[x]": {"min": 1, "type": [{"code": "Quantity"}]},
    "component:dia": {"max": "1"},
    "component:dia.code": {"patternCodeableConcept": coded(LOINC, "8462-4")},
}
BY_TYPE = {
    "value[x]": sliced("type", "$this"),
    "value[x]:valueQuantity": {"type": [{"code": "Quantity"}]},
    "value[x]:valueQuantity.unit": {"min": 1},
    "value[x]:valueString": {"type": [{"code": "string"}], "maxLength": 5},
}
BY_TARGET = {
    "performer": sliced("type", "resolve()", "closed"),
    "performer:doctor": {"min": 1, "max": "1", "type": [{"code": "Reference", "targetProfile": [R4 + "Practitioner"]}]},
    "performer:unit": {"max": "1", "type": [{"code": "Reference", "targetProfile": [R4 + "Organization"]}]},
}
BY_EXISTENCE = {
    "telecom": sliced("exists", "period", "closed"),
    "telecom:past": {"max": "1"},
    "telecom:past.period": {"min": 1},
    "telecom:now": {"max": "1"},
    "telecom:now.period": {"max": "0"},
}
BY_ENTRY = {
    "entry": sliced("type", "resource", "closed"),
    "entry:patient": {"min": 1, "max": "1"},
    "entry:patient.resource": {"min": 1, "type": [{"code": "Patient", "profile": [CANONICAL + "named"]}]},
    "entry:other": {},
    "entry:other.resource": {"type": [{"code": "Basic"}]},
}
BY_PROFILE = {
    "entry": sliced("profile", "resource"),
    "entry:named": {"min": 1},
    "entry:named.resource": {"type": [{"code": "Patient", "profile": [CANONICAL + "named"]}]},
}
RESLICED = {
    "identifier": sliced("value", "system"),
    "identifier:cpf": {"max": "2", "slicing": {"discriminator": [{"type": "value", "path": "use"}], "rules": "closed"}},
    "identifier:cpf.system": {"fixedUri": CPF},
    "identifier:cpf/official": {"max": "1", "min": 1},
    "identifier:cpf/official.use": {"fixedCode": "official"},
    "identifier:cpf/old": {"max": "1"},
    "identifier:cpf/old.use": {"fixedCode": "old"},
}
DEFAULTED = {
    "identifier": sliced("value", "system", "closed"),
    "identifier:cpf": {"max": "1"},
    "identifier:cpf.system": {"fixedUri": CPF},
    "identifier:@default": {},
    "identifier:@default.assigner": {"min": 1},
}
EXTENDED = {"extension:color": {"min": 1, "max": "1", "type": [{"code": "Extension", "profile": [CANONICAL + "color"]}]}}
NAMED = profile("named", "Patient", {"name": {"min": 1}})
CPF_TYPE = profile("cpf-identifier", "Identifier", {"system": {"min": 1, "fixedUri": CPF}, "value": {"min": 1, **rule("matches('^[0-9]{11}$')", key="cpf-1")}})
COMPLEX = profile("visit", "Extension", {
    "extension": sliced("value", "url", "closed"),
    "extension:when": {"min": 1, "max": "1"}, "extension:when.url": {"fixedUri": "when"}, "extension:when.value[x]": {"min": 1, "type": [{"code": "date"}]},
    "extension:where": {"max": "1"}, "extension:where.url": {"fixedUri": "where"}, "extension:where.value[x]": {"min": 1, "type": [{"code": "Reference", "targetProfile": [R4 + "Location"]}]},
    "url": {"fixedUri": CANONICAL + "visit"}, "value[x]": {"max": "0"},
}, context=[{"type": "element", "expression": "Patient"}])
DEFINITIONS = [
    NAMED, CPF_TYPE, COMPLEX,
    extension("color", "string"),
    extension("nickname", "string", "HumanName"),
    extension("weekday", "code", "Patient.birthDate"),
    extension("anywhere", "boolean", "Element"),
    extension("not-really", "boolean", "Patient", isModifier=True),
    extension("official", "string", "Patient.name.where(use = 'official')", "fhirpath"),
    extension("known-day", "string", "Patient.birthDate", "fhirpath"),
    extension("first-line", "string", "descendants().ofType(Address).line.first()", "fhirpath"),
    extension("adult", "string", "Patient.where(birthDate < @2000-01-01)", "fhirpath"),
    extension("nested", "string", "Patient.extension.where(url = 'urn:paint')", "fhirpath"),
    extension("odd", "string", "Patient.where(name.family.toInteger() + 'x' > 1)", "fhirpath"),
    profile("shade", "Extension", {"extension": {"max": "0"}, "url": {"fixedUri": CANONICAL + "shade"}, "value[x]": {"min": 1, "type": [{"code": "string"}]}}, context=[{"type": "extension", "expression": "urn:paint"}]),
]
"""What the cases refer to."""
GENDER = R4.replace("StructureDefinition", "ValueSet") + "administrative-gender"
CATEGORIES = GENDER.replace("administrative-gender", "observation-category")

CASES = [
    # cardinality
    ProfileCase("required by the profile", "Patient", {"birthDate": {"min": 1}}, {"birthDate": "2020"}, {}, "required", "missing-element", "Patient.birthDate"),
    ProfileCase("required, and only its companion", "Patient", {"birthDate": {"min": 1}}, {"_birthDate": {"extension": [{"url": "urn:x", "valueString": "why"}]}}, {}, "required", "missing-element", "Patient.birthDate"),
    ProfileCase("required in a nested element", "Patient", {"name.family": {"min": 1}}, {"name.0.family": "A"}, {"name.0.family": GONE}, "required", "missing-element", "Patient.name[0].family"),
    ProfileCase("required in a backbone element", "Patient", {"contact.name": {"min": 1}}, {"contact": [{"name": {"text": "x"}}]}, {"contact": [{"organization": {"display": "x"}}]}, "required", "missing-element", "Patient.contact[0].name"),
    ProfileCase("nested, without its parent", "Patient", {"contact.name": {"min": 1}}, {}, {"contact": [{"organization": {"display": "x"}}, {"name": {"text": "x"}}]}, "required", "missing-element", "Patient.contact[0].name"),
    ProfileCase("at least two", "Patient", {"name": {"min": 2}}, {"name": [{"text": "a"}, {"text": "b"}]}, {}, "required", "too-few-elements", "Patient.name"),
    ProfileCase("at most one", "Patient", {"name": {"max": "1"}}, {}, {"name": [{"text": "a"}, {"text": "b"}]}, "structure", "too-many-elements", "Patient.name"),
    ProfileCase("at most two of a nested one", "Patient", {"name.given": {"max": "2"}}, {}, {"name.0.given": ["a", "b", "c"]}, "structure", "too-many-elements", "Patient.name[0].given"),
    ProfileCase("not allowed", "Patient", {"photo": {"max": "0"}}, {}, {"photo": [{"title": "x"}]}, "structure", "element-not-allowed", "Patient.photo"),
    ProfileCase("not allowed, by its companion", "Patient", {"gender": {"max": "0"}}, {}, {"_gender": {"extension": [{"url": "urn:x", "valueString": "why"}]}}, "structure", "element-not-allowed", "Patient.gender"),
    ProfileCase("required choice", "Patient", {"deceased[x]": {"min": 1}}, {"deceasedBoolean": False}, {}, "required", "missing-element", "Patient.deceased"),
    ProfileCase("choice not allowed", "Patient", {"deceased[x]": {"max": "0"}}, {}, {"deceasedDateTime": "2020"}, "structure", "element-not-allowed", "Patient.deceased"),
    ProfileCase("required by the root of a contact's name", "Patient", {"contact.name.text": {"min": 1}}, {"contact": [{"name": {"text": "x"}}]}, {"contact": [{"name": {"family": "x"}}]}, "required", "missing-element", "Patient.contact[0].name.text"),
    # types
    ProfileCase("choice narrowed to one type", "Observation", {"value[x]": {"type": [{"code": "Quantity"}]}}, quantity("kg"), {"valueQuantity": GONE, "valueString": "x"}, "structure", "type-not-allowed", "Observation.value"),
    ProfileCase("choice narrowed to two types", "Observation", {"value[x]": {"type": [{"code": "Quantity"}, {"code": "string"}]}}, {"valueQuantity": GONE, "valueString": "x"}, {"valueQuantity": GONE, "valueBoolean": True}, "structure", "type-not-allowed", "Observation.value"),
    ProfileCase("choice named by its type", "Observation", {"valueQuantity": {}, "valueQuantity.code": {"min": 1}}, quantity("kg"), {"valueQuantity.code": GONE}, "required", "missing-element", "Observation.value.code"),
    ProfileCase("another type than the named one", "Observation", {"valueQuantity": {}}, {}, {"valueQuantity": GONE, "valueString": "x"}, "structure", "type-not-allowed", "Observation.value"),
    ProfileCase("choice as a slice by type", "Observation", BY_TYPE, {}, {"valueQuantity.unit": GONE}, "required", "missing-element", "Observation.value.unit"),
    ProfileCase("the other slice by type", "Observation", BY_TYPE, {"valueQuantity": GONE, "valueString": "12345"}, {"valueQuantity": GONE, "valueString": "123456"}, "too-long", "max-length", "Observation.value"),
    ProfileCase("required slice of a choice", "Observation", BY_TYPE | {"value[x]:valueQuantity": {"min": 1, "type": [{"code": "Quantity"}]}}, {}, {"valueQuantity": GONE, "valueString": "1"}, "required", "slice-missing", "Observation.value"),
    ProfileCase("forbidden slice of a choice", "Observation", {"value[x]": sliced("type", "$this"), "value[x]:valueString": {"max": "0", "type": [{"code": "string"}]}}, {}, {"valueQuantity": GONE, "valueString": "1"}, "structure", "type-not-allowed", "Observation.value"),
    ProfileCase("resource narrowed to one type", "Bundle", {"entry.resource": {"type": [{"code": "Basic"}]}}, {}, {"entry.0.resource": {"resourceType": "Patient"}}, "structure", "wrong-resource-type", "Bundle.entry[0].resource"),
    ProfileCase("contained narrowed to one type", "Patient", {"contained": {"type": [{"code": "Organization"}]}}, {"contained": [{"resourceType": "Organization", "id": "o", "name": "x"}], "managingOrganization": {"reference": "#o"}}, {"contained": [{"resourceType": "Practitioner", "id": "o"}], "generalPractitioner": [{"reference": "#o"}]}, "structure", "wrong-resource-type", "Patient.contained[0]"),
    # fixed, pattern, bounds, length
    ProfileCase("fixed code", "Patient", {"gender": {"fixedCode": "female"}}, {"gender": "female"}, {"gender": "male"}, "value", "fixed-value", "Patient.gender"),
    ProfileCase("fixed boolean", "Patient", {"active": {"fixedBoolean": True}}, {"active": True}, {"active": False}, "value", "fixed-value", "Patient.active"),
    ProfileCase("fixed decimal", "Observation", {"valueQuantity": {}, "valueQuantity.value": {"fixedDecimal": 70}}, {"valueQuantity.value": 70.0}, {"valueQuantity.value": 71}, "value", "fixed-value", "Observation.value.value"),
    ProfileCase("fixed uri in a data type", "Patient", {"identifier.system": {"fixedUri": CPF}}, ids(CPF), ids(CNS), "value", "fixed-value", "Patient.identifier[0].system"),
    ProfileCase("fixed concept", "Patient", {"maritalStatus": {"fixedCodeableConcept": {"text": "a"}}}, {"maritalStatus": {"text": "a"}}, {"maritalStatus": {"text": "a", "id": "b"}}, "value", "fixed-value", "Patient.maritalStatus"),
    ProfileCase("fixed value of a choice", "Patient", {"deceased[x]": {"type": [{"code": "boolean"}], "fixedBoolean": False}}, {"deceasedBoolean": False}, {"deceasedBoolean": True}, "value", "fixed-value", "Patient.deceased"),
    ProfileCase("fixed value in a list", "Patient", {"name.given": {"fixedString": "Ana"}}, {"name.0.given": ["Ana"]}, {"name.0.given": ["Ana", "Bia"]}, "value", "fixed-value", "Patient.name[0].given[1]"),
    ProfileCase("pattern of a concept", "Observation", {"code": {"patternCodeableConcept": coded(LOINC, "29463-7")}}, {"code.text": "x"}, {"code": coded(LOINC, "8302-2")}, "value", "pattern-value", "Observation.code"),
    ProfileCase("pattern of one coding among others", "Observation", {"code": {"patternCodeableConcept": coded(LOINC, "29463-7")}}, {"code": {"coding": [{"system": "urn:x", "code": "y"}, {"system": LOINC, "code": "29463-7", "display": "x"}]}}, {"code": {"coding": [{"system": "urn:x", "code": "29463-7"}, {"system": LOINC, "code": "y"}]}}, "value", "pattern-value", "Observation.code"),
    ProfileCase("pattern of a string", "Patient", {"language": {"patternCode": "pt-BR"}}, {"language": "pt-BR"}, {"language": "pt"}, "value", "pattern-value", "Patient.language"),
    ProfileCase("pattern of a quantity", "Observation", {"valueQuantity": {"patternQuantity": {"system": UCUM, "code": "kg"}}}, quantity("kg", 3), quantity("g"), "value", "pattern-value", "Observation.value"),
    ProfileCase("pattern of an identifier in a list", "Patient", {"identifier": {"patternIdentifier": {"system": CPF}}}, ids(CPF, CPF), ids(CPF, CNS), "value", "pattern-value", "Patient.identifier[1]"),
    ProfileCase("least integer", "Patient", {"multipleBirth[x]": {"type": [{"code": "integer"}], "minValueInteger": 1}}, {"multipleBirthInteger": 1}, {"multipleBirthInteger": 0}, "value", "min-value", "Patient.multipleBirth"),
    ProfileCase("greatest integer", "Patient", {"multipleBirth[x]": {"type": [{"code": "integer"}], "maxValueInteger": 12}}, {"multipleBirthInteger": 12}, {"multipleBirthInteger": 13}, "value", "max-value", "Patient.multipleBirth"),
    ProfileCase("least date", "Patient", {"birthDate": {"minValueDate": "1900-01-01"}}, {"birthDate": "1900-01-01"}, {"birthDate": "1899-12-31"}, "value", "min-value", "Patient.birthDate"),
    ProfileCase("greatest date", "Patient", {"birthDate": {"maxValueDate": "2030-01-01"}}, {"birthDate": "2030"}, {"birthDate": "2031"}, "value", "max-value", "Patient.birthDate"),
    ProfileCase("least decimal", "Observation", {"valueQuantity": {}, "valueQuantity.value": {"minValueDecimal": 0.5}}, {"valueQuantity.value": 0.5}, {"valueQuantity.value": 0.4}, "value", "min-value", "Observation.value.value"),
    ProfileCase("greatest quantity", "Observation", {"valueQuantity": {"maxValueQuantity": {"value": 300, "system": UCUM, "code": "kg"}}}, quantity("kg", 300), quantity("kg", 301), "value", "max-value", "Observation.value"),
    ProfileCase("quantity of another unit is not compared", "Observation", {"valueQuantity": {"maxValueQuantity": {"value": 300, "system": UCUM, "code": "kg"}}}, quantity("g", 70000), quantity("kg", 70000), "value", "max-value", "Observation.value"),
    ProfileCase("least time", "Observation", {"valueTime": {"minValueTime": "08:00:00"}}, {"valueQuantity": GONE, "valueTime": "08:00:00"}, {"valueQuantity": GONE, "valueTime": "07:59:59"}, "value", "min-value", "Observation.value"),
    ProfileCase("longest string", "Patient", {"name.family": {"maxLength": 5}}, {"name.0.family": "Souza"}, {"name.0.family": "Moreira"}, "too-long", "max-length", "Patient.name[0].family"),
    # slices by value
    ProfileCase("required slice", "Patient", BY_SYSTEM, ids(CPF), ids(CNS), "required", "slice-missing", "Patient.identifier"),
    ProfileCase("required slice without any item", "Patient", BY_SYSTEM, ids(CPF, OTHER), {}, "required", "slice-missing", "Patient.identifier"),
    ProfileCase("slice twice", "Patient", BY_SYSTEM, ids(CPF, CNS), ids(CPF, CPF), "structure", "slice-too-many", "Patient.identifier"),
    ProfileCase("content of a slice", "Patient", BY_SYSTEM, ids(CNS, CPF), {"identifier": [{"system": CNS, "value": "1"}, {"system": CPF, "value": "123456789012"}]}, "too-long", "max-length", "Patient.identifier[1].value"),
    ProfileCase("missing content of a slice", "Patient", BY_SYSTEM, ids(CPF), {"identifier": [{"system": CPF}]}, "required", "missing-element", "Patient.identifier[0].value"),
    ProfileCase("content outside of the slice is free", "Patient", BY_SYSTEM, {"identifier": [{"system": CPF, "value": "1"}, {"system": OTHER}]}, {"identifier": [{"system": OTHER, "value": "1"}]}, "required", "slice-missing", "Patient.identifier"),
    ProfileCase("closed slicing", "Patient", CLOSED, ids(CPF, CNS), ids(CPF, OTHER), "structure", "slice-closed", "Patient.identifier[1]"),
    ProfileCase("closed slicing, item without discriminator", "Patient", CLOSED, ids(CPF), {"identifier": [{"system": CPF, "value": "1"}, {"value": "1"}]}, "structure", "slice-closed", "Patient.identifier[1]"),
    ProfileCase("ordered slicing", "Patient", ORDERED, ids(CPF, OTHER, CNS), ids(CNS, CPF), "structure", "slice-order", "Patient.identifier[1]"),
    ProfileCase("open at the end", "Patient", AT_END, ids(CPF, CNS, OTHER), ids(CPF, OTHER, CNS), "structure", "slice-order", "Patient.identifier[2]"),
    ProfileCase("reslice", "Patient", RESLICED, {"identifier": [{"system": CPF, "use": "official"}, {"system": CPF, "use": "old"}]}, {"identifier": [{"system": CPF, "use": "official"}, {"system": CPF, "use": "usual"}]}, "structure", "slice-closed", "Patient.identifier[1]"),
    ProfileCase("required reslice", "Patient", RESLICED, {"identifier": [{"system": CPF, "use": "official"}]}, {"identifier": [{"system": CPF, "use": "old"}]}, "required", "slice-missing", "Patient.identifier"),
    ProfileCase("default slice", "Patient", DEFAULTED, {"identifier": [{"system": CPF}, {"system": OTHER, "assigner": {"display": "x"}}]}, {"identifier": [{"system": CPF}, {"system": OTHER}]}, "required", "missing-element", "Patient.identifier[1].assigner"),
    ProfileCase("two discriminators below", "Observation", BY_CODE, {"component": [{"code": coded(LOINC, "8480-6"), **quantity("mm[Hg]")}, {"code": coded(LOINC, "8462-4")}]}, {"component": [{"code": coded(LOINC, "8480-6"), **quantity("mm[Hg]")}, {"code": coded("urn:x", "8462-4")}]}, "structure", "slice-closed", "Observation.component[1]"),
    ProfileCase("required slice by two discriminators", "Observation", BY_CODE, {"component": [{"code": coded(LOINC, "8480-6"), **quantity("mm[Hg]")}]}, {"component": [{"code": coded(LOINC, "8462-4")}]}, "required", "slice-missing", "Observation.component"),
    ProfileCase("type inside a slice", "Observation", BY_CODE, {"component": [{"code": coded(LOINC, "8480-6"), **quantity("mm[Hg]")}]}, {"component": [{"code": coded(LOINC, "8480-6"), "valueString": "x"}]}, "structure", "type-not-allowed", "Observation.component[0].value"),
    ProfileCase("slice of a data type inside", "Patient", {"maritalStatus.coding": sliced("value", "system"), "maritalStatus.coding:local": {"min": 1}, "maritalStatus.coding:local.system": {"fixedUri": "urn:l"}}, {"maritalStatus": coded("urn:l", "m")}, {"maritalStatus": coded("urn:x", "m")}, "required", "slice-missing", "Patient.maritalStatus.coding"),
    # slices by pattern, type, existence, profile
    ProfileCase("slice by pattern", "Observation", BY_PATTERN, {"category": [coded(CATEGORY, "laboratory", text="x")]}, {"category": [coded(CATEGORY, "vital-signs")]}, "required", "slice-missing", "Observation.category"),
    ProfileCase("closed slices by pattern", "Observation", BY_PATTERN, {"category": [coded(CATEGORY, "laboratory"), coded(CATEGORY, "vital-signs")]}, {"category": [coded(CATEGORY, "laboratory"), coded(CATEGORY, "imaging")]}, "structure", "slice-closed", "Observation.category[1]"),
    ProfileCase("slice by pattern twice", "Observation", BY_PATTERN, {"category": [coded(CATEGORY, "laboratory")]}, {"category": [coded(CATEGORY, "laboratory"), coded(CATEGORY, "laboratory")]}, "structure", "slice-too-many", "Observation.category"),
    ProfileCase("slice by binding", "Observation", {"category": sliced("value", "$this", "closed"), "category:hl7": {"min": 1, "binding": {"strength": "required", "valueSet": CATEGORIES}}}, {"category": [coded(CATEGORY, "imaging")]}, {"category": [coded(CATEGORY, "imaging"), coded("urn:x", "y")]}, "structure", "slice-closed", "Observation.category[1]"),
    ProfileCase("slice by type of a reference", "Observation", BY_TARGET, {"performer": [{"reference": "Practitioner/1"}, {"reference": "Organization/1"}]}, {"performer": [{"reference": "Organization/1"}]}, "required", "slice-missing", "Observation.performer"),
    ProfileCase("closed slices by type of a reference", "Observation", BY_TARGET, {"performer": [{"reference": "Practitioner/1"}]}, {"performer": [{"reference": "Practitioner/1"}, {"reference": "Patient/1"}]}, "structure", "slice-closed", "Observation.performer[1]"),
    ProfileCase("slice by existence", "Patient", BY_EXISTENCE, {"telecom": [{"system": "phone", "value": "1"}, {"system": "phone", "value": "2", "period": {"end": "2020"}}]}, {"telecom": [{"system": "phone", "value": "1"}, {"system": "phone", "value": "2"}]}, "structure", "slice-too-many", "Patient.telecom"),
    ProfileCase("slice by existence twice", "Patient", BY_EXISTENCE, {"telecom": [{"system": "phone", "value": "1"}]}, {"telecom": [{"system": "phone", "value": "1", "period": {"end": "2020"}}, {"system": "phone", "value": "2", "period": {"end": "2020"}}]}, "structure", "slice-too-many", "Patient.telecom"),
    ProfileCase("entries by type", "Bundle", BY_ENTRY, {"entry": [{"resource": {"resourceType": "Patient", "name": [{"text": "x"}]}}]}, {"entry": [{"resource": {"resourceType": "Basic", "code": {"text": "x"}}}]}, "required", "slice-missing", "Bundle.entry"),
    ProfileCase("entry of another type", "Bundle", BY_ENTRY, {"entry": [{"resource": {"resourceType": "Patient", "name": [{"text": "x"}]}}, {"resource": {"resourceType": "Basic", "code": {"text": "x"}}}]}, {"entry": [{"resource": {"resourceType": "Patient", "name": [{"text": "x"}]}}, {"resource": {"resourceType": "Group", "type": "person", "actual": True}}]}, "structure", "slice-closed", "Bundle.entry[1]"),
    ProfileCase("profile of an entry", "Bundle", BY_ENTRY, {"entry": [{"resource": {"resourceType": "Patient", "name": [{"text": "x"}]}}]}, {"entry": [{"resource": {"resourceType": "Patient", "active": True}}]}, "required", "missing-element", "Bundle.entry[0].resource.name"),
    ProfileCase("slice by profile", "Bundle", BY_PROFILE, {"entry": [{"resource": {"resourceType": "Patient", "name": [{"text": "x"}]}}]}, {"entry": [{"resource": {"resourceType": "Patient", "active": True}}]}, "required", "slice-missing", "Bundle.entry"),
    # extensions
    ProfileCase("required extension", "Patient", EXTENDED, {"extension": [ext("color", valueString="red")]}, {"extension": [ext("anywhere", valueBoolean=True)]}, "required", "slice-missing", "Patient.extension"),
    ProfileCase("required extension without any", "Patient", EXTENDED, {"extension": [ext("color", valueString="red")]}, {}, "required", "slice-missing", "Patient.extension"),
    ProfileCase("extension twice", "Patient", EXTENDED, {"extension": [ext("color", valueString="red")]}, {"extension": [ext("color", valueString="red"), ext("color", valueString="blue")]}, "structure", "slice-too-many", "Patient.extension"),
    ProfileCase("extension of another type", "Patient", {}, {"extension": [ext("color", valueString="red")]}, {"extension": [ext("color", valueCode="red")]}, "structure", "type-not-allowed", "Patient.extension[0].value"),
    ProfileCase("extension in another resource", "Organization", {}, {"extension": [ext("anywhere", valueBoolean=True)]}, {"extension": [ext("color", valueString="red")]}, "extension", "extension-context", "Organization.extension[0]"),
    ProfileCase("extension at another element", "Patient", {}, {"extension": [ext("color", valueString="red")]}, {"name.0.extension": [ext("color", valueString="red")]}, "extension", "extension-context", "Patient.name[0].extension[0]"),
    ProfileCase("extension of a data type", "Patient", {}, {"name.0.extension": [ext("nickname", valueString="x")]}, {"extension": [ext("nickname", valueString="x")]}, "extension", "extension-context", "Patient.extension[0]"),
    ProfileCase("extension of a data type in a backbone element", "Patient", {}, {"contact": [{"name": {"text": "x", "extension": [ext("nickname", valueString="x")]}}]}, {"contact": [{"name": {"text": "x"}, "extension": [ext("nickname", valueString="x")]}]}, "extension", "extension-context", "Patient.contact[0].extension[0]"),
    ProfileCase("extension of a primitive", "Patient", {}, {"birthDate": "2020", "_birthDate": {"extension": [ext("weekday", valueCode="mon")]}}, {"gender": "male", "_gender": {"extension": [ext("weekday", valueCode="mon")]}}, "extension", "extension-context", "Patient.gender.extension[0]"),
    ProfileCase("extension in a contained resource", "Patient", {}, {"contained": [{"resourceType": "Patient", "id": "a", "extension": [ext("color", valueString="x")]}], "link": [{"other": {"reference": "#a"}, "type": "seealso"}]}, {"contained": [{"resourceType": "Organization", "id": "a", "name": "x", "extension": [ext("color", valueString="x")]}], "managingOrganization": {"reference": "#a"}}, "extension", "extension-context", "Patient.contained[0].extension[0]"),
    ProfileCase("extension at what a FHIRPath context selects", "Patient", {}, {"name": [{"use": "official", "text": "a", "extension": [ext("official", valueString="x")]}, {"use": "usual", "text": "b"}]}, {"name": [{"use": "official", "text": "a"}, {"use": "usual", "text": "b", "extension": [ext("official", valueString="x")]}]}, "extension", "extension-context", "Patient.name[1].extension[0]"),
    ProfileCase("extension at a primitive that a FHIRPath context selects", "Patient", {}, {"birthDate": "2020", "_birthDate": {"extension": [ext("known-day", valueString="x")]}}, {"gender": "male", "_gender": {"extension": [ext("known-day", valueString="x")]}}, "extension", "extension-context", "Patient.gender.extension[0]"),
    ProfileCase("extension at a primitive without a value that a FHIRPath context selects", "Patient", {}, {"_birthDate": {"extension": [ext("known-day", valueString="x")]}}, {"_gender": {"extension": [ext("known-day", valueString="x")]}}, "extension", "extension-context", "Patient.gender.extension[0]"),
    ProfileCase("extension at one of several primitives", "Patient", {}, {"address": [{"line": ["a", "b"], "_line": [{"extension": [ext("first-line", valueString="x")]}, None]}]}, {"address": [{"line": ["a", "b"], "_line": [None, {"extension": [ext("first-line", valueString="x")]}]}]}, "extension", "extension-context", "Patient.address[0].line[1].extension[0]"),
    ProfileCase("extension at a resource that a FHIRPath context selects", "Patient", {}, {"birthDate": "1980-01-01", "extension": [ext("adult", valueString="x")]}, {"birthDate": "2020-01-01", "extension": [ext("adult", valueString="x")]}, "extension", "extension-context", "Patient.extension[0]"),
    ProfileCase("FHIRPath context in a contained resource", "Patient", {}, {"birthDate": "2020-01-01", "contained": [{"resourceType": "Patient", "id": "a", "birthDate": "1980-01-01", "extension": [ext("adult", valueString="x")]}], "link": [{"other": {"reference": "#a"}, "type": "seealso"}]}, {"birthDate": "1980-01-01", "contained": [{"resourceType": "Patient", "id": "a", "birthDate": "2020-01-01", "extension": [ext("adult", valueString="x")]}], "link": [{"other": {"reference": "#a"}, "type": "seealso"}]}, "extension", "extension-context", "Patient.contained[0].extension[0]"),
    ProfileCase("extension inside an extension that a FHIRPath context selects", "Patient", {}, {"extension": [{"url": "urn:paint", "extension": [ext("nested", valueString="x")]}]}, {"extension": [{"url": "urn:other", "extension": [ext("nested", valueString="x")]}]}, "extension", "extension-context", "Patient.extension[0].extension[0]"),
    ProfileCase("FHIRPath context that cannot be evaluated", "Patient", {}, {}, {"name": [{"family": "1"}], "extension": [ext("odd", valueString="x")]}, "processing", "extension-context-not-evaluated", "Patient.extension[0]", "warning"),
    ProfileCase("extension inside an extension", "Patient", {}, {"extension": [{"url": "urn:paint", "extension": [ext("shade", valueString="x")]}]}, {"extension": [{"url": "urn:other", "extension": [ext("shade", valueString="x")]}]}, "extension", "extension-context", "Patient.extension[0].extension[0]"),
    ProfileCase("modifier as a plain extension", "Patient", {}, {"modifierExtension": [ext("not-really", valueBoolean=True)]}, {"extension": [ext("not-really", valueBoolean=True)]}, "extension", "extension-modifier", "Patient.extension[0]"),
    ProfileCase("plain extension as a modifier", "Patient", {}, {"extension": [ext("color", valueString="x")]}, {"modifierExtension": [ext("color", valueString="x")]}, "extension", "extension-modifier", "Patient.modifierExtension[0]"),
    ProfileCase("unknown modifier", "Patient", {}, {"extension": [{"url": "urn:unknown", "valueString": "x"}]}, {"modifierExtension": [{"url": "urn:unknown", "valueString": "x"}]}, "extension", "unknown-modifier-extension", "Patient.modifierExtension[0]", "warning"),
    ProfileCase("missing part of a complex extension", "Patient", {}, {"extension": [ext("visit", extension=[{"url": "when", "valueDate": "2020"}])]}, {"extension": [ext("visit", extension=[{"url": "where", "valueReference": {"reference": "Location/1"}}])]}, "required", "slice-missing", "Patient.extension[0].extension"),
    ProfileCase("unknown part of a complex extension", "Patient", {}, {"extension": [ext("visit", extension=[{"url": "when", "valueDate": "2020"}])]}, {"extension": [ext("visit", extension=[{"url": "when", "valueDate": "2020"}, {"url": "why", "valueString": "x"}])]}, "structure", "slice-closed", "Patient.extension[0].extension[1]"),
    ProfileCase("type of a part of a complex extension", "Patient", {}, {"extension": [ext("visit", extension=[{"url": "when", "valueDate": "2020"}])]}, {"extension": [ext("visit", extension=[{"url": "when", "valueString": "2020"}])]}, "structure", "type-not-allowed", "Patient.extension[0].extension[0].value"),
    ProfileCase("value of a complex extension", "Patient", {}, {"extension": [ext("visit", extension=[{"url": "when", "valueDate": "2020"}])]}, {"extension": [ext("visit", valueString="x")]}, "structure", "element-not-allowed", "Patient.extension[0].value", also=(("error", "required", "slice-missing", ("Patient.extension[0].extension",)),)),
    ProfileCase("target of a part of a complex extension", "Patient", {}, {"extension": [ext("visit", extension=[{"url": "when", "valueDate": "2020"}, {"url": "where", "valueReference": {"reference": "Location/1"}}])]}, {"extension": [ext("visit", extension=[{"url": "when", "valueDate": "2020"}, {"url": "where", "valueReference": {"reference": "Patient/1"}}])]}, "value", "wrong-reference-target", "Patient.extension[0].extension[1].value.reference"),
    ProfileCase("extension of R4 of another type", "Patient", {}, {"extension": [{"url": R4 + "patient-birthPlace", "valueAddress": {"city": "x"}}]}, {"extension": [{"url": R4 + "patient-birthPlace", "valueString": "x"}]}, "structure", "type-not-allowed", "Patient.extension[0].value"),
    # bindings
    ProfileCase("required binding of a code", "Patient", {"language": {"binding": {"strength": "required", "valueSet": GENDER}}}, {"language": "male"}, {"language": "pt"}, "code-invalid", "code-not-in-value-set", "Patient.language"),
    ProfileCase("required binding of a concept", "Observation", {"category": {"binding": {"strength": "required", "valueSet": CATEGORIES}}}, {"category": [coded(CATEGORY, "imaging")]}, {"category": [coded(CATEGORY, "imaging"), coded(CATEGORY, "imagery")]}, "code-invalid", "code-not-in-value-set", "Observation.category[1]"),
    ProfileCase("required binding and only text", "Observation", {"category": {"binding": {"strength": "required", "valueSet": CATEGORIES}}}, {"category": [coded(CATEGORY, "exam")]}, {"category": [{"text": "exam"}]}, "code-invalid", "code-not-in-value-set", "Observation.category[0]"),
    ProfileCase("extensible binding", "Observation", {"category": {"binding": {"strength": "extensible", "valueSet": CATEGORIES}}}, {"category": [coded(CATEGORY, "exam")]}, {"category": [coded("urn:x", "exam")]}, "code-invalid", "code-outside-value-set", "Observation.category[0]", "warning"),
    ProfileCase("binding of a coding", "Observation", {"meta.tag": {"binding": {"strength": "required", "valueSet": CATEGORIES}}}, {"meta.tag": [{"system": CATEGORY, "code": "exam"}]}, {"meta.tag": [{"system": CATEGORY, "code": "exams"}]}, "code-invalid", "code-not-in-value-set", "Observation.meta.tag[0]"),
    ProfileCase("binding inside a slice", "Patient", {"identifier": sliced("value", "system"), "identifier:cpf": {}, "identifier:cpf.system": {"fixedUri": CPF}, "identifier:cpf.type": {"min": 1, "binding": {"strength": "required", "valueSet": CATEGORIES}}}, {"identifier": [{"system": CPF, "type": coded(CATEGORY, "exam")}, {"system": CNS, "type": {"text": "x"}}]}, {"identifier": [{"system": CPF, "type": coded(CATEGORY, "x")}]}, "code-invalid", "code-not-in-value-set", "Patient.identifier[0].type"),
    # invariants
    ProfileCase("invariant of the resource", "Patient", {"": rule("birthDate.exists() or deceased.exists()")}, {"birthDate": "2020"}, {}, "invariant", "invariant-t-1", "Patient"),
    ProfileCase("invariant of an element", "Patient", {"name": rule("given.exists() or family.exists()")}, {}, {"name": [{"family": "x"}, {"text": "x"}]}, "invariant", "invariant-t-1", "Patient.name[1]"),
    ProfileCase("invariant of a primitive", "Patient", {"name.family": rule("matches('^[A-Z]')")}, {"name.0.family": "Souza"}, {"name.0.family": "souza"}, "invariant", "invariant-t-1", "Patient.name[0].family"),
    ProfileCase("invariant of a backbone element", "Patient", {"contact": rule("name.exists()")}, {"contact": [{"name": {"text": "x"}}]}, {"contact": [{"organization": {"display": "x"}}]}, "invariant", "invariant-t-1", "Patient.contact[0]"),
    ProfileCase("invariant of a choice", "Observation", {"value[x]": rule("($this as Quantity).value > 0")}, quantity("kg", 1), quantity("kg", 0), "invariant", "invariant-t-1", "Observation.value"),
    ProfileCase("invariant that sees the resource", "Patient", {"contact": rule("gender != %resource.gender")}, {"gender": "female", "contact": [{"name": {"text": "x"}, "gender": "male"}]}, {"gender": "male", "contact": [{"name": {"text": "x"}, "gender": "male"}]}, "invariant", "invariant-t-1", "Patient.contact[0]"),
    ProfileCase("invariant as a warning", "Patient", {"": rule("telecom.exists()", "warning")}, {"telecom": [{"system": "phone", "value": "1"}]}, {}, "invariant", "invariant-t-1", "Patient", "warning"),
    ProfileCase("invariant inside a slice", "Patient", BY_SYSTEM | {"identifier:cpf": {"min": 1, "max": "1", **rule("value.length() = 1")}}, ids(CPF), {"identifier": [{"system": CPF, "value": "12"}]}, "invariant", "invariant-t-1", "Patient.identifier[0]"),
    ProfileCase("invariant of a data type's profile", "Patient", {"identifier": {"type": [{"code": "Identifier", "profile": [CANONICAL + "cpf-identifier"]}]}}, {"identifier": [{"system": CPF, "value": "12345678909"}]}, {"identifier": [{"system": CPF, "value": "1"}]}, "invariant", "invariant-cpf-1", "Patient.identifier[0].value"),
    # references, data type profiles, contained resources
    ProfileCase("reference to another type", "Observation", {"subject": {"type": [{"code": "Reference", "targetProfile": [R4 + "Patient"]}]}}, {"subject.reference": "Patient/1"}, {"subject.reference": "Group/1"}, "value", "wrong-reference-target", "Observation.subject.reference"),
    ProfileCase("type of a logical reference", "Observation", {"subject": {"type": [{"code": "Reference", "targetProfile": [R4 + "Patient"]}]}}, {"subject": {"type": "Patient", "display": "x"}}, {"subject": {"type": "Group", "display": "x"}}, "value", "wrong-reference-target", "Observation.subject.type"),
    ProfileCase("reference to a profile of a type", "Observation", {"subject": {"type": [{"code": "Reference", "targetProfile": [CANONICAL + "named"]}]}}, {"subject.reference": "Patient/1"}, {"subject.reference": "Device/1"}, "value", "wrong-reference-target", "Observation.subject.reference"),
    ProfileCase("contained target of a profile", "Observation", {"subject": {"type": [{"code": "Reference", "targetProfile": [CANONICAL + "named"]}]}}, {"contained": [{"resourceType": "Patient", "id": "p", "name": [{"text": "x"}]}], "subject.reference": "#p"}, {"contained": [{"resourceType": "Patient", "id": "p", "active": True}], "subject.reference": "#p"}, "structure", "wrong-target-profile", "Observation.subject.reference"),
    ProfileCase("reference in a list", "Patient", {"generalPractitioner": {"type": [{"code": "Reference", "targetProfile": [R4 + "Organization"]}]}}, {"generalPractitioner": [{"reference": "Organization/1"}]}, {"generalPractitioner": [{"reference": "Organization/1"}, {"reference": "Practitioner/1"}]}, "value", "wrong-reference-target", "Patient.generalPractitioner[1].reference"),
    ProfileCase("only contained", "Observation", {"subject": {"type": [{"code": "Reference", "targetProfile": [R4 + "Patient"], "aggregation": ["contained"]}]}}, {"contained": [{"resourceType": "Patient", "id": "p"}], "subject.reference": "#p"}, {"subject.reference": "Patient/1"}, "value", "wrong-aggregation", "Observation.subject.reference"),
    ProfileCase("never contained", "Observation", {"subject": {"type": [{"code": "Reference", "targetProfile": [R4 + "Patient"], "aggregation": ["referenced"]}]}}, {"subject.reference": "Patient/1"}, {"contained": [{"resourceType": "Patient", "id": "p"}], "subject.reference": "#p"}, "value", "wrong-aggregation", "Observation.subject.reference"),
    ProfileCase("profile of a data type", "Patient", {"identifier": {"type": [{"code": "Identifier", "profile": [CANONICAL + "cpf-identifier"]}]}}, {"identifier": [{"system": CPF, "value": "12345678909"}]}, {"identifier": [{"system": CNS, "value": "12345678909"}]}, "value", "fixed-value", "Patient.identifier[0].system"),
    ProfileCase("one of two profiles", "Patient", {"identifier": {"type": [{"code": "Identifier", "profile": [CANONICAL + "cpf-identifier", CANONICAL + "typed-identifier"]}]}}, {"identifier": [{"system": CPF, "value": "12345678909"}, {"type": {"text": "x"}}]}, {"identifier": [{"system": CNS}]}, "structure", "no-profile-fits", "Patient.identifier[0]"),
    ProfileCase("profile of a contained resource", "Observation", {"contained": {"type": [{"code": "Resource", "profile": [CANONICAL + "named"]}]}}, {"contained": [{"resourceType": "Patient", "id": "p", "name": [{"text": "x"}]}], "subject.reference": "#p"}, {"contained": [{"resourceType": "Patient", "id": "p", "active": True}], "subject.reference": "#p"}, "required", "missing-element", "Observation.contained[0].name"),
    ProfileCase("content reference", "Observation", {"component.referenceRange.text": {"min": 1}}, {"component": [{"code": {"text": "c"}, "referenceRange": [{"text": "x"}]}]}, {"component": [{"code": {"text": "c"}, "referenceRange": [{"low": {"value": 1}}]}]}, "required", "missing-element", "Observation.component[0].referenceRange[0].text"),
]
DEFINITIONS.append(profile("typed-identifier", "Identifier", {"type": {"min": 1}}))
