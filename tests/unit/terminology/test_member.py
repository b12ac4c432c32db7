"""The question of the validator: is the code in the value set? Yes, no, or unknown with a reason."""

from __future__ import annotations

import pytest

from fhirserver.terminology import Membership, Terminology, Verdict
from fhirserver.terminology.canonical import IMPORTED, SHIPPED, STORED, Candidate, choose, version_key
from fhirserver.terminology.service import Stored
from fhirserver.terminology.systems import MemorySystem
from fhirserver.terminology.valuesets import ValueSet, parse_value_set
from tests.kit.terminology import a_code_system, a_value_set

R4 = "http://hl7.org/fhir/ValueSet"
V3 = "http://terminology.hl7.org/CodeSystem"
YES, NO, UNKNOWN = Verdict.YES, Verdict.NO, Verdict.UNKNOWN
FS = "https://fhirserver.example/br"


@pytest.fixture(scope="module")
def shipped() -> Terminology:
    return Terminology.of_shipped()


@pytest.mark.parametrize(
    ("value_set", "system", "code", "verdict", "reason"),
    [
        (f"{R4}/administrative-gender", "http://hl7.org/fhir/administrative-gender", "male", YES, ""),
        (f"{R4}/administrative-gender|4.0.1", None, "male", YES, ""),
        (f"{R4}/administrative-gender|4.0", None, "male", YES, ""),
        (f"{R4}/administrative-gender|3.0.1", None, "male", UNKNOWN, "value-set-unknown"),
        (f"{R4}/administrative-gender", None, "m", NO, ""),
        (f"{R4}/administrative-gender", "urn:other", "male", NO, ""),
        ("http://terminology.hl7.org/ValueSet/v3-ActEncounterCode", f"{V3}/v3-ActCode", "AMB", YES, ""),
        ("http://terminology.hl7.org/ValueSet/v3-ActEncounterCode", f"{V3}/v3-ActCode", "ALC", NO, ""),
        (f"{R4}/patient-contactrelationship", "http://terminology.hl7.org/CodeSystem/v2-0131", "E", YES, ""),
        (f"{R4}/patient-contactrelationship", "http://terminology.hl7.org/CodeSystem/v2-0131", "O", NO, ""),
        (f"{R4}/ucum-units", "http://unitsofmeasure.org", "mg/dL", YES, ""),
        (f"{R4}/ucum-units", "http://unitsofmeasure.org", "mgs", NO, ""),
        (f"{R4}/observation-codes", "http://loinc.org", "1234-5", UNKNOWN, "system-unknown"),
        (f"{R4}/all-time-units", "http://unitsofmeasure.org", "h", UNKNOWN, "filter-property-unknown"),
        ("urn:nothing", "urn:x", "a", UNKNOWN, "value-set-unknown"),
        (f"{FS}/ValueSet/tuss-26", f"{FS}/CodeSystem/tuss-26", "06", YES, ""),
        (f"{FS}/ValueSet/municipio-ibge", None, "3550308", YES, ""),
        (f"{FS}/ValueSet/municipio-ibge", None, "3550307", NO, ""),
    ],
)
def test_a_code_is_told(
    shipped: Terminology, value_set: str, system: str | None, code: str, verdict: Verdict, reason: str
) -> None:
    answer = shipped.member(value_set, system, code)
    assert (answer.verdict, answer.reason) == (verdict, reason)
    assert shipped.member(value_set, system, code) == answer  # from memory


def test_a_display_is_compared_without_case_and_accents(shipped: Terminology) -> None:
    def fits(display: str | None) -> Membership:
        return shipped.member(f"{FS}/ValueSet/uf", None, "SP", display)

    assert fits(None) == Membership(YES, "", "São Paulo", None)
    assert fits("SAO  PAULO").display_fits is True
    assert fits("Rio de Janeiro").display_fits is False


