"""Which profiles a resource is checked against, and what is said of those that cannot be used.

Source: hl7.org/fhir/R4/profiling.html#resources, validation.html
"""

from __future__ import annotations

import copy
import random
from typing import Any

import pytest

from fhirserver.outcome import Invalid
from fhirserver.r4.fhirpath.evaluate import FhirPath
from fhirserver.r4.profileform import distilled
from fhirserver.validation import Validator
from fhirserver.validation.profiled import Policy
from fhirserver.validation.profiles import Profiles
from tests.unit.validation.cases_profiles import CASES
from tests.unit.validation.kit import Json, changed
from tests.unit.validation.profilekit import (
    CANONICAL,
    R4,
    elements,
    extension,
    found,
    profile,
    sliced,
    terminology,
    validator,
)
from tests.unit.validation.test_validator import JUNK, places

BORN = profile("born", "Patient", {"birthDate": {"min": 1}}, version="1.2.0")
NAMED = profile("named-too", "Patient", {"name": {"max": "1"}}, base=BORN["url"])
MISSING = ("error", "missing-element", "Patient.birthDate")


def claiming(*canonicals: str, **more: Any) -> Json:
    return changed("Patient", {"meta": {"profile": list(canonicals)}, **more})


def test_a_claimed_profile_is_checked() -> None:
    assert found(validator(BORN).validate(claiming(BORN["url"]))) == {MISSING}
    assert validator(BORN).validate(claiming(BORN["url"], birthDate="2020")) == []


def test_a_resource_without_claims_is_checked_by_its_type_alone() -> None:
    assert validator(BORN).validate(changed("Patient", {})) == []


@pytest.mark.parametrize("severity", ["warning", "error"])
def test_an_unknown_claim_is_a_warning_or_an_error_as_the_policy_says(severity: str) -> None:
    checker = validator(BORN, policy=Policy(unknown_profile=severity))
    resource = claiming(BORN["url"], "urn:nothing", birthDate="2020")
    assert found(checker.validate(resource)) == {(severity, "unknown-profile", "Patient.meta.profile[1]")}


@pytest.mark.parametrize("severity", ["warning", "error"])
def test_an_unknown_modifier_is_a_warning_or_an_error_as_the_policy_says(severity: str) -> None:
    checker = validator(policy=Policy(unknown_modifier=severity))
    resource = changed("Patient", {"modifierExtension": [{"url": "urn:x", "valueString": "x"}]})
    issues = checker.validate(resource)
    assert found(issues) == {(severity, "unknown-modifier-extension", "Patient.modifierExtension[0]")}


def test_in_base_mode_neither_claims_nor_extensions_are_looked_at() -> None:
    color = extension("tone", "string")
    resource = claiming(BORN["url"], extension=[{"url": color["url"], "valueCode": "x"}])
    assert validator(BORN, color, policy=Policy("base")).validate(resource) == []
    assert len(validator(BORN, color).validate(resource)) == 2


def test_an_assigned_profile_is_checked_without_a_claim_and_claims_are_not() -> None:
    policy = Policy("assigned", assigned={"Patient": (BORN["url"],)})
    other = profile("tall", "Patient", {"photo": {"min": 1}})
    checker = validator(BORN, other, policy=policy)
    assert found(checker.validate(claiming(other["url"]))) == {MISSING}
    assert checker.validate(changed("Observation", {})) == []


def test_a_type_may_have_a_mode_of_its_own() -> None:
    policy = Policy("base", {"Patient": "claimed"})
    seen = profile("seen", "Observation", {"note": {"min": 1}})
    checker = validator(BORN, seen, policy=policy)
    assert found(checker.validate(claiming(BORN["url"]))) == {MISSING}
    assert checker.validate(changed("Observation", {"meta": {"profile": [seen["url"]]}})) == []


def test_asking_for_a_profile_checks_it_in_every_mode() -> None:
    for mode in ("base", "claimed", "assigned"):
        checker = validator(BORN, policy=Policy(mode))
        issues = checker.validate(changed("Patient", {}), profiles=[BORN["url"]])
        assert found(issues) == {MISSING}


