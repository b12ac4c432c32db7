"""What a resource leaves in the index.

Covers hl7.org/fhir/R4/search.html (each parameter type) and compartments.
"""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from fhirserver.r4.dates import DAY, OPEN_END, OPEN_START
from fhirserver.r4.definitions import Definitions
from fhirserver.search.index import Indexed, Indexer
from fhirserver.search.types import date, number

BASE = "https://clinic.example/fhir"


@pytest.fixture(scope="module")
def indexer() -> Indexer:
    return Indexer(Definitions.load(), "t1", BASE)


def index(indexer: Indexer, type: str, **content: Any) -> Indexed:
    return indexer.index(type, {"resourceType": type, "id": "x"} | content)


def micros(*parts: int) -> int:
    return int(datetime(*parts, tzinfo=UTC).timestamp()) * 1_000_000


def test_a_patient(indexer: Indexer) -> None:
    found = index(
        indexer,
        "Patient",
        meta={
            "tag": [{"system": "http://tags", "code": "vip"}],
            "profile": ["http://p|1"],
            "source": "http://src",
        },
        active=True,
        name=[{"family": "Conceição", "given": ["Ana", "José"], "prefix": ["Dra."]}, {"text": "Aninha"}],
        telecom=[{"system": "phone", "value": "11 9"}, {"system": "email", "value": "A@b"}],
        gender="female",
        birthDate="1980-02",
        address=[{"line": ["Rua A", "1"], "city": "São Paulo", "use": "home"}],
        generalPractitioner=[{"reference": "Practitioner/7"}],
        managingOrganization={"reference": f"{BASE}/Organization/o/_history/2"},
        identifier=[
            {
                "system": "http://cpf",
                "value": "123",
                "type": {"text": "Cadastro", "coding": [{"system": "http://t", "code": "TAX"}]},
            }
        ],
        deceasedBoolean=False,
    )
    ix = found.ix
    assert ix["name"] == ["conceicao", "ana", "jose", "dra.", "aninha"]
    assert found.x["name"] == ["Conceição", "Ana", "José", "Dra.", "Aninha"]
    assert ix["given"] == ["ana", "jose"]
    assert ix["family"] == ["conceicao"]
    assert ix["active"] == ["true", "|true"]
    assert ix["gender"] == ["female", "|female"]
    assert ix["deceased"] == ["false", "|false"]
    assert ix["telecom"] == ["11 9", "|11 9", "A@b", "|A@b"]
    assert ix["phone"] == ["11 9", "|11 9"]
    assert ix["email"] == ["A@b", "|A@b"]
    assert ix["birthdate"] == [{"wl": micros(1980, 2, 1), "wh": micros(1980, 3, 1)}]
    assert ix["address"] == ["rua a", "1", "sao paulo"]
    assert ix["address-city"] == ["sao paulo"]
    assert ix["address-use"] == ["home", "|home"]
    assert ix["identifier"] == ["123", "http://cpf|123", "http://cpf|"]
    assert ix["identifier~text"] == ["cadastro"]
    assert ix["identifier~type"] == ["http://t|TAX|123"]
    assert ix["general-practitioner"] == ["t1/Practitioner/7"]
    assert ix["organization"] == ["t1/Organization/o"]
    assert ix["_tag"] == ["vip", "http://tags|vip", "http://tags|"]
    assert ix["_profile"] == ["http://p", "http://p|1"]
    assert ix["_source"] == ["http://src"]
    assert ix["~Patient"] == ["t1/Patient/x"]
    assert "death-date" not in ix
    assert "_id" not in ix
    assert "_lastUpdated" not in ix
    assert ix["family~s"] == "conceicao\x00x"
    assert (ix["name~s"], ix["name~d"]) == ("ana\x00x", "jose\x00x")
    assert ix["birthdate~s"] == date.sort_key(micros(1980, 2, 1)) + "\x00x"
    assert "birthdate~d" not in ix
    assert "gender~s" not in ix