def stored(*resources: dict[str, object]) -> Terminology:
    terminology = Terminology.of_shipped()
    systems: dict[str, list[Candidate[MemorySystem]]] = {}
    sets: dict[str, list[Candidate[ValueSet]]] = {}
    for r in resources:
        url, version = str(r["url"]), str(r.get("version", "")) or None
        if r["resourceType"] == "CodeSystem":
            systems.setdefault(url, []).append(
                Candidate(version, "active", "", STORED, lambda r=r: MemorySystem(r))
            )  # type: ignore[misc]
        else:
            sets.setdefault(url, []).append(
                Candidate(version, "active", "", STORED, lambda r=r: parse_value_set(r))
            )  # type: ignore[misc]
    terminology.stored = Stored(
        1, systems, sets, {"urn:imported": "urn:imported:vs"}, frozenset({"urn:huge"})
    )
    return terminology


def test_value_sets_are_joined_with_what_is_not_known() -> None:
    animals = a_code_system("urn:animals")
    loinc = {"system": "http://loinc.org"}
    terminology = stored(
        animals,
        a_value_set("urn:either", loinc, {"system": "urn:animals"}),
        a_value_set("urn:both", {"system": "urn:animals", "valueSet": ["urn:dogs"]}),
        a_value_set("urn:dogs", {"system": "urn:animals", "concept": [{"code": "dog"}]}),
        a_value_set("urn:without", {"system": "urn:animals"}, exclude=[{"valueSet": ["urn:dogs"]}]),
        a_value_set("urn:maybe", {"system": "urn:animals"}, exclude=[{"valueSet": ["urn:nowhere"]}]),
        a_value_set("urn:circle", {"valueSet": ["urn:circle"]}),
        a_value_set("urn:closed", {"system": "urn:animals"}, inactive=False),
        a_value_set("urn:database", {"system": "urn:imported"}),
        a_value_set("urn:too-large", {"system": "urn:huge"}),
    )

    def told(value_set: str, code: str, system: str | None = None) -> tuple[Verdict, str]:
        answer = terminology.member(value_set, system, code)
        return answer.verdict, answer.reason

    assert told("urn:either", "cat") == (YES, "")
    assert told("urn:either", "1234-5") == (UNKNOWN, "system-unknown")
    assert told("urn:either", "unicorn", "urn:animals") == (NO, "")
    assert told("urn:both", "dog") == (YES, "")
    assert told("urn:both", "cat") == (NO, "")
    assert told("urn:without", "dog") == (NO, "")
    assert told("urn:without", "cat") == (YES, "")
    assert told("urn:maybe", "cat") == (UNKNOWN, "value-set-unknown")
    assert told("urn:maybe", "unicorn") == (NO, "")
    assert told("urn:circle", "x") == (UNKNOWN, "value-set-circular")
    assert told("urn:closed", "dodo") == (NO, "")
    assert told("urn:closed", "dog") == (YES, "")
    assert told("urn:database", "x") == (UNKNOWN, "system-in-database")
    assert told("urn:imported:vs", "x") == (UNKNOWN, "system-in-database")
    assert told("urn:too-large", "x") == (UNKNOWN, "too-large")
    assert told("urn:huge", "x") == (UNKNOWN, "too-large")


def test_a_stored_copy_does_not_replace_what_ships() -> None:
    forged = a_value_set(
        f"{R4}/administrative-gender", {"system": "urn:x", "concept": [{"code": "robot"}]}, version="4.0.1"
    )
    assert stored(forged).member(f"{R4}/administrative-gender", None, "robot").verdict is NO
    newer = stored(forged | {"version": "9.0"})
    assert newer.member(f"{R4}/administrative-gender", None, "robot").verdict is YES
    assert newer.member(f"{R4}/administrative-gender|4.0.1", None, "robot").verdict is NO


def test_versions_are_ordered_by_their_numbers() -> None:
    assert version_key("1.10") > version_key("1.9")
    assert version_key("2.0.0") > version_key("2.0.0-beta"[:3])
    assert version_key("1") > version_key(None)

    def candidate(version: str, status: str, rank: int = STORED) -> Candidate[str]:
        return Candidate(version, status, "", rank, lambda: f"{version} {status} {rank}")

    rows = [
        candidate("1.9", "active"),
        candidate("1.10", "active"),
        candidate("2", "draft"),
        candidate("3", "retired"),
    ]
    chosen = choose(rows, None)
    assert chosen is not None
    assert chosen.version == "1.10"
    assert choose(rows, "4") is None
    same = [candidate("1", "active", rank) for rank in (STORED, IMPORTED, SHIPPED)]
    best = choose(same, None)
    assert best is not None
    assert best.rank == IMPORTED