def test_a_profile_on_a_profile_holds_what_both_say_and_says_it_once() -> None:
    checker = validator(BORN, NAMED)
    resource = claiming(NAMED["url"], BORN["url"], name=[{"text": "a"}, {"text": "b"}])
    issues = checker.validate(resource)
    assert found(issues) == {MISSING, ("error", "too-many-elements", "Patient.name")}
    assert len(issues) == 2


def test_a_version_in_a_claim_must_be_that_of_the_profile() -> None:
    checker = validator(BORN)
    assert found(checker.validate(claiming(BORN["url"] + "|1.2.0"))) == {MISSING}
    assert found(checker.validate(claiming(BORN["url"] + "|2.0.0"))) == {
        ("warning", "unknown-profile", "Patient.meta.profile[0]")
    }


def test_a_profile_of_another_type_is_refused_at_the_claim() -> None:
    assert found(validator().validate(claiming(R4 + "bp"))) == {
        ("error", "profile-of-other-type", "Patient.meta.profile[0]")
    }


def test_a_profile_that_cannot_be_is_named_and_keeps_no_resource_out() -> None:
    broken = profile("broken", "Patient", {"gender": {"max": "2"}})
    issues = validator(broken).validate(claiming(broken["url"]))
    assert found(issues) == {("warning", "profile-unusable", "Patient.meta.profile[0]")}


def test_claims_of_entries_and_contained_resources_are_checked() -> None:
    checker = validator(BORN)
    bundle = {"resourceType": "Bundle", "type": "collection", "entry": [{"resource": claiming(BORN["url"])}]}
    assert found(checker.validate(bundle)) == {
        ("error", "missing-element", "Bundle.entry[0].resource.birthDate")
    }
    holder = changed("Observation", {"contained": [claiming(BORN["url"])], "subject.reference": "#p"})
    assert found(checker.validate(holder)) == {
        ("error", "missing-element", "Observation.contained[0].birthDate")
    }
    assert checker.validate(bundle, plain=True) == []


def test_a_bundled_target_is_held_against_the_profile_of_the_reference() -> None:
    target = {"type": [{"code": "Reference", "targetProfile": [BORN["url"]]}]}
    seen = profile("of-born", "Observation", {"subject": target})
    url = "urn:uuid:1d6b2a5e-7a0e-4a2c-8f3e-6f1f6d1f0a01"
    observation = changed("Observation", {"subject.reference": url, "meta": {"profile": [seen["url"]]}})

    def bundle(patient: Json) -> Json:
        entries = [{"fullUrl": url, "resource": patient}, {"resource": observation}]
        return {"resourceType": "Bundle", "type": "collection", "entry": entries}

    checker = validator(BORN, seen)
    assert checker.validate(bundle(changed("Patient", {"birthDate": "2020"}))) == []
    assert found(checker.validate(bundle(changed("Patient", {})))) == {
        ("error", "wrong-target-profile", "Bundle.entry[1].resource.subject.reference")
    }


def test_a_reference_that_must_stay_in_the_bundle_does() -> None:
    target = {"type": [{"code": "Reference", "targetProfile": [R4 + "Patient"], "aggregation": ["bundled"]}]}
    seen = profile("bundled", "Observation", {"subject": target})
    url = "urn:uuid:1d6b2a5e-7a0e-4a2c-8f3e-6f1f6d1f0a01"

    def bundle(reference: str) -> Json:
        observation = changed(
            "Observation", {"subject.reference": reference, "meta": {"profile": [seen["url"]]}}
        )
        entries = [{"fullUrl": url, "resource": changed("Patient", {})}, {"resource": observation}]
        return {"resourceType": "Bundle", "type": "collection", "entry": entries}

    checker = validator(seen)
    assert checker.validate(bundle(url)) == []
    assert checker.validate(bundle("Patient/p")) == []
    assert found(checker.validate(bundle("Patient/other"))) == {
        ("error", "wrong-aggregation", "Bundle.entry[1].resource.subject.reference")
    }
    assert (
        checker.validate(
            changed("Observation", {"subject.reference": "Patient/other"}), profiles=[seen["url"]]
        )
        == []
    )


