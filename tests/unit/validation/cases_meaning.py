"""Bindings, references, contained resources, narrative, invariants, Bundles and Parameters."""

# ruff: noqa: E501 - a row of the table is a line
# fmt: off

from typing import Any

from tests.unit.validation.kit import GONE, Case, Json

UCUM = "http://unitsofmeasure.org"
TERMINOLOGY = "http://terminology.hl7.org/CodeSystem/"
BASIC = {"resourceType": "Basic", "id": "b", "code": {"text": "x"}}
ORG = {"resourceType": "Organization", "id": "o", "name": "Unit"}
XHTML = 'xmlns="http://www.w3.org/1999/xhtml"'


def concept(system: str, code: str) -> Json:
    return {"coding": [{"system": system, "code": code}]}


def text(content: str, root: str = f"div {XHTML}") -> Json:
    return {"text": {"status": "generated", "div": f"<{root}>{content}</{root.split()[0]}>"}}


def narrative(name: str, good: str, bad: str, issue: str, code: str) -> Case:
    return Case(name, "Patient", text(good), text(bad), issue, code, "Patient.text.div")


def repeat(name: str, good: Json, bad: Json, rule: str) -> Case:
    place = "Observation.effective.repeat"
    return Case(name, "Observation", {"effectiveTiming": {"repeat": good}}, {"effectiveTiming": {"repeat": bad}}, "invariant", f"invariant-{rule}", place)


def entry(**elements: Any) -> Json:
    return {"entry": [elements]}


CLINICAL = TERMINOLOGY + "condition-clinical"
VERIFICATION = TERMINOLOGY + "condition-ver-status"
REQUEST = {"method": "POST", "url": "Basic"}

