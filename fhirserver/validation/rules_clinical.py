"""Invariants of the clinical, administrative and financial resources."""

from __future__ import annotations

from typing import Any

from fhirserver.validation.references import literal_type
from fhirserver.validation.rules import (
    Test,
    absent,
    coded,
    count,
    each,
    in_order,
    just_one,
    needs,
    not_both,
    only_if,
    present,
    prohibited_if,
    some,
)

UCUM = "http://unitsofmeasure.org"
TERMINOLOGY = "http://terminology.hl7.org/CodeSystem/"

_value, _abatement, _chromosome = present("value[x]"), present("abatement[x]"), present("chromosome")


def _entered_in_error(resource: Any, system: str) -> bool:
    return coded(resource.get("verificationStatus"), TERMINOLOGY + system, "entered-in-error")


def _allergy_status(allergy: Any) -> bool:
    return "clinicalStatus" in allergy or _entered_in_error(allergy, "allergyintolerance-verification")


def _allergy_no_status(allergy: Any) -> bool:
    return "clinicalStatus" not in allergy or not _entered_in_error(
        allergy, "allergyintolerance-verification"
    )


def _condition_abated(condition: Any) -> bool:
    return not _abatement(condition) or coded(
        condition.get("clinicalStatus"),
        TERMINOLOGY + "condition-clinical",
        "resolved",
        "remission",
        "inactive",
    )


def _condition_no_status(condition: Any) -> bool:
    return "clinicalStatus" not in condition or not _entered_in_error(condition, "condition-ver-status")


def _appointment_times(appointment: Any) -> bool:
    if appointment.get("status") in ("proposed", "cancelled", "waitlist"):
        return True
    return present("start")(appointment) and present("end")(appointment)


def _both_or_none(first: str, second: str) -> Test:
    return lambda value: present(first)(value) == present(second)(value)


def _on_behalf_of(participant: Any) -> bool:
    if "onBehalfOf" not in participant or "member" not in participant:
        return True
    return literal_type(participant["member"]) in (None, "Practitioner")


def _observation_value(observation: Any) -> bool:
    """obs-7: a component with the code of the observation itself excludes a value of the observation."""
    components = observation.get("component")
    if not components or not _value(observation):
        return True
    own = {
        (c.get("system"), c.get("code")) for c in observation.get("code", {}).get("coding", ()) if "code" in c
    }
    return not any(
        (coding.get("system"), coding.get("code")) in own
        for component in components
        for coding in component.get("code", {}).get("coding", ())
    )


def _percentages(value: Any) -> bool:
    if not isinstance(value, dict):
        return True
    ends = [value[end] for end in ("low", "high") if end in value]
    return all(end.get("code") == "%" and end.get("system") == UCUM for end in ends)


def _sequence_genome(reference: Any) -> bool:
    return _chromosome(reference) == present("genomeBuild")(reference)


def _sequence_source(reference: Any) -> bool:
    return count(reference, "genomeBuild", "referenceSeqId", "referenceSeqPointer", "referenceSeqString") == 1


def _strata(report: Any) -> bool:
    one = just_one("value", "component")
    return all(
        one(stratum)
        for group in report.get("group", ())
        for stratifier in group.get("stratifier", ())
        for stratum in stratifier.get("stratum", ())
    )


TESTS: dict[str, Test] = {
    "ait-1": _allergy_status,
    "ait-2": _allergy_no_status,
    "app-1": some("type", "actor"),
    "app-2": _both_or_none("start", "end"),
    "app-3": _appointment_times,
    # R4 writes no-show here and noshow in the value set; the value set is what a resource can hold.
    "app-4": only_if("cancelationReason", "status", "noshow", "no-show", "cancelled"),
    "apr-1": some("participantType", "actor"),
    "ces-1": just_one("category", "productOrService"),
    "cmp-1": some("text", "entry", "section"),
    "cmp-2": not_both("emptyReason", "entry"),
    "con-1": some("summary", "assessment"),
    "con-2": some("code", "detail"),
    "con-4": _condition_abated,
    "con-5": _condition_no_status,
    "cpl-3": not_both("detail", "reference"),
    "ctm-1": _on_behalf_of,
    "fhs-1": not_both("age[x]", "born[x]"),
    "fhs-2": needs("estimatedAge", "age[x]"),
    "gol-1": needs("detail[x]", "measure"),
    "grp-1": only_if("member", "actual", True),
    "imm-1": some("documentType", "reference"),
    "imr-1": some("vaccineCode", "targetDisease"),
    "inv-1 Task": in_order("authoredOn", "lastModified"),
    "ipn-1": some("identifier", "name"),
    "lnk-1": lambda linkage: count(linkage, "item") > 1,
    "lst-1": not_both("emptyReason", "entry"),
    "lst-2": lambda list_: list_.get("mode") == "changes" or each("entry", absent("deleted"))(list_),
    "lst-3": lambda list_: list_.get("mode") == "working" or each("entry", absent("date"))(list_),
    "mad-1": some("dose", "rate[x]"),
    "mdd-1": in_order("whenPrepared", "whenHandedOver"),
    "mrp-1": prohibited_if("type", "data-collection", "group"),
    "mrp-2": _strata,
    "msq-3": lambda sequence: sequence.get("coordinateSystem") in (0, 1),
    "msq-5": _sequence_genome,
    "msq-6": _sequence_source,
    "obs-3": some("low", "high", "text"),
    "obs-6": lambda observation: "dataAbsentReason" not in observation or not _value(observation),
    "obs-7": _observation_value,
    "org-1": some("identifier", "name"),
    "org-2": lambda address: address.get("use") != "home",
    "org-3": lambda telecom: telecom.get("use") != "home",
    "pat-1": some("name", "telecom", "address", "organization"),
    "ppc-1": some("policy", "policyRule"),
    "prr-1": needs("orderDetail", "code"),
    "qrs-1": not_both("answer", "item"),
    "ras-1": _percentages,
    "ras-2": lambda prediction: prediction.get("probabilityDecimal", 0) <= 100,
    "rqg-1": just_one("resource", "action"),
    "sev-1": not_both("name", "query"),
}
"""Invariant key, followed by its path where the key has several meanings -> predicate."""
