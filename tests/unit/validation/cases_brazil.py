"""Check digits (CAD-01) and municipalities (CAD-06). Source: docs/explanation/brazilian-identifiers.md."""

# ruff: noqa: E501 - a row of the table is a line
# fmt: off

from typing import Any

from fhirserver.validation.brazil import MUNICIPALITY
from tests.unit.validation.kit import Case

SID = "https://saude.gov.br/fhir/sid/"
RNDS = "http://rnds-fhir.saude.gov.br/NamingSystem/"
RIGHT, WRONG = "529.982.247-25", "529.982.247-24"


def one(system: str, value: str, **more: Any) -> dict[str, Any]:
    return {"identifier": [{"system": system, "value": value} | more]}


def lives(code: str) -> dict[str, Any]:
    return {"address": [{"city": "São Paulo", "extension": [{"url": MUNICIPALITY, "valueCode": code}]}]}


def digits(name: str, base: str, good: dict[str, Any], bad: dict[str, Any], expression: str = "") -> Case:
    return Case(name, base, good, bad, "value", "CAD-01", expression or f"{base}.identifier[0].value")


CASES = [
    digits("CPF", "Patient", one(SID + "cpf", RIGHT), one(SID + "cpf", WRONG)),
    digits("CPF of one digit", "Patient", one(SID + "cpf", "00000000191"), one(SID + "cpf", "11111111111")),
    digits("CPF too short", "Patient", one(SID + "cpf", "52998224725"), one(SID + "cpf", "5299822472")),
    digits("CPF under an alias", "Patient", one(RNDS + "CPF", "52998224725"), one(RNDS + "CPF", "52998224724")),
    digits("CPF by OID", "Patient", one("urn:oid:2.16.840.1.113883.13.237", RIGHT), one("urn:oid:2.16.840.1.113883.13.237", WRONG)),
    digits("CPF of an unknown system", "Patient", one("http://example.org/cpf", WRONG), one(SID + "cpf", WRONG)),
    digits("old CPF", "Patient", one(SID + "cpf", WRONG, use="old"), one(SID + "cpf", WRONG, use="official")),
    digits("temporary CPF", "Patient", one(SID + "cpf", WRONG, use="temp"), one(SID + "cpf", WRONG, use="usual")),
    digits("ended CPF", "Patient", one(SID + "cpf", WRONG, period={"end": "2020-01"}), one(SID + "cpf", WRONG, period={"end": "2999-01"})),
    digits("CPF with a start only", "Patient", one(SID + "cpf", RIGHT, period={"start": "2020-01"}), one(SID + "cpf", WRONG, period={"start": "2020-01"})),
    digits("CNS", "Patient", one(SID + "cns", "200000000030018"), one(SID + "cns", "200000000030008")),
    digits("CNPJ", "Organization", one(SID + "cnpj", "12.ABC.345/01DE-35"), one(SID + "cnpj", "12ABC34501DE3A")),
    digits("CNES has no check digit", "Organization", one(SID + "cnes", "2077485"), one(SID + "cnpj", "2077485")),
    digits("CPF in a reference", "Patient", {"managingOrganization.identifier": {"system": SID + "cnpj", "value": "11222333000181"}}, {"managingOrganization.identifier": {"system": SID + "cnpj", "value": "11222333000182"}}, "Patient.managingOrganization.identifier.value"),
    digits("CPF in an extension", "Patient", {"extension": [{"url": "urn:x", "valueIdentifier": {"system": SID + "cpf", "value": RIGHT}}]}, {"extension": [{"url": "urn:x", "valueIdentifier": {"system": SID + "cpf", "value": WRONG}}]}, "Patient.extension[0].value.value"),
    Case("municipality", "Patient", lives("3550308"), lives("3550307"), "value", "CAD-06", "Patient.address[0].extension[0].value"),
    Case("irregular municipality", "Patient", lives("2201919"), lives("9950308"), "value", "CAD-06", "Patient.address[0].extension[0].value"),
]
