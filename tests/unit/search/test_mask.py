"""What a mask leaves of a resource. docs/explanation/access.md; threats C4, C5, C6."""

from __future__ import annotations

import copy
from functools import cache
from typing import Any

import orjson
import pytest

from fhirserver.access.masks import TABLES, MaskBook
from fhirserver.r4.definitions import Definitions
from fhirserver.r4.elements import Elements
from fhirserver.r4.identifiers import shortened
from fhirserver.search.mask import MASKED, Masks, marks, masked
from fhirserver.search.summary import SUBSETTED
from fhirserver.validation import Validator
from tests.kit.package import package_dir

CPF, CNS = "http://rnds.saude.gov.br/fhir/r4/NamingSystem/cpf", "https://saude.gov.br/fhir/sid/cns"
PLACE = {"extension": [MASKED]}
RACE = {"url": "https://ips.saude.gov.br/fhir/StructureDefinition/raca-br-ips", "valueCode": "CANARY"}
CITY = {"url": "https://fhirserver.example/br/StructureDefinition/municipio-ibge", "valueCode": "3550308"}
Json = dict[str, Any]


@cache
def book() -> MaskBook:
    return MaskBook(Definitions.load(), Elements.load())


def shown(
    resource: Json, *names: str, closed: tuple[str, ...] = (), whole: bool = False, **others: str
) -> Json:
    """`resource` under the masks `names`; `others`: masks of other types."""
    type = resource["resourceType"]
    of = {type: book().mask(names, type)} if names else {}
    of |= {other: book().mask([mask], other) for other, mask in others.items()}
    before = copy.deepcopy(resource)
    found = masked(resource, Masks(of, frozenset(closed), book().nothing), whole=whole)
    assert resource == before
    return found


def patient(**more: Any) -> Json:
    return {
        "resourceType": "Patient",
        "id": "p",
        "name": [{"family": "Abreu"}],
        "birthDate": "1980-01-01",
    } | more


def encounter(**more: Any) -> Json:
    return {"resourceType": "Encounter", "id": "e", "status": "finished", "class": {"code": "AMB"}} | more


def test_what_the_mask_does_not_name_is_left_out_and_the_copy_says_so() -> None:
    found = shown(patient(maritalStatus={"text": "CANARY"}, text={"div": "CANARY"}), "administrative")
    assert found == patient() | {"meta": {"tag": [SUBSETTED]}}


def test_a_resource_without_anything_hidden_stays_the_very_same() -> None:
    whole = patient(active=True)
    assert shown(whole, "administrative") is whole
    assert shown(patient(photo=[{"title": "x"}]), "administrative", whole=True) == patient(
        photo=[{"title": "x"}]
    )


def test_profiles_tags_and_the_source_are_hidden_but_labels_are_not() -> None:
    label = {"system": "s", "code": "N"}
    meta = {"versionId": "1", "lastUpdated": "2026-01-01T00:00:00Z", "security": [label]}
    found = shown(patient(meta=meta | {"profile": ["CANARY"], "source": "CANARY", "tag": [{"code": "CANARY"}]}),
                  "administrative")  # fmt: skip
    assert found["meta"] == meta | {"tag": [SUBSETTED]}


def test_extensions_are_left_out_wherever_they_are_but_for_those_of_addresses() -> None:
    found = shown(
        patient(
            extension=[RACE], _birthDate={"extension": [RACE]}, gender="female",
            name=[{"family": "Abreu", "_family": {"extension": [RACE]}, "given": ["Ana", "Bia"],
                   "_given": [None, {"extension": [RACE]}], "extension": [RACE]}],
            address=[{"city": "São Paulo", "_city": {"extension": [CITY, RACE]}, "extension": [RACE]}],
        ),
        "administrative",
    )  # fmt: skip
    assert found == patient(
        gender="female",
        name=[{"family": "Abreu", "given": ["Ana", "Bia"]}],
        address=[{"city": "São Paulo", "_city": {"extension": [CITY]}}],
        meta={"tag": [SUBSETTED]},
    )


