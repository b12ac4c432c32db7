"""Invariants of the conformance, knowledge and testing resources."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from fhirserver.validation.rules import (
    Test,
    count,
    distinct,
    distinct_in,
    just_one,
    needs,
    not_both,
    only_if,
    present,
    prohibited_if,
    required_if,
    some,
)

SIMPLE_QUESTIONS = ("boolean", "decimal", "integer", "string", "text", "url", "open-choice")
OPTION_QUESTIONS = frozenset(
    {"choice", "open-choice", "decimal", "integer", "date", "dateTime", "time", "string", "quantity"}
)
ASSERTIONS = [
    "contentType",
    "expression",
    "headerField",
    "minimumId",
    "navigationLinks",
    "path",
    "requestMethod",
    "resource",
    "responseCode",
    "response",
    "validateProfileId",
]
UNADDRESSED = frozenset({"capabilities", "search", "transaction", "history"})

_endpoint, _named = present("endpoint"), present("name")


def _below(items: Iterable[Any], name: str) -> Iterator[Any]:
    """The items and what is nested in them under the same name."""
    stack = list(items)
    while stack:
        item = stack.pop()
        yield item
        stack.extend(item.get(name, ()))


def _unique_concepts(code_system: Any) -> bool:
    return distinct(concept.get("code") for concept in _below(code_system.get("concept", ()), "concept"))


def _unique_links(questionnaire: Any) -> bool:
    return distinct(item.get("linkId") for item in _below(questionnaire.get("item", ()), "item"))


def _compared(target: Any) -> bool:
    return present("comment")(target) or target.get("equivalence") not in ("narrower", "inexact")


def _unique_documents(statement: Any) -> bool:
    return distinct((d.get("profile"), d.get("mode")) for d in statement.get("document", ()))


def _capability(statement: Any) -> bool:
    kind = statement.get("kind")
    return kind != "capability" or ("implementation" not in statement and "software" in statement)


def _messaging(statement: Any) -> bool:
    return statement.get("kind") == "instance" or not any(
        _endpoint(m) for m in statement.get("messaging", ())
    )


def _groupings(definition: Any) -> bool:
    known = {grouping.get("id") for grouping in definition.get("grouping", ())}
    return all(r["groupingId"] in known for r in definition.get("resource", ()) if "groupingId" in r)


def _guide_versions(guide: Any) -> bool:
    known = set(guide.get("fhirVersion", ()))
    resources = guide.get("definition", {}).get("resource", ())
    return all(version in known for resource in resources for version in resource.get("fhirVersion", ()))


def _stratifiers(measure: Any) -> bool:
    single = some("code", "description", "criteria")
    return all(
        single(stratifier) != ("component" in stratifier)
        for group in measure.get("group", ())
        for stratifier in group.get("stratifier", ())
    )


def _maximum(focus: Any) -> bool:
    most: str = focus.get("max", "*")
    return most == "*" or (most.isdecimal() and most.strip("0") != "")


def _no_root_uuid(system: Any) -> bool:
    return system.get("kind") != "root" or all(u.get("type") != "uuid" for u in system.get("uniqueId", ()))


def _preferred_ids(system: Any) -> bool:
    return distinct(u.get("type") for u in system.get("uniqueId", ()) if u.get("preferred") is True)


def _question_items(item: Any) -> bool:
    kind = item.get("type")
    return (kind != "group" or "item" in item) and (kind != "display" or "item" not in item)


def _options(item: Any) -> bool:
    return item.get("type") in OPTION_QUESTIONS or not some("answerValueSet", "answerOption")(item)


def _many_conditions(item: Any) -> bool:
    return count(item, "enableWhen") <= 2 or present("enableBehavior")(item)


def _versions(system: Any) -> bool:
    versions = system.get("version", ())
    return len(versions) <= 1 or all("code" in version for version in versions)


def _one_assertion(assertion: Any) -> bool:
    return "extension" in assertion or count(assertion, *ASSERTIONS) <= 1


def _addressed(operation: Any) -> bool:
    return (
        present("sourceId")(operation)
        or count(operation, "targetId", "url", "params") == 1
        or operation.get("type", {}).get("code") in UNADDRESSED
    )


def _compares(assertion: Any) -> bool:
    how = some("compareToSourceExpression", "compareToSourcePath")
    return present("compareToSourceId")(assertion) == how(assertion)


def _direction(assertion: Any) -> bool:
    return assertion.get("direction") != "request" or not some("response", "responseCode")(assertion)


def _variable(variable: Any) -> bool:
    """tst-3: one of the three must be missing; R4 asks for no more than that."""
    return not all(present(name)(variable) for name in ("expression", "headerField", "path"))


def _declared(metadata: Any) -> bool:
    """tst-4: the capabilities, taken together, say whether they are required or validated."""
    given = some("required", "validated")
    return any(given(capability) for capability in metadata.get("capability", ()))


_statement = some("description", "software", "implementation")
_unknown_software = prohibited_if("kind", "requirements", "implementation", "software")

TESTS: dict[str, Test] = {
    "cmd-1": _compared,
    "cmd-2": required_if("mode", "fixed", "code"),
    "cmd-3": required_if("mode", "other-map", "url"),
    "cpb-1": some("rest", "messaging", "document"),
    "cpb-2": _statement,
    "cpb-3": _messaging,
    "cpb-7": _unique_documents,
    "cpb-9": distinct_in("resource", "type"),
    "cpb-12": distinct_in("searchParam", "name"),
    "cpb-14": required_if("kind", "instance", "implementation"),
    "cpb-15": _capability,
    "cpb-16": _unknown_software,
    "csd-1": _unique_concepts,
    "ig-1": _groupings,
    "ig-2": _guide_versions,
    "inv-1 TestReport.setup.action": just_one("operation", "assert"),
    "inv-2": just_one("operation", "assert"),
    "md-1": _maximum,
    "mea-1": _stratifiers,
    "nsd-1": _no_root_uuid,
    "nsd-2": _preferred_ids,
    "opd-1": some("type", "part"),
    "opd-2": only_if("searchType", "type", "string"),
    "opd-3": only_if("targetProfile", "type", "Reference", "canonical"),
    "que-1": _question_items,
    "que-2": _unique_links,
    "que-3": prohibited_if("type", "display", "code"),
    "que-4": not_both("answerOption", "answerValueSet"),
    "que-5": _options,
    "que-6": prohibited_if("type", "display", "required", "repeats"),
    "que-7": lambda when: when.get("operator") != "exists" or present("answerBoolean")(when),
    "que-8": lambda item: item.get("type") not in ("group", "display") or "initial" not in item,
    "que-9": prohibited_if("type", "display", "readOnly"),
    "que-10": only_if("maxLength", "type", *SIMPLE_QUESTIONS),
    "que-11": not_both("answerOption", "initial"),
    "que-12": _many_conditions,
    "que-13": lambda item: item.get("repeats") is True or count(item, "initial") <= 1,
    "smp-1": needs("element", "context"),
    "smp-2": needs("context", "contextType"),
    "spd-1": needs("xpath", "xpathUsage"),
    "spd-2": only_if("chain", "type", "reference"),
    "tcp-1": _versions,
    "tcp-2": _statement,
    "tcp-3": required_if("kind", "instance", "implementation"),
    "tcp-4": _capability,
    "tcp-5": _unknown_software,
    "tst-1": just_one("operation", "assert"),
    "tst-2": just_one("operation", "assert"),
    "tst-3": _variable,
    "tst-4": _declared,
    "tst-5": _one_assertion,
    "tst-6": _one_assertion,
    "tst-7": _addressed,
    "tst-8": _addressed,
    "tst-9": _addressed,
    "tst-10": _compares,
    "tst-11": _compares,
    "tst-12": _direction,
    "tst-13": _direction,
    "vsd-1": some("valueSet", "system"),
    "vsd-2": lambda include: "system" in include or not some("concept", "filter")(include),
    "vsd-3": not_both("concept", "filter"),
    "vsd-6": some("code", "display"),
    "vsd-9": lambda contains: "code" in contains or contains.get("abstract") is True,
    "vsd-10": needs("code", "system"),
}
"""Invariant key, followed by its path where the key has several meanings -> predicate."""
