"""Invariants of the data types, Bundle and Parameters."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Any

from fhirserver.validation.rules import (
    Test,
    absent,
    count,
    distinct,
    distinct_in,
    each,
    in_order,
    just_one,
    needs,
    not_both,
    only_if,
    present,
    required_if,
    some,
)

UCUM = "http://unitsofmeasure.org"
MEALS = frozenset({"C", "CM", "CD", "CV"})
ELEMENT_PATH = re.compile(
    r"[^\s.,:;'\"/|?!@#$%&*()\[\]{}]{1,64}(\.[^\s.,:;'\"/|?!@#$%&*()\[\]{}]{1,64}(\[x\])?(:[^\s.]+)?)*"
)
SLICE_NAME = re.compile(r"[a-zA-Z0-9/\-_\[\]@]+")
CODED_TYPES = frozenset({"code", "Coding", "CodeableConcept", "Quantity", "string", "uri"})

_request, _response, _extension = present("request"), present("response"), present("extension")
_value, _resource, _part = present("value[x]"), present("resource"), present("part")
_pattern, _fixed, _content_reference = present("pattern[x]"), present("fixed[x]"), present("contentReference")


def _measured(quantity: Any) -> bool:
    """A value has a code, and a system is UCUM."""
    return ("code" in quantity or "value" not in quantity) and quantity.get("system", UCUM) == UCUM


def _age(quantity: Any) -> bool:
    return _measured(quantity) and quantity.get("value", 1) > 0


def _count(quantity: Any) -> bool:
    return _measured(quantity) and quantity.get("code", "1") == "1" and _whole(quantity.get("value", 0))


def _whole(number: Any) -> bool:
    """True for a whole number. int() would spell out 1e999999999, so a Decimal is rounded in its own form."""
    if isinstance(number, Decimal):
        return bool(number == number.to_integral_value())
    return bool(number == int(number))


def _duration(quantity: Any) -> bool:
    return "code" not in quantity or (quantity.get("system") == UCUM and "value" in quantity)


def _extension_value(extension: Any) -> bool:
    """ext-1. Its other properties are known to be url, id, extension and one value[x]."""
    others = len(extension) - ("url" in extension) - ("id" in extension) - ("_url" in extension)
    nested = "extension" in extension
    return nested != (others - nested > 0)


def _range(value: Any) -> bool:
    low, high = value.get("low", {}), value.get("high", {})
    if "value" not in low or "value" not in high:
        return True
    unit_low = (low.get("system"), low.get("code"), low.get("unit"))
    unit_high = (high.get("system"), high.get("code"), high.get("unit"))
    comparable = unit_low == unit_high or (unit_low[1] is not None and unit_low[:2] == unit_high[:2])
    return not comparable or bool(low["value"] <= high["value"])


def _ratio(value: Any) -> bool:
    numerator = "numerator" in value
    return numerator == ("denominator" in value) and (numerator or "extension" in value)


def _offset(repeat: Any) -> bool:
    return absent("offset")(repeat) or ("when" in repeat and MEALS.isdisjoint(repeat["when"]))


def _trigger(trigger: Any) -> bool:
    kind = trigger.get("type", "")
    return (
        (kind != "named-event" or present("name")(trigger))
        and (kind != "periodic" or present("timing[x]")(trigger))
        and (not kind.startswith("data-") or "data" in trigger)
    )


def _min_max(element: Any) -> bool:
    least, most = element.get("min"), element.get("max")
    return least is None or most is None or not most.isdecimal() or least <= int(most[:10])


def _bound(element: Any) -> bool:
    codes = [type_["code"] for type_ in element.get("type", ()) if "code" in type_]
    return "binding" not in element or not codes or any(code in CODED_TYPES for code in codes)


def _bare_reference(element: Any) -> bool:
    if not _content_reference(element):
        return True
    names = "type defaultValue[x] fixed[x] pattern[x] example minValue[x] maxValue[x] maxLength binding"
    return not some(*names.split())(element)


def _one_type(given: Test) -> Test:
    return lambda element: count(element, "type") <= 1 or not given(element)


def _parameter(parameter: Any) -> bool:
    if "part" in parameter:
        return not _value(parameter) and "resource" not in parameter
    return _value(parameter) != ("resource" in parameter)


def _entries_with(name: str, *kinds: str) -> Test:
    def test(bundle: Any) -> bool:
        expected = bundle.get("type") in kinds
        return all((name in entry) == expected for entry in bundle.get("entry", ()))

    return test


def _full_urls(bundle: Any) -> bool:
    if bundle.get("type") == "history":
        return True
    return distinct(
        (entry["fullUrl"], entry.get("resource", {}).get("meta", {}).get("versionId"))
        for entry in bundle.get("entry", ())
        if "fullUrl" in entry
    )


def _starts_with(kind: str, resource_type: str) -> Test:
    def test(bundle: Any) -> bool:
        if bundle.get("type") != kind:
            return True
        entries = bundle.get("entry")
        return bool(entries) and entries[0].get("resource", {}).get("resourceType") == resource_type

    return test


def _identified_document(bundle: Any) -> bool:
    identifier = bundle.get("identifier", {})
    return bundle.get("type") != "document" or ("system" in identifier and "value" in identifier)


TESTS: dict[str, Test] = {
    "age-1": _age,
    "att-1": needs("data", "contentType"),
    "cnt-3": _count,
    "cpt-2": needs("value", "system"),
    "dis-1": _measured,
    "drq-1": just_one("path", "searchParam"),
    "drq-2": just_one("path", "searchParam"),
    "drt-1": _duration,
    "exp-1": some("expression", "reference"),
    "ext-1": _extension_value,
    "per-1": in_order("start", "end"),
    "qty-3": needs("code", "system"),
    "rat-1": _ratio,
    "rng-2": _range,
    "tim-1": needs("duration", "durationUnit"),
    "tim-2": needs("period", "periodUnit"),
    "tim-4": lambda repeat: repeat.get("duration", 0) >= 0,
    "tim-5": lambda repeat: repeat.get("period", 0) >= 0,
    "tim-6": needs("periodMax", "period"),
    "tim-7": needs("durationMax", "duration"),
    "tim-8": needs("countMax", "count"),
    "tim-9": _offset,
    "tim-10": not_both("timeOfDay", "when"),
    "trd-1": not_both("data", "timing[x]"),
    "trd-2": needs("condition", "data"),
    "trd-3": _trigger,
    "eld-1": some("discriminator", "description"),
    "eld-2": _min_max,
    "eld-3": lambda most: most == "*" or most.isdecimal(),
    "eld-4": lambda type_: "aggregation" not in type_ or type_.get("code") in ("Reference", "canonical"),
    "eld-5": _bare_reference,
    "eld-6": _one_type(_fixed),
    "eld-7": _one_type(_pattern),
    "eld-8": not_both("pattern[x]", "fixed[x]"),
    "eld-11": _bound,
    "eld-12": lambda binding: binding.get("valueSet", "urn:").startswith(("http:", "https", "urn:")),
    "eld-13": distinct_in("type", "code"),
    "eld-14": distinct_in("constraint", "key"),
    "eld-15": not_both("defaultValue[x]", "meaningWhenMissing"),
    "eld-16": lambda element: SLICE_NAME.fullmatch(element.get("sliceName", "x")) is not None,
    "eld-17": lambda type_: "targetProfile" not in type_ or type_.get("code") in ("Reference", "canonical"),
    "eld-18": lambda element: element.get("isModifier") is not True or present("isModifierReason")(element),
    "eld-19": lambda element: ELEMENT_PATH.fullmatch(element.get("path", "x")) is not None,
    "eld-22": needs("sliceIsConstraining", "sliceName"),
    "inv-1 Parameters.parameter": _parameter,
    "bdl-1": only_if("total", "type", "searchset", "history"),
    "bdl-2": lambda bundle: bundle.get("type") == "searchset" or each("entry", absent("search"))(bundle),
    "bdl-3": _entries_with("request", "batch", "transaction", "history"),
    "bdl-4": _entries_with("response", "batch-response", "transaction-response", "history"),
    "bdl-5": some("resource", "request", "response"),
    "bdl-7": _full_urls,
    "bdl-8": lambda entry: "/_history/" not in entry.get("fullUrl", ""),
    "bdl-9": _identified_document,
    "bdl-10": required_if("type", "document", "timestamp"),
    "bdl-11": _starts_with("document", "Composition"),
    "bdl-12": _starts_with("message", "MessageHeader"),
}
"""Invariant key, followed by its path where the key has several meanings -> predicate."""