def test_an_observation_with_components(indexer: Indexer) -> None:
    def pressure(code: str, value: Any) -> dict[str, Any]:
        return {
            "code": {"coding": [{"system": "http://loinc.org", "code": code}]},
            "valueQuantity": {
                "value": value,
                "unit": "mmHg",
                "system": "http://unitsofmeasure.org",
                "code": "mm[Hg]",
            },
        }

    ix = index(
        indexer,
        "Observation",
        status="final",
        code={
            "coding": [{"system": "http://loinc.org", "code": "85354-9", "display": "Pressão"}],
            "text": "PA",
        },
        subject={"reference": "Patient/1"},
        performer=[{"reference": "Practitioner/2"}, {"reference": "Patient/1"}],
        encounter={"reference": "Encounter/3"},
        effectiveDateTime="2026-03-01T10:30:00-03:00",
        component=[pressure("8480-6", 120), pressure("8462-4", Decimal("80.0"))],
    ).ix
    keys = ["", "http://unitsofmeasure.org|mm[Hg]", "|mm[Hg]", "|mmHg"]
    start = micros(2026, 3, 1, 13, 30)
    assert ix["code"] == ["85354-9", "http://loinc.org|85354-9", "http://loinc.org|"]
    assert ix["code~text"] == ["pressao", "pa"]
    assert ix["date"] == [{"lo": start, "hi": start + 1_000_000}]
    assert ix["component-code"] == [
        "8480-6",
        "http://loinc.org|8480-6",
        "http://loinc.org|",
        "8462-4",
        "http://loinc.org|8462-4",
    ]
    assert ix["component-value-quantity"] == [
        {"lo": 120.0, "hi": 120.0, "k": keys},
        {"lo": 80.0, "hi": 80.0, "k": keys},
    ]
    assert ix["component-code-value-quantity"] == [
        {
            "a": ["8480-6", "http://loinc.org|8480-6", "http://loinc.org|"],
            "b": [{"lo": 120.0, "hi": 120.0, "k": keys}],
        },
        {
            "a": ["8462-4", "http://loinc.org|8462-4", "http://loinc.org|"],
            "b": [{"lo": 80.0, "hi": 80.0, "k": keys}],
        },
    ]
    assert ix["combo-code-value-quantity"] == ix["component-code-value-quantity"]
    assert ix["~Patient"] == ["t1/Patient/1"]
    assert ix["~Practitioner"] == ["t1/Practitioner/2"]
    assert ix["~Encounter"] == ["t1/Encounter/3"]
    assert "~Device" not in ix
    assert "value-quantity" not in ix
    assert "code-value-quantity" not in ix
    assert ix["combo-value-quantity~s"] == number.sort_key(80.0) + "\x00x"
    assert ix["combo-value-quantity~d"] == number.sort_key(120.0) + "\x00x"


def test_a_composite_needs_both_values_on_one_element(indexer: Indexer) -> None:
    code = {"coding": [{"code": "a"}]}
    both = index(indexer, "Observation", code=code, valueString="Positivo").ix
    assert both["code-value-string"] == [{"a": ["a", "|a"], "b": ["positivo"]}]
    apart = index(indexer, "Observation", code=code, component=[{"code": code}]).ix
    assert "code-value-string" not in apart