def test_a_write_is_refused_for_errors_and_not_for_warnings() -> None:
    checker = validator(BORN)
    checker.require(claiming("urn:nothing"))
    with pytest.raises(Invalid) as refused:
        checker.require(claiming("urn:nothing", BORN["url"]))
    assert [issue.severity for issue in refused.value.issues] == ["error", "warning"]


def test_a_thorough_validation_says_what_could_be_better() -> None:
    resource = changed("Patient", {"maritalStatus": {"coding": [{"system": "urn:x", "code": "y"}]}})
    resource["extension"] = [{"url": "urn:unknown", "valueString": "x"}]
    assert validator().validate(resource) == []
    assert found(validator().validate(resource, thorough=True)) >= {
        ("warning", "code-outside-value-set", "Patient.maritalStatus"),
        ("warning", "invariant-dom-6", "Patient"),
        ("information", "unknown-extension", "Patient.extension[0]"),
    }


def test_what_a_profile_asks_and_nobody_can_check_is_said_once() -> None:
    odd = profile(
        "odd",
        "Patient",
        {
            "": {
                "constraint": [{"key": "o-1", "severity": "error", "human": "odd", "expression": "nonsense("}]
            },
            "identifier": sliced("value", "system"),
            "identifier:a": {"min": 1},
            "maritalStatus": {"binding": {"strength": "required", "valueSet": "urn:nowhere"}},
        },
    )
    resource = changed("Patient", {"maritalStatus": {"coding": [{"system": "urn:x", "code": "y"}]}})
    checker = validator(odd)
    assert checker.validate(resource, profiles=[odd["url"]]) == []
    issues = checker.validate(resource, profiles=[odd["url"]], thorough=True)
    [note] = [issue for issue in issues if issue.code == "profile-partly-checked"]
    assert "o-1" in note.text
    assert "slice a" in note.text
    [value_set] = [issue for issue in issues if issue.code == "value-set-unknown"]
    assert "urn:nowhere" in value_set.text


def test_an_invariant_that_fails_to_run_is_a_warning() -> None:
    rule = {
        "key": "r-1",
        "severity": "error",
        "human": "one name",
        "expression": "name.given.toInteger() > 1",
    }
    tricky = profile("tricky", "Patient", {"": {"constraint": [rule]}})
    issues = validator(tricky).validate(changed("Patient", {}), profiles=[tricky["url"]])
    assert found(issues) == {("warning", "invariant-not-evaluated", "Patient")}


def test_must_support_elements_that_are_left_out_are_listed_on_request() -> None:
    asked = profile(
        "supported",
        "Patient",
        {"birthDate": {"mustSupport": True}, "name.family": {"mustSupport": True}, "photo": {"mustSupport": True, "max": "0"}},
    )  # fmt: skip
    resource = changed("Patient", {"name": [{"family": "A"}, {"text": "b"}]})
    checker = validator(asked)
    assert found(checker.left_out(resource, [asked["url"]])) == {
        ("information", "must-support-absent", "Patient.birthDate"),
        ("information", "must-support-absent", "Patient.name[1].family"),
    }
    assert checker.left_out(resource) == []
    assert checker.left_out("junk", [asked["url"]]) == []


def test_no_issue_of_a_profile_repeats_a_value_of_the_request() -> None:
    secret = "Zuleika 1234"
    tight = profile(
        "tight",
        "Patient",
        {
            "name": {"patternHumanName": {"use": "official"}},
            "name.family": {"fixedString": "x", "maxLength": 3},
            "gender": {"binding": {"strength": "required", "valueSet": R4.replace("StructureDefinition", "ValueSet") + "name-use"}},
            "identifier": sliced("value", "system", "closed"),
            "identifier:a.system": {"fixedUri": "urn:a"},
        },
    )  # fmt: skip
    resource = changed(
        "Patient", {"name.0.family": secret, "identifier": [{"system": "urn:b", "value": secret}]}
    )
    issues = validator(tight).validate(resource, profiles=[tight["url"]], thorough=True)
    assert len(issues) >= 4
    assert "Zuleika" not in repr(issues)


