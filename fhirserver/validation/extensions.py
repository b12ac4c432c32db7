"""Extensions whose definition is known: where they may stand, as extension or modifierExtension, with which value.

Unknown extensions are allowed. Source: hl7.org/fhir/R4/defining-extensions.html#context
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from fhirserver.outcome import IssueCode, OutcomeError
from fhirserver.r4.elements import Element, Elements
from fhirserver.validation.problems import Check, Problem, Problems, Scope

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
        held = definition.get("differential") or definition.get("snapshot") or {}
        rows = held.get("element") if isinstance(held, dict) else None
        root = next((r for r in rows or () if isinstance(r, dict) and r.get("path") == "Extension"), {})
        contexts = tuple(
            (str(c.get("type", "")), str(c.get("expression", "")))
            for c in definition.get("context") or ()
            if isinstance(c, dict)
        )
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

    def wrap(self, check: Check, places: Iterable[str], *, modifier: bool) -> Check:
        """`check`, then the rules of the definition. `places`: what the element is called that it stands in."""
        find, here = self._find, frozenset(kind for place in places for kind in self._kinds(place))

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
                scope.doubt(value, known.contexts)
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


def misplaced(scope: Scope, resource: Json, elements: Elements) -> Problems:
    """The doubtful extensions of a resource that stand where their definition does not allow them."""
    wanted = {id(extension): contexts for extension, contexts in scope.doubtful or ()}
    found: Problems = []
    for steps in _lead(resource, [], wanted):
        place = Place.of(resource, elements)
        values: list[Any] = [resource]
        for step in steps:
            values.append(values[-1][step])
            place.enter(step, values[-1])
        holder = values[-3] if isinstance(steps[-1], int) else values[-2]
        url = holder.get("url") if isinstance(holder, dict) else None
        if not any(
            (kind == "element" and expression in place.around) or (kind == "extension" and expression == url)
            for kind, expression in wanted[id(values[-1])]
        ):
            found.append(Problem("extension-context", IssueCode.EXTENSION, NOT_HERE, place.path[::-1]))
    return found


def _lead(value: Any, steps: list[str | int], wanted: Mapping[int, Contexts]) -> Iterator[list[str | int]]:
    """The JSON steps that lead to each of the wanted extensions."""
    if id(value) in wanted:
        yield list(steps)
    for step, item in value.items() if isinstance(value, dict) else enumerate(value):
        if isinstance(item, (dict, list)):
            steps.append(step)
            yield from _lead(item, steps, wanted)
            steps.pop()


@dataclass(slots=True)
class Place:
    """Where a walk through a resource stands.

    `kind`: type or backbone path of the element. `names`: what the element can be called: its path from the resource,
    and from each type on the way, and its type. `around`: the names of the element before. `path`: as in expressions.
    """

    elements: Elements
    kind: str
    names: frozenset[str]
    around: frozenset[str]
    path: list[str]

    @classmethod
    def of(cls, resource: Json, elements: Elements) -> Place:
        """At the resource itself."""
        kind = str(resource["resourceType"])
        return cls(elements, kind, frozenset({kind}), frozenset(), [])

    def enter(self, step: str | int, value: Any) -> None:
        """Go on by a JSON property or an index; `value`: what is there."""
        if isinstance(step, int):
            self.path.append(f"[{step}]")
        else:
            name = step.removeprefix("_")
            element = next((e for e in self._children() if name in e.json_names), None)
            self.around = self.names | frozenset(self._above())
            if element is None:
                self.kind, self.names = "", frozenset()
                return
            code = element.json_names[name]
            ways = {element.name, f"{element.name}[x]", name} if element.choice else {name}
            self.names = frozenset(f"{stem}.{way}" for stem in self.names for way in ways) | {code}
            self.kind = element.path or code
            self.path.append(f".{element.name}")
        if isinstance(value, dict) and "resourceType" in value:
            self.kind = str(value["resourceType"])
            self.names = frozenset({self.kind})

    def _children(self) -> tuple[Element, ...]:
        primitive = self.elements.is_primitive(self.kind)
        return self.elements.children("Element" if primitive else self.kind) if self.kind else ()

    def _above(self) -> Iterator[str]:
        if "." in self.kind:
            yield "BackboneElement"
            return
        above = self.kind
        while above:
            yield above
            above = self.elements.base(above)