@pytest.mark.parametrize(
    ("type", "content", "code", "entries"),
    [
        (
            "Encounter",
            {"period": {"start": "2026-03-01"}},
            "date",
            [{"wl": micros(2026, 3, 1), "wh": OPEN_END}],
        ),
        (
            "Encounter",
            {"period": {"end": "2026-03-01"}},
            "date",
            [{"wl": OPEN_START, "wh": micros(2026, 3, 2)}],
        ),
        (
            "Encounter",
            {"period": {"start": "2026-03-01T08:00:00Z", "end": "2026-03-01T08:59:59Z"}},
            "date",
            [{"lo": micros(2026, 3, 1, 8), "hi": micros(2026, 3, 1, 9)}],
        ),
        (
            "Observation",
            {"effectiveTiming": {"event": ["2026-03-05", "2026-03-01"]}},
            "date",
            [{"wl": micros(2026, 3, 1), "wh": micros(2026, 3, 6)}],
        ),
        (
            "Observation",
            {"effectiveTiming": {"repeat": {"boundsPeriod": {"start": "2026-03-01"}}}},
            "date",
            [{"wl": micros(2026, 3, 1), "wh": OPEN_END}],
        ),
        ("Observation", {"effectiveTiming": {"code": {"text": "BID"}}}, "date", []),
        (
            "Observation",
            {"effectiveInstant": "2026-03-01T00:00:00.5Z"},
            "date",
            [{"lo": micros(2026, 3, 1) + 500_000, "hi": micros(2026, 3, 1) + 600_000}],
        ),
        (
            "Condition",
            {"onsetAge": {"value": 40, "unit": "a"}},
            "onset-age",
            [{"lo": 40.0, "hi": 40.0, "k": ["", "|a"]}],
        ),
        (
            "Condition",
            {"onsetRange": {"low": {"value": 4, "unit": "a"}, "high": {"value": 8, "unit": "a"}}},
            "onset-age",
            [{"lo": 4.0, "hi": 8.0, "k": ["", "|a"]}],
        ),
        (
            "Condition",
            {"onsetRange": {"high": {"value": 8}}},
            "onset-age",
            [{"lo": float("-inf"), "hi": 8.0, "k": [""]}],
        ),
        (
            "Observation",
            {"valueQuantity": {"value": 5, "comparator": "<", "code": "mg"}},
            "value-quantity",
            [{"lo": float("-inf"), "hi": 5.0, "k": ["", "|mg"]}],
        ),
        ("Observation", {"valueSampledData": {"period": 1}}, "value-quantity", None),
        (
            "Invoice",
            {"totalNet": {"value": 48, "currency": "BRL"}},
            "totalnet",
            [{"lo": 48.0, "hi": 48.0, "k": ["", "urn:iso:std:iso:4217|BRL", "|BRL"]}],
        ),
        (
            "RiskAssessment",
            {"prediction": [{"probabilityDecimal": 0.1}]},
            "probability",
            [{"lo": 0.1, "hi": 0.1}],
        ),
        ("MolecularSequence", {"variant": [{"start": 5}]}, "variant-start", [{"lo": 5.0, "hi": 5.0}]),
        (
            "MolecularSequence",
            {
                "referenceSeq": {"chromosome": {"coding": [{"code": "1"}]}},
                "variant": [{"start": 5, "end": 6}],
            },
            "chromosome-variant-coordinate",
            [{"a": ["1", "|1"], "b": [{"lo": 5.0, "hi": 5.0}], "c": [{"lo": 6.0, "hi": 6.0}]}],
        ),
        ("ValueSet", {"url": "http://x/y"}, "url", ["http://x/y"]),
        (
            "Observation",
            {"derivedFrom": [{"reference": "#c"}, {"reference": "urn:uuid:1"}]},
            "derived-from",
            ["urn:uuid:1"],
        ),
        (
            "ActivityDefinition",
            {"library": ["http://x/q|2"]},
            "depends-on",
            ["http://x/q", "http://x/q|2"],
        ),
        (
            "CarePlan",
            {"instantiatesCanonical": [f"{BASE}/PlanDefinition/1"]},
            "instantiates-canonical",
            [f"{BASE}/PlanDefinition/1", "t1/PlanDefinition/1"],
        ),
        (
            "Account",
            {"subject": [{"reference": "Patient/1"}, {"reference": "Device/2"}]},
            "patient",
            ["t1/Patient/1"],
        ),
        (
            "Bundle",
            {
                "entry": [
                    {"resource": {"resourceType": "Composition", "id": "c"}},
                    {"resource": {"resourceType": "Patient", "id": "p"}},
                ]
            },
            "composition",
            ["t1/Composition/c"],
        ),
        (
            "DocumentReference",
            {"relatesTo": [{"code": "replaces", "target": {"reference": "DocumentReference/1"}}]},
            "relationship",
            [{"a": ["replaces", "|replaces"], "b": ["t1/DocumentReference/1"]}],
        ),
        (
            "Patient",
            {
                "extension": [
                    {
                        "url": "http://hl7.org/fhir/StructureDefinition/patient-mothersMaidenName",
                        "valueString": "Ávila",
                    }
                ]
            },
            "mothersMaidenName",
            ["avila"],
        ),
    ],
)
def test_entries(
    indexer: Indexer, type: str, content: dict[str, Any], code: str, entries: list[Any] | None
) -> None:
    assert index(indexer, type, **content).ix.get(code) == entries


