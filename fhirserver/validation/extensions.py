"""Extensions whose definition is known: where they may stand, as extension or modifierExtension, with which value.

Unknown extensions are allowed. Source: hl7.org/fhir/R4/defining-extensions.html#context
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from fhirserver.outcome import IssueCode, OutcomeError
from fhirserver.r4.elements import Element, Elements
from fhirserver.validation.problems import Check, Misplaced, Problem, Problems, Scope

Json = dict[str, Any]
Contexts = tuple[tuple[str, str], ...]
NOT_HERE = "The definition of this extension does not allow it here."


@dataclass(frozen=True, slots=True)
class KnownExtension:
    """`contexts`: (type, expression) pairs. `modifier`: it belongs into modifierExtension. `check`: of its content."""

    contexts: Contexts
    modifier: bool
    check: Check | None

    @classmethod
    def of(cls, definition: Mapping[str, Any], overlay: Callable[[str], Check | None]) -> KnownExtension:
        """From its StructureDefinition. A definition that cannot be compiled checks nothing of the content."""
        rows = definition.get("differential", definition.get("snapshot", {})).get("element", ())
        root: Json = next((row for row in rows if row.get("path") == "Extension"), {})
        contexts = tuple((c.get("type", ""), c.get("expression", "")) for c in definition.get("context", ()))
        try:
            check = overlay(definition["url"])
        except OutcomeError:
            check = None
        return cls(contexts, bool(root.get("isModifier")), check)


class ExtensionRules:
    """Wraps the check of an extension. `find`: url -> definition. `unknown_modifier`: severity, empty for none."""

    def __init__(
        self, elements: Elements, find: Callable[[str], KnownExtension | None], unknown_modifier: str
    ) -> None:
        self._elements = elements
        self._find = find
        self._unknown_modifier = unknown_modifier

    def wrap(self, check: Check, path: str, *, modifier: bool) -> Check:
        """`check`, then the rules of the definition. `path`: of the type or backbone element that it stands in."""
        find, here = self._find, frozenset(self._kinds(path))

        def checked(value: Any, scope: Scope) -> Problems | None:
            problems = check(value, scope)
            if problems is not None or not scope.profiled:
                return problems
            url = value.get("url", "")
            known = find(url)
            if known is None:
                return self._unknown(url, scope, modifier=modifier)
            if known.check is not None:
                problems = known.check(value, scope)
            if known.modifier != modifier:
                text = "This extension changes the meaning of its element and belongs into modifierExtension."
                if modifier:
                    text = "This extension is no modifier and belongs into extension."
                problems = [*(problems or ()), Problem("extension-modifier", IssueCode.EXTENSION, text)]
            if not any(
                kind == "fhirpath" or (kind == "element" and place in here) for kind, place in known.contexts
            ):
                found = Misplaced("extension-context", IssueCode.EXTENSION, NOT_HERE, contexts=known.contexts)
                problems = [*(problems or ()), found]
            return problems

        return checked

    def _unknown(self, url: str, scope: Scope, *, modifier: bool) -> Problems | None:
        if ":" not in url:
            return None  # a part of a complex extension, which its definition knows
        if modifier and self._unknown_modifier:
            text = "The definition of this modifierExtension is not known here, so what it changes cannot be told."
            return [
                Problem(
                    "unknown-modifier-extension", IssueCode.EXTENSION, text, severity=self._unknown_modifier
                )
            ]
        if scope.thorough:
            text = "The definition of this extension is not known here; its content is not checked."
            return [Problem("unknown-extension", IssueCode.EXTENSION, text, severity="information")]
        return None

    def _kinds(self, path: str) -> Iterator[str]:
        """A path and the types above it: Patient, DomainResource, Resource; Patient.contact, BackboneElement ..."""
        yield from (path, "Element")  # R4's definitions mean resources, too, when they say Element
        if "." in path:
            yield "BackboneElement"
            return
        above = self._elements.base(path)
        while above:
            yield above
            above = self._elements.base(above)


def placed(problems: Problems, resource: Json, elements: Elements) -> Problems | None:
    """The problems without those extensions that the whole path shows to be where they may."""
    left = [
        problem
        for problem in problems
        if not isinstance(problem, Misplaced) or not _may_stand(problem, resource, elements)
    ]
    return left or None


def _may_stand(problem: Misplaced, resource: Json, elements: Elements) -> bool:
    steps = problem.path[::-1]
    while steps and steps[-1].startswith("["):
        steps.pop()
    del steps[-1:]  # .extension itself
    places, holder = _places(steps, resource, elements)
    url = holder.get("url") if isinstance(holder, dict) else None
    return any(
        (kind == "element" and expression in places) or (kind == "extension" and expression == url)
        for kind, expression in problem.contexts
    )


def _places(steps: list[str], resource: Json, elements: Elements) -> tuple[set[str], Any]:
    """All names of the element that `steps` lead to: its path from the resource, and from each type on the way."""
    value: Any = resource
    kind = str(resource.get("resourceType"))
    names = {kind}
    for step in steps:
        if step.startswith("["):
            value = value[int(step[1:-1])] if isinstance(value, list) and value else value
            if isinstance(value, dict) and "resourceType" in value:
                kind = str(value["resourceType"])
                names = {kind}
            continue
        element = _element(elements, kind, step[1:])
        if element is None:
            return set(), None
        value, code = _value(value, element)
        last = step[1:] + ("[x]" if element.choice else "")
        names = {f"{name}.{last}" for name in names} | {code}
        if element.choice:
            names |= {name.removesuffix("[x]") for name in names}
        if isinstance(value, dict) and "resourceType" in value:
            code = str(value["resourceType"])
            names = {code}
        kind = element.path or code
    above = kind
    while above and "." not in above:
        names.add(above)
        above = elements.base(above)
    names |= {"BackboneElement"} if "." in kind else set()
    return names, value


def _element(elements: Elements, kind: str, name: str) -> Element | None:
    try:
        return elements.element(f"{kind}.{name}")
    except KeyError:
        return None


def _value(value: Any, element: Element) -> tuple[Any, str]:
    """The value of an element in its object, and the code of its type."""
    if isinstance(value, list):
        value = value[0] if value else None
    for name, code in element.json_names.items():
        if isinstance(value, dict) and (name in value or f"_{name}" in value):
            found = value.get(name)
            return (found if isinstance(found, (dict, list)) else value.get(f"_{name}")), code
    return None, next(iter(element.json_names.values()))
