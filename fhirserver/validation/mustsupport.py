"""Which must-support elements of a profile a resource leaves out, on request: that is no error, but good to know.

Source: hl7.org/fhir/R4/conformance-rules.html#mustSupport
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from fhirserver.outcome import Issue, IssueCode
from fhirserver.r4.elements import Elements
from fhirserver.r4.profiletree import Node


def left_out(tree: Node, resource: Any, elements: Elements, canonical: str) -> list[Issue]:
    """An issue (information) for each must-support element that is absent where its parent is there."""
    return [
        Issue(
            IssueCode.INFORMATIONAL,
            "must-support-absent",
            f"A must-support element of the profile {canonical} is not there.",
            (expression,),
            "information",
        )
        for expression in _absent(tree, resource, tree.name, elements)
    ]


def _absent(node: Node, value: Any, path: str, elements: Elements) -> Iterator[str]:
    if not isinstance(value, dict):
        return
    for child in node.children.values():
        name = child.name.removesuffix("[x]")
        names = elements.element(child.definition["base"]["path"]).json_names
        given = [value[n] for n in names if n in value]
        there = f"{path}.{name}"
        if not given and not any(f"_{n}" in value for n in names):
            if child.definition.get("mustSupport") and child.definition["max"] != "0":
                yield there
        elif isinstance(given[0] if given else None, list):
            for index, item in enumerate(given[0]):
                yield from _absent(child, item, f"{there}[{index}]", elements)
        elif given:
            yield from _absent(child, given[0], there, elements)