def test_a_null_that_stood_for_an_extension_goes_with_it() -> None:
    name = {"given": [None, "Ana"], "_given": [{"extension": [RACE]}, None]}
    assert shown(patient(name=[name]), "administrative")["name"] == [{"given": ["Ana"]}]
    other = {"given": [None, None], "_given": [{"extension": [RACE]}, {"extension": [CITY]}]}
    assert shown(patient(name=[other]), "administrative")["name"] == [
        {"given": [None], "_given": [{"extension": [CITY]}]}
    ]


def test_that_the_meaning_is_modified_stays_but_not_how() -> None:
    modifier = {"url": "http://example.org/not", "valueString": "CANARY"}
    place = {"url": "http://example.org/not", "_valueString": PLACE}
    found = shown(
        encounter(modifierExtension=[modifier], location=[{"modifierExtension": [modifier]}]), "desk"
    )
    assert (found["modifierExtension"], found["location"]) == ([place], [{"modifierExtension": [place]}])


def test_a_required_element_leaves_a_place() -> None:
    coverage = {"resourceType": "Coverage", "id": "c", "status": "active", "beneficiary": {"display": "CANARY"},
                "payor": [{"display": "CANARY"}, {"reference": "Organization/o", "display": "CANARY"}]}  # fmt: skip
    found = shown(coverage, "pseudonymous")
    assert (found["beneficiary"], found["payor"]) == (PLACE, [{"reference": "Organization/o"}])
    inside = shown(encounter(contained=[{"resourceType": "Slot", "id": "s", "start": "CANARY", "status": "busy"}],
                             appointment=[{"reference": "#s"}]), "desk", closed=("Slot",))  # fmt: skip
    assert inside["contained"] == [{"resourceType": "Slot", "id": "s", "_start": PLACE, "_status": PLACE}]


def test_of_codes_and_references_a_part_can_be_shown() -> None:
    procedure = {"resourceType": "Procedure", "id": "x", "status": "completed",
                 "subject": {"reference": "Patient/p", "display": "Abreu"},
                 "code": {"coding": [{"code": "1"}], "text": "CANARY"}, "category": {"text": "CANARY"},
                 "encounter": {"reference": "Encounter/e", "display": "CANARY"},
                 "performedString": "CANARY", "note": [{"text": "CANARY"}]}  # fmt: skip
    assert shown(procedure, "administrative") == {
        "resourceType": "Procedure", "id": "x", "meta": {"tag": [SUBSETTED]}, "status": "completed",
        "subject": {"reference": "Patient/p", "display": "Abreu"}, "code": {"coding": [{"code": "1"}]},
        "category": PLACE, "encounter": {"reference": "Encounter/e"},
    }  # fmt: skip


def test_what_one_of_several_masks_shows_is_shown() -> None:
    visit = encounter(account=[{"reference": "Account/a"}], reasonCode=[{"text": "CANARY"}])
    assert "account" not in shown(visit, "desk")
    assert shown(visit, "desk", "billing")["account"] == [{"reference": "Account/a"}]
    assert shown(patient(), "pseudonymous", "administrative") == patient()


def test_under_pseudonyms_names_are_places_and_identifiers_are_shortened() -> None:
    person = patient(
        identifier=[{"system": CPF, "value": "529.982.247-25", "use": "official", "assigner": {"display": "CANARY"}},
                    {"system": CNS, "value": "700508128246754", "type": {"coding": [{"code": "HC"}], "text": "CANARY"}},
                    {"system": "http://other.example", "value": "CANARY"}, {"value": "CANARY"}],
        telecom=[{"value": "CANARY"}], address=[{"text": "CANARY"}], deceasedBoolean=False,
    )  # fmt: skip
    found = shown(person, "pseudonymous")
    assert found["name"] == found["telecom"] == found["address"] == [PLACE]
    assert (found["birthDate"], found["deceasedBoolean"]) == ("1980-01-01", False)
    assert found["identifier"] == [
        {"use": "official", "system": CPF, "value": "***.982.247-**", "_value": PLACE},
        {"system": CNS, "type": {"coding": [{"code": "HC"}]}, "value": "*** **** **** 6754", "_value": PLACE},
        {"system": "http://other.example", "_value": PLACE},
        {"_value": PLACE},
    ]
    assert "CANARY" not in str(found)
    assert marks(found) == 8  # and the tag