def test_a_validator_without_profiles_says_what_it_said_before() -> None:
    plain = Validator(elements())
    assert plain.validate(claiming("urn:nothing")) == []
    assert not plain.knows(R4 + "bp")
    assert validator().knows(R4 + "bp")


def test_the_registry_reads_definitions_that_carry_only_a_snapshot() -> None:
    profiles = Profiles.of([BORN], elements=elements(), terminology=terminology())
    bare = {k: v for k, v in BORN.items() if k != "differential"} | {"url": CANONICAL + "bare"}
    bare["snapshot"] = {"element": profiles.snapshot(BORN["url"])}
    assert found(validator(bare).validate(claiming(CANONICAL + "bare"))) == {MISSING}


def test_an_assigned_profile_that_is_not_known_is_named() -> None:
    checker = validator(
        policy=Policy("assigned", assigned={"Patient": ("urn:nothing",)}, unknown_profile="error")
    )
    assert found(checker.validate(changed("Patient", {}))) == {("error", "unknown-profile", "Patient")}


@pytest.mark.parametrize("seed", range(4))
def test_a_definition_with_junk_in_any_place_is_refused_or_works_and_never_crashes(seed: int) -> None:
    chosen = random.Random(seed)
    junk = []
    for number in range(60):
        model = chosen.choice(CASES)
        definition = copy.deepcopy(profile(f"junk-{number}", model.base, dict(model.rows)))
        for _ in range(chosen.randint(1, 3)):
            spots = places(definition["differential"])
            container, key = chosen.choice(spots or [(definition, "differential")])
            container[key] = copy.deepcopy(chosen.choice(JUNK))
        junk.append((model, {"resourceType": "StructureDefinition"} | distilled(definition)))
    checker = validator(*(definition for _, definition in junk))
    for model, definition in junk:
        for changes in (model.good, model.bad):
            issues = checker.validate(changed(model.base, changes), profiles=[definition["url"]])
            assert isinstance(issues, list)


def test_a_context_that_is_not_evaluated_forbids_no_place_and_is_told() -> None:
    odd = extension("odd", "string", "Patient.name.frobnicate()", "fhirpath")
    strict = extension("strict", "string", "Patient.name", "fhirpath")
    resource = claiming(BORN["url"], birthDate="2020", extension=[{"url": odd["url"], "valueString": "x"}])
    assert validator(BORN, odd).validate(resource) == []
    profiles = Profiles.of((odd, strict), elements=elements(), terminology=terminology())
    assert "frobnicate()" in " ".join(profiles.notes(odd["url"]))
    assert profiles.notes(strict["url"]) == ()
    resource["extension"][0]["url"] = strict["url"]
    assert found(validator(BORN, strict).validate(resource)) == {
        ("error", "extension-context", "Patient.extension[0]")
    }


def test_a_context_is_evaluated_once_for_all_extensions_of_a_resource(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    evaluated: list[Any] = []
    real = FhirPath.selection

    def counting(self: FhirPath, expression: str) -> Any:
        select = real(self, expression)
        return lambda resource, root: (evaluated.append(resource), select(resource, root))[1]

    monkeypatch.setattr(FhirPath, "selection", counting)
    strict = extension("strict", "string", "Patient.name", "fhirpath")
    resource = claiming(BORN["url"], birthDate="2020", extension=[{"url": strict["url"], "valueString": "x"}])
    resource["extension"] = [dict(resource["extension"][0]) for _ in range(50)]
    assert len(found(validator(BORN, strict).validate(resource))) == 50
    assert len(evaluated) == 1