CASES = [
    # required bindings
    Case("code outside its value set", "Patient", {"gender": "female"}, {"gender": "f"}, "code-invalid", "code-not-in-value-set", "Patient.gender"),
    Case("code in another case", "Observation", {"status": "final"}, {"status": "Final"}, "code-invalid", "code-not-in-value-set", "Observation.status"),
    Case("bound code in a data type", "Patient", {"telecom": [{"system": "phone", "value": "1"}]}, {"telecom": [{"system": "whatsapp", "value": "1"}]}, "code-invalid", "code-not-in-value-set", "Patient.telecom[0].system"),
    Case("concept outside its value set", "Condition", {"clinicalStatus": concept(CLINICAL, "active")}, {"clinicalStatus": concept(CLINICAL, "ongoing")}, "code-invalid", "code-not-in-value-set", "Condition.clinicalStatus"),
    Case("concept of another system", "Condition", {"clinicalStatus": concept(CLINICAL, "active")}, {"clinicalStatus": concept("urn:x", "active")}, "code-invalid", "code-not-in-value-set", "Condition.clinicalStatus"),
    Case("bound concept as text", "Condition", {"clinicalStatus": concept(CLINICAL, "active") | {"text": "a"}}, {"clinicalStatus": {"text": "active"}}, "code-invalid", "code-not-in-value-set", "Condition.clinicalStatus"),
    Case("media type", "Binary", {"contentType": "text/plain; charset=utf-8"}, {"contentType": "text"}, "code-invalid", "code-not-in-value-set", "Binary.contentType"),
    Case("currency", "Patient", {"extension": [{"url": "urn:x", "valueMoney": {"value": 1, "currency": "BRL"}}]}, {"extension": [{"url": "urn:x", "valueMoney": {"value": 1, "currency": "R$"}}]}, "code-invalid", "code-not-in-value-set", "Patient.extension[0].value.currency"),
    Case("comparator", "Observation", {"valueQuantity.comparator": "<="}, {"valueQuantity.comparator": "=<"}, "code-invalid", "code-not-in-value-set", "Observation.value.comparator"),
    # references
    Case("reference to another type", "Observation", {"subject.reference": "Group/1"}, {"subject.reference": "Practitioner/1"}, "value", "wrong-reference-target", "Observation.subject.reference"),
    Case("absolute reference to another type", "Observation", {"subject.reference": "https://a.example/fhir/Patient/1"}, {"subject.reference": "https://a.example/fhir/Claim/1"}, "value", "wrong-reference-target", "Observation.subject.reference"),
    Case("versioned reference", "Observation", {"subject.reference": "Patient/1/_history/2"}, {"subject.reference": "Patient/1/history/2"}, "value", "invalid-reference", "Observation.subject.reference"),
    Case("reference to no type", "Observation", {"subject.reference": "Patient/1"}, {"subject.reference": "Pacient/1"}, "value", "invalid-reference", "Observation.subject.reference"),
    Case("reference without type", "Observation", {"subject.reference": "urn:uuid:c757873d-ec9a-4326-a141-556f43239520"}, {"subject.reference": "1"}, "value", "invalid-reference", "Observation.subject.reference"),
    Case("broken urn:uuid", "Observation", {"subject.reference": "urn:oid:1.2.3"}, {"subject.reference": "urn:uuid:1"}, "value", "invalid-reference", "Observation.subject.reference"),
    Case("conditional reference", "Observation", {"subject.reference": "Patient/1"}, {"subject.reference": "Patient?identifier=1"}, "value", "invalid-reference", "Observation.subject.reference"),
    Case("Reference.type of another type", "Observation", {"subject": {"type": "Patient", "display": "x"}}, {"subject": {"type": "Claim", "display": "x"}}, "value", "wrong-reference-target", "Observation.subject.type"),
    Case("Reference.type of no type", "Observation", {"subject": {"type": "https://a.example/Model", "display": "x"}}, {"subject": {"type": "Person1", "display": "x"}}, "value", "invalid-reference-type", "Observation.subject.type"),
    Case("Reference.type against reference", "Observation", {"subject.type": "Patient"}, {"subject.type": "Group"}, "invariant", "invariant-reference-type", "Observation.subject"),
    Case("fragment without contained resource (ref-1)", "Patient", {"contained": [ORG], "managingOrganization": {"reference": "#o"}}, {"managingOrganization": {"reference": "#o"}}, "invariant", "invariant-ref-1", "Patient.managingOrganization.reference"),
    Case("fragment to another type", "Patient", {"contained": [ORG], "managingOrganization": {"reference": "#o"}}, {"contained": [BASIC], "managingOrganization": {"reference": "#b"}}, "value", "wrong-reference-target", "Patient.managingOrganization.reference"),
    Case("# outside contained resources", "Patient", {"contained": [BASIC | {"subject": {"reference": "#"}}]}, {"managingOrganization": {"reference": "#"}}, "value", "invalid-reference", "Patient.managingOrganization.reference"),
    # contained
    Case("contained in contained (dom-2)", "Patient", {"contained": [BASIC | {"subject": {"reference": "#"}}]}, {"contained": [BASIC | {"subject": {"reference": "#"}, "contained": [ORG | {"partOf": {"reference": "#"}}]}]}, "invariant", "invariant-dom-2", "Patient.contained[0].contained"),
    Case("contained without reference (dom-3)", "Patient", {"contained": [ORG], "managingOrganization": {"reference": "#o"}}, {"contained": [ORG]}, "invariant", "invariant-dom-3", "Patient.contained[0]"),
    Case("contained with version (dom-4)", "Patient", {"contained": [BASIC | {"subject": {"reference": "#"}, "meta": {"source": "urn:x"}}]}, {"contained": [BASIC | {"subject": {"reference": "#"}, "meta": {"versionId": "1"}}]}, "invariant", "invariant-dom-4", "Patient.contained[0].meta"),
    Case("contained with label (dom-5)", "Patient", {"contained": [BASIC | {"subject": {"reference": "#"}, "meta": {"tag": [{"code": "a"}]}}]}, {"contained": [BASIC | {"subject": {"reference": "#"}, "meta": {"security": [{"code": "R"}]}}]}, "invariant", "invariant-dom-5", "Patient.contained[0].meta"),
    Case("contained without id", "Patient", {"contained": [BASIC | {"subject": {"reference": "#"}}]}, {"contained": [{"resourceType": "Basic", "code": {"text": "x"}}]}, "required", "missing-element", "Patient.contained[0].id"),
    Case("contained with the same id", "Patient", {"contained": [ORG, BASIC], "managingOrganization": {"reference": "#o"}, "extension": [{"url": "urn:x", "valueReference": {"reference": "#b"}}]}, {"contained": [ORG, ORG], "managingOrganization": {"reference": "#o"}}, "duplicate", "duplicate-contained-id", "Patient.contained[1].id"),
    Case("contained of no type", "Patient", {"contained": [ORG], "managingOrganization": {"reference": "#o"}}, {"contained": [{"resourceType": "Unit", "id": "o"}]}, "structure", "unknown-resource-type", "Patient.contained[0].resourceType"),
    # narrative
    narrative("script", "<p>a</p>", "<script>alert(1)</script>", "security", "narrative-forbidden-element"),
    narrative("form element", "<b>a</b>", "<input/>a", "security", "narrative-forbidden-element"),
    narrative("element of another namespace", "<p>a</p>", '<svg xmlns="http://www.w3.org/2000/svg"/>a', "security", "narrative-forbidden-element"),
    narrative("event handler", '<p class="a">a</p>', '<p onclick="x()">a</p>', "security", "narrative-forbidden-attribute"),
    narrative("attribute with a namespace", '<p xml:lang="pt">a</p>', '<p xmlns:x="urn:x" x:href="a">a</p>', "security", "narrative-forbidden-attribute"),
    narrative("javascript link", '<a href="https://a.example">a</a>', '<a href="javascript:x()">a</a>', "security", "narrative-unsafe-link"),
    narrative("javascript link in disguise", '<a href="mailto:a@a.example">a</a>', '<a href=" jAva&#10;script:x()">a</a>', "security", "narrative-unsafe-link"),
    narrative("data link", '<a href="#b">a</a>', '<a href="data:text/html;base64,YQ==">a</a>', "security", "narrative-unsafe-link"),
    narrative("external image", '<img src="#pic" alt=""/>', '<img src="https://a.example/a.png" alt=""/>', "security", "narrative-external-image"),
    narrative("image of any host scheme", '<img src="data:image/png;base64,YQ==" alt=""/>', '<img src="//a.example/a.png" alt=""/>', "security", "narrative-external-image"),
    narrative("image with code inside", '<img src="a.png" alt=""/>', '<img src="data:image/svg+xml;base64,YQ==" alt=""/>', "security", "narrative-external-image"),
    narrative("style that loads", '<p style="color: red">a</p>', '<p style="background: url(https://a.example/a)">a</p>', "security", "narrative-active-style"),
    narrative("style with escapes", '<p style="width: 1px">a</p>', '<p style="b: u\\72l(x)">a</p>', "security", "narrative-active-style"),
    narrative("CDATA", "a &lt;b&gt;", "<![CDATA[><script>x</script>]]>", "security", "narrative-forbidden-markup"),
    narrative("comment that HTML ends early", "<!-- a -->a", "<!--><script>x</script>-->a", "security", "narrative-forbidden-markup"),
    narrative("processing instruction", "a", "<?php x?>a", "security", "narrative-forbidden-markup"),
    narrative("not well-formed", "<p>a</p>", "<p>a", "value", "narrative-not-xhtml"),
    narrative("named entity", "&#160;&amp;", "&nbsp;", "value", "narrative-not-xhtml"),
    narrative("nesting without end", "<b>" * 100 + "a" + "</b>" * 100, "<b>" * 300 + "a" + "</b>" * 300, "value", "narrative-not-xhtml"),
    narrative("nothing but blanks (txt-2)", '<img src="a.png" alt=""/>', "<p> &#32;\n</p>", "invariant", "invariant-txt-2"),
    Case("root that is no div", "Patient", text("a"), text("a", f"p {XHTML}"), "value", "narrative-not-xhtml", "Patient.text.div"),
    Case("root without namespace", "Patient", text("a"), text("a", "div"), "value", "narrative-not-xhtml", "Patient.text.div"),
    Case("DTD", "Patient", text("a"), {"text": {"status": "generated", "div": f'<!DOCTYPE d [<!ENTITY e "e">]><div {XHTML}>&e;</div>'}}, "security", "narrative-forbidden-markup", "Patient.text.div"),
    Case("narrative without status", "Patient", text("a"), {"text": {"div": f"<div {XHTML}>a</div>"}}, "required", "missing-element", "Patient.text.status"),
    # invariants
    Case("att-1", "Patient", {"photo": [{"data": "YWJj", "contentType": "image/png"}]}, {"photo": [{"data": "YWJj"}]}, "invariant", "invariant-att-1", "Patient.photo[0]"),
    Case("cpt-2", "Patient", {"telecom": [{"system": "phone", "value": "1"}]}, {"telecom": [{"value": "1"}]}, "invariant", "invariant-cpt-2", "Patient.telecom[0]"),
    Case("pat-1", "Patient", {"contact": [{"name": {"text": "x"}}]}, {"contact": [{"gender": "male"}]}, "invariant", "invariant-pat-1", "Patient.contact[0]"),
    Case("per-1", "Patient", {"name.0.period": {"start": "2020-05", "end": "2020"}}, {"name.0.period": {"start": "2021", "end": "2020-12-31"}}, "invariant", "invariant-per-1", "Patient.name[0].period"),
    Case("per-1 across zones", "Observation", {"effectivePeriod": {"start": "2020-01-01T10:00:00+02:00", "end": "2020-01-01T09:00:00Z"}}, {"effectivePeriod": {"start": "2020-01-01T10:00:00Z", "end": "2020-01-01T10:30:00+02:00"}}, "invariant", "invariant-per-1", "Observation.effective"),
    Case("qty-3", "Observation", {"valueQuantity.system": "urn:x"}, {"valueQuantity.system": GONE}, "invariant", "invariant-qty-3", "Observation.value"),
    Case("rng-2", "Observation", {"valueQuantity": GONE, "valueRange": {"low": {"value": 1}, "high": {"value": 1}}}, {"valueQuantity": GONE, "valueRange": {"low": {"value": 2}, "high": {"value": 1}}}, "invariant", "invariant-rng-2", "Observation.value"),
    Case("rat-1", "Observation", {"valueQuantity": GONE, "valueRatio": {"numerator": {"value": 1}, "denominator": {"value": 2}}}, {"valueQuantity": GONE, "valueRatio": {"numerator": {"value": 1}}}, "invariant", "invariant-rat-1", "Observation.value"),
    Case("sqty-1", "Observation", {"referenceRange": [{"low": {"value": 1}}]}, {"referenceRange": [{"low": {"value": 1, "comparator": "<"}}]}, "invariant", "invariant-sqty-1", "Observation.referenceRange[0].low"),
    Case("cnt-3", "Patient", {"extension": [{"url": "urn:x", "valueCount": {"value": 2, "code": "1", "system": UCUM}}]}, {"extension": [{"url": "urn:x", "valueCount": {"value": 2.5, "code": "1", "system": UCUM}}]}, "invariant", "invariant-cnt-3", "Patient.extension[0].value"),
    repeat("tim-1", {"duration": 1, "durationUnit": "h"}, {"duration": 1}, "tim-1"),
    repeat("tim-2", {"period": 1, "periodUnit": "d"}, {"period": 1}, "tim-2"),
    repeat("tim-4", {"duration": 0, "durationUnit": "h"}, {"duration": -1, "durationUnit": "h"}, "tim-4"),
    repeat("tim-5", {"period": 0, "periodUnit": "h"}, {"period": -1, "periodUnit": "h"}, "tim-5"),
    repeat("tim-6", {"period": 1, "periodMax": 2, "periodUnit": "h"}, {"periodMax": 2}, "tim-6"),
    repeat("tim-7", {"duration": 1, "durationMax": 2, "durationUnit": "h"}, {"durationMax": 2}, "tim-7"),
    repeat("tim-8", {"count": 1, "countMax": 2}, {"countMax": 2}, "tim-8"),
    repeat("tim-9", {"when": ["AC"], "offset": 5}, {"when": ["C"], "offset": 5}, "tim-9"),
    repeat("tim-10", {"when": ["AC"]}, {"when": ["AC"], "timeOfDay": ["10:00:00"]}, "tim-10"),
    Case("obs-3", "Observation", {"referenceRange": [{"text": "x"}]}, {"referenceRange": [{"age": {"low": {"value": 1}}}]}, "invariant", "invariant-obs-3", "Observation.referenceRange[0]"),
    Case("obs-6", "Observation", {"valueQuantity": GONE, "dataAbsentReason": {"text": "x"}}, {"dataAbsentReason": {"text": "x"}}, "invariant", "invariant-obs-6", "Observation"),
    Case("obs-7", "Observation", {"component": [{"code": concept("http://loinc.org", "8480-6")}]}, {"component": [{"code": concept("http://loinc.org", "29463-7")}]}, "invariant", "invariant-obs-7", "Observation"),
    Case("app-2", "Appointment", {}, {"status": "cancelled", "end": GONE}, "invariant", "invariant-app-2", "Appointment"),
    Case("app-3", "Appointment", {"status": "proposed", "start": GONE, "end": GONE}, {"start": GONE, "end": GONE}, "invariant", "invariant-app-3", "Appointment"),
    Case("app-4", "Appointment", {"status": "noshow", "cancelationReason": {"text": "x"}}, {"cancelationReason": {"text": "x"}}, "invariant", "invariant-app-4", "Appointment"),
    Case("app-1", "Appointment", {}, {"participant": [{"status": "accepted"}]}, "invariant", "invariant-app-1", "Appointment.participant[0]"),
    Case("con-4", "Condition", {"abatementDateTime": "2020", "clinicalStatus": concept(CLINICAL, "resolved")}, {"abatementDateTime": "2020", "clinicalStatus": concept(CLINICAL, "active")}, "invariant", "invariant-con-4", "Condition"),
    Case("con-5", "Condition", {"verificationStatus": concept(VERIFICATION, "entered-in-error")}, {"verificationStatus": concept(VERIFICATION, "entered-in-error"), "clinicalStatus": concept(CLINICAL, "active")}, "invariant", "invariant-con-5", "Condition"),
    Case("org-1", "Organization", {}, {"name": GONE, "active": True}, "invariant", "invariant-org-1", "Organization"),
    Case("org-2", "Organization", {"address": [{"use": "work"}]}, {"address": [{"use": "home"}]}, "invariant", "invariant-org-2", "Organization.address[0]"),
    Case("org-3", "Organization", {"telecom": [{"use": "work"}]}, {"telecom": [{"use": "home"}]}, "invariant", "invariant-org-3", "Organization.telecom[0]"),
    Case("que-2", "Questionnaire", {}, {"item.1.linkId": "1"}, "invariant", "invariant-que-2", "Questionnaire"),
    Case("que-3", "Questionnaire", {"item.0.code": [{"code": "a"}]}, {"item.0.code": [{"code": "a"}], "item.0.type": "display"}, "invariant", "invariant-que-3", "Questionnaire.item[0]"),
    Case("vsd-1", "ValueSet", {}, {"compose.include": [{"version": "1"}]}, "invariant", "invariant-vsd-1", "ValueSet.compose.include[0]"),
    Case("rule behind a content reference", "ValueSet", {"compose.exclude": [{"system": "urn:y"}]}, {"compose.exclude": [{"version": "1"}]}, "invariant", "invariant-vsd-1", "ValueSet.compose.exclude[0]"),
    # Bundles and Parameters
    Case("broken resource in an entry", "Bundle", {"entry.0.resource.code": {"text": "x"}}, {"entry.0.resource.code": GONE}, "required", "missing-element", "Bundle.entry[0].resource.code"),
    Case("entry of no type", "Bundle", {}, {"entry.0.resource.resourceType": "Thing"}, "structure", "unknown-resource-type", "Bundle.entry[0].resource.resourceType"),
    Case("fragments end at the entry", "Bundle", {"entry.0.resource.contained": [ORG | {"partOf": {"reference": "#"}}]}, {"entry.0.resource.subject": {"reference": "#o"}}, "invariant", "invariant-ref-1", "Bundle.entry[0].resource.subject.reference"),
    Case("bdl-1", "Bundle", {"type": "searchset", "total": 1}, {"total": 1}, "invariant", "invariant-bdl-1", "Bundle"),
    Case("bdl-2", "Bundle", {"type": "searchset", "entry.0.search": {"mode": "match"}}, {"entry.0.search": {"mode": "match"}}, "invariant", "invariant-bdl-2", "Bundle"),
    Case("bdl-3", "Bundle", {"type": "transaction", "entry.0.request": REQUEST}, {"type": "transaction"}, "invariant", "invariant-bdl-3", "Bundle"),
    Case("bdl-4", "Bundle", {"type": "batch-response", "entry.0.response": {"status": "200"}}, {"type": "batch-response"}, "invariant", "invariant-bdl-4", "Bundle"),
    Case("bdl-5", "Bundle", {}, entry(fullUrl="urn:uuid:1d6b2a5e-7a0e-4a2c-8f3e-6f1f6d1f0a01"), "invariant", "invariant-bdl-5", "Bundle.entry[0]"),
    Case("bdl-7", "Bundle", {"entry": [{"fullUrl": "urn:x:1", "resource": BASIC}, {"fullUrl": "urn:x:2", "resource": BASIC}]}, {"entry": [{"fullUrl": "urn:x:1", "resource": BASIC}, {"fullUrl": "urn:x:1", "resource": BASIC}]}, "invariant", "invariant-bdl-7", "Bundle"),
    Case("bdl-8", "Bundle", {"entry.0.fullUrl": "https://a.example/Basic/1"}, {"entry.0.fullUrl": "https://a.example/Basic/1/_history/2"}, "invariant", "invariant-bdl-8", "Bundle.entry[0]"),
    Case("bdl-12", "Bundle", {}, {"type": "message"}, "invariant", "invariant-bdl-12", "Bundle"),
    Case("inv-1 of Parameters", "Parameters", {"parameter.0.name": "b"}, {"parameter.0.resource": BASIC}, "invariant", "invariant-inv-1", "Parameters.parameter[0]"),
    Case("broken resource in a parameter", "Parameters", {"parameter": [{"name": "a", "resource": BASIC}]}, {"parameter": [{"name": "a", "resource": {"resourceType": "Basic"}}]}, "required", "missing-element", "Parameters.parameter[0].resource.code"),
    Case("parameter in a part", "Parameters", {"parameter": [{"name": "a", "part": [{"name": "b", "valueCode": "c"}]}]}, {"parameter": [{"name": "a", "part": [{"valueCode": "c"}]}]}, "required", "missing-element", "Parameters.parameter[0].part[0].name"),
]