@pytest.mark.parametrize(
    ("system", "value", "short"),
    [(CPF, "52998224725", "***.982.247-**"), (CPF, "5299822472", None), (CPF, "***.982.247-**", None),
     (CNS, "700 5081 2824 6754", "*** **** **** 6754"), (CNS, "7005", None),
     ("https://saude.gov.br/fhir/sid/cnpj", "11222333000181", None), ("http://other.example", "52998224725", None)],
)  # fmt: skip
def test_only_cpf_and_cns_have_a_short_form(system: str, value: str, short: str | None) -> None:
    assert shortened(system, value) == short


DOCTOR = {
    "resourceType": "Practitioner",
    "id": "d",
    "telecom": [{"value": "CANARY"}],
    "name": [{"family": "Cruz"}],
}


def test_what_is_inside_of_a_whole_resource_is_masked_by_its_own_type() -> None:
    claim = {"resourceType": "Claim", "id": "c", "text": {"div": "CANARY"}, "patient": {"reference": "#p"},
             "contained": [patient(maritalStatus={"text": "CANARY"}), {"resourceType": "Organization", "id": "o"}]}  # fmt: skip
    found = shown(claim, Patient="administrative")
    assert found["contained"] == [patient(), {"resourceType": "Organization", "id": "o"}]
    assert "text" not in found
    assert found["meta"] == {"tag": [SUBSETTED]}
    assert shown(claim, Encounter="desk") is claim


def test_what_a_token_does_not_open_is_not_read_inside_of_what_it_opens() -> None:
    """C6: a token with Patient.rs only is given no contact data of a Practitioner."""
    person = patient(contained=[DOCTOR], generalPractitioner=[{"reference": "#d"}])
    found = shown(person, closed=("Practitioner",))
    assert found["contained"] == [{"resourceType": "Practitioner", "id": "d"}]
    assert found["generalPractitioner"] == [{"reference": "#d"}]
    assert shown(person, closed=("Practitioner",), whole=True)["contained"] == found["contained"]
    assert shown(person, closed=("Device",)) is person


def test_what_only_hidden_elements_refer_to_is_hidden_with_them() -> None:
    condition = {"resourceType": "Condition", "id": "c", "subject": {"reference": "Patient/p"},
                 "asserter": {"reference": "#d"}}  # fmt: skip
    place = {"resourceType": "Location", "id": "l", "managingOrganization": {"reference": "#o"}}
    visit = encounter(
        contained=[condition, DOCTOR, place, {"resourceType": "Organization", "id": "o"}],
        diagnosis=[{"condition": {"reference": "#c"}}],
        location=[{"location": {"reference": "#l"}}],
    )
    assert [each["id"] for each in shown(visit, "desk")["contained"]] == ["l", "o"]


def test_every_example_of_r4_is_still_valid_under_every_mask() -> None:
    """And holds nothing but what the table names: compared by their paths, worked out in another way."""
    validator, seen = Validator(Elements.load()), set()
    types = {type for table in TABLES.values() for type in table}
    paths = [path for type in sorted(types) for path in sorted(package_dir().glob(f"{type}-*.json"))]
    for resource in (orjson.loads(path.read_bytes()) for path in paths):
        for name, table in TABLES.items():
            type = resource["resourceType"]
            if type not in table:
                continue
            seen.add((name, type))
            found = shown(resource, name)
            before = {issue.code for issue in validator.validate(resource, type)}
            assert {issue.code for issue in validator.validate(found, type)} <= before, (name, resource["id"])
            tops = {entry.partition(".")[0].partition(":")[0].lstrip("!") for entry in table[type].split()}
            required = {e.name for e in Elements.load().children(type) if e.min}
            extra = {key.lstrip("_") for key in found} - {
                "resourceType",
                "id",
                "meta",
                "language",
                "contained",
                "implicitRules",
            }
            for key in extra:
                assert any(
                    key == top or (key.startswith(top) and key[len(top)].isupper()) for top in tops | required
                )
    assert seen == {(name, type) for name, table in TABLES.items() for type in table}


def test_marks_count_every_place_and_the_tag() -> None:
    assert marks(patient()) == 0
    assert marks(patient(meta={"tag": [SUBSETTED]}, _birthDate=PLACE, name=[PLACE])) == 3
    assert marks(patient(name=[{"text": "masked"}], meta={"tag": [{"code": "other"}]})) == 0