@pytest.mark.parametrize(
    ("type", "content", "code", "beside"),
    [
        ("Condition", {"code": {"text": "Dor"}}, "code", ("code~text", ["dor"])),
        ("Observation", {"subject": {"display": "Ana"}}, "subject", None),
        ("Observation", {"subject": {"reference": "#p"}}, "subject", None),
        (
            "Observation",
            {"subject": {"identifier": {"system": "http://cpf", "value": "1"}}},
            "subject",
            ("subject~id", ["1", "http://cpf|1", "http://cpf|"]),
        ),
    ],
)
def test_an_element_without_a_searchable_value_is_present(
    indexer: Indexer, type: str, content: dict[str, Any], code: str, beside: tuple[str, list[str]] | None
) -> None:
    ix = index(indexer, type, **content).ix
    assert ix[code] == []
    if beside:
        assert ix[beside[0]] == beside[1]
    assert code not in index(indexer, type).ix


def test_a_location_has_a_point_only_on_earth(indexer: Indexer) -> None:
    at_home = index(indexer, "Location", position={"latitude": -23.5, "longitude": Decimal("-46.60")})
    assert at_home.geo == {"type": "Point", "coordinates": [-46.6, -23.5]}
    assert index(indexer, "Location", position={"latitude": 91, "longitude": 0}).geo is None
    assert index(indexer, "Location").geo is None


def test_contained_resources_have_their_own_index(indexer: Indexer) -> None:
    found = index(
        indexer,
        "MedicationRequest",
        contained=[
            {"resourceType": "Medication", "id": "m", "code": {"coding": [{"code": "abc"}]}},
            {"resourceType": "Nothing", "id": "n"},
        ],
        medicationReference={"reference": "#m"},
    )
    assert found.cx == [{"type": "Medication", "id": "m", "ix": {"code": ["abc", "|abc"]}}]
    assert found.ix["medication"] == []
    assert "abc" not in found.ix.get("code", [])


def test_words_of_the_narrative_and_of_everything(indexer: Indexer) -> None:
    found = index(
        indexer,
        "Patient",
        text={"status": "generated", "div": "<div>Pressão <b>alta</b></div>"},
        name=[{"family": "Lima"}],
        photo=[{"data": "A" * 1000}],
    )
    assert found.x["_text"] == ["pressao", "alta"]
    assert {"lima", "pressao", "alta", "x"} <= set(found.x["_content"])
    assert all(len(word) <= 64 for word in found.x["_content"])
    assert "_text" not in index(indexer, "Patient").x


def test_every_compartment_member_is_in_its_own(indexer: Indexer) -> None:
    for name in ("Patient", "Encounter", "Practitioner", "RelatedPerson", "Device"):
        assert index(indexer, name).ix[f"~{name}"] == [f"t1/{name}/x"]
    related = index(indexer, "RelatedPerson", patient={"reference": "Patient/1"}).ix
    assert related["~Patient"] == ["t1/Patient/1"]
    assert not [key for key in index(indexer, "Organization").ix if key.startswith("~")]


def test_a_foreign_patient_is_in_no_compartment_of_ours(indexer: Indexer) -> None:
    ix = index(indexer, "Observation", subject={"reference": "https://other.example/fhir/Patient/1"}).ix
    assert ix["subject"] == ["https://other.example/fhir/Patient/1"]
    assert "~Patient" not in ix


def test_a_clinics_own_parameter_is_indexed() -> None:
    own = {
        "url": "http://clinic.example/sp/unit",
        "code": "unit",
        "type": "token",
        "base": ["Patient"],
        "expression": "Patient.extension('http://clinic.example/unit').value as code",
    }
    definitions = Definitions.load().with_parameters([own])
    resource = {"id": "x", "extension": [{"url": "http://clinic.example/unit", "valueCode": "centro"}]}
    assert Indexer(definitions, "t1", BASE).index("Patient", resource).ix["unit"] == ["centro", "|centro"]


def test_sort_keys_keep_the_order_of_values() -> None:
    numbers = [float("-inf"), -1e300, -2.0, -0.5, -0.0, 0.0, 1e-9, 0.5, 1.0, 10.0, 1e300, float("inf")]
    keys = [number.sort_key(n) for n in numbers]
    assert keys == sorted(keys)
    assert number.sort_key(-0.0) == number.sort_key(0.0)
    instants = [OPEN_START, -DAY, 0, 1, DAY, OPEN_END]
    assert [date.sort_key(i) for i in instants] == sorted(date.sort_key(i) for i in instants)
