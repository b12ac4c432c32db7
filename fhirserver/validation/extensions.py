"""Extensions whose definition is known: where they may stand, as extension or modifierExtension, with which value.

Unknown extensions are allowed. Source: hl7.org/fhir/R4/defining-extensions.html#context
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from fhirserver.outcome import IssueCode, OutcomeError
from fhirserver.r4.elements import Element, Elements
from fhirserver.r4.fhirpath.evaluate import Selection
from fhirserver.validation.problems import Check, Problem, Problems, Scope

Json = dict[str, Any]
NOT_HERE = "The definition of this extension does not allow it here."


@dataclass(frozen=True, slots=True)
class Contexts:
    """Where an extension may stand.

    `elements`: paths and types. `extensions`: urls of the extensions around it. `selections`: FHIRPath expressions
    over the resource that select the elements. `notes`: those that are not evaluated, in words; then it may stand
    anywhere.
    """

    elements: frozenset[str]
    extensions: frozenset[str]
    selections: tuple[Selection, ...]
    notes: tuple[str, ...]

    @classmethod
    def of(cls, definition: Mapping[str, Any], compile: Callable[[str], Selection]) -> Contexts:
        """From the StructureDefinition of an extension."""
        given: dict[str, list[str]] = {"element": [], "extension": [], "fhirpath": []}
        for context in definition.get("context") or ():
            if isinstance(context, dict) and context.get("type") in given:
                given[context["type"]].append(str(context.get("expression", "")))
        selections, notes = [], []
        for expression in given["fhirpath"]:
            try:
                selections.append(compile(expression))
            except OutcomeError as error:
                notes.append(f"A context of the extension is not evaluated: {error.issues[0].text}")
        return cls(
            frozenset(given["element"]), frozenset(given["extension"]), tuple(selections), tuple(notes)
        )

    def has(self, holder: Any) -> bool:
        """Whether `holder` is an extension around which it may stand."""
        url = holder.get("url") if isinstance(holder, dict) else None
        return isinstance(url, str) and url in self.extensions


@dataclass(frozen=True, slots=True)
class KnownExtension:
    """`modifier`: it belongs into modifierExtension. `check`: of its content."""

    contexts: Contexts
    modifier: bool
    check: Check | None

    @classmethod
    def of(
        cls,
        definition: Mapping[str, Any],
        overlay: Callable[[str], Check | None],
        compile: Callable[[str], Selection],
    ) -> KnownExtension:
        """From its StructureDefinition. A definition that cannot be compiled checks nothing of the content."""
        held = definition.get("differential") or definition.get("snapshot") or {}
        rows = held.get("element") if isinstance(held, dict) else None
        root = next((r for r in rows or () if isinstance(r, dict) and r.get("path") == "Extension"), {})
        try:
            check = overlay(definition["url"])
        except OutcomeError:
            check = None
        return cls(Contexts.of(definition, compile), bool(root.get("isModifier")), check)


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
            if not known.contexts.notes and here.isdisjoint(known.contexts.elements):
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


def misplaced(scope: Scope, resource: Json, elements: Elements, *, sound: bool) -> Problems:
    """The doubtful extensions of a resource that stand where their definition does not allow them.

    `sound`: the resource has no errors of its type, which may keep a FHIRPath context from making sense.
    """
    wanted = {id(extension): contexts for extension, contexts in scope.doubtful or ()}
    selected = Selected(resource)
    found: Problems = []
    for steps in _lead(resource, [], wanted):
        place = Place.of(resource, elements)
        values: list[Any] = [resource]
        for step in steps:
            values.append(values[-1][step])
            place.enter(step, values[-1])
        holder = values[-3] if isinstance(steps[-1], int) else values[-2]
        contexts = wanted[id(values[-1])]
        if contexts.has(holder) or not place.around.isdisjoint(contexts.elements):
            continue
        if contexts.selections and not sound:
            continue
        try:
            if selected.has(holder, contexts.selections, values[:-1]):
                continue
            problem = Problem("extension-context", IssueCode.EXTENSION, NOT_HERE, place.path[::-1])
        except OutcomeError as error:
            text = f"Whether this extension is allowed here cannot be evaluated: {error.issues[0].text}"
            problem = Problem(
                "extension-context-not-evaluated", IssueCode.PROCESSING, text, place.path[::-1], "warning"
            )
        found.append(problem)
    return found


class Selected:
    """What expressions select in a resource and in those that it contains; each is evaluated once."""

    def __init__(self, root: Json) -> None:
        self._root = root
        self._known: dict[tuple[Selection, int], frozenset[int] | OutcomeError] = {}

    def has(self, holder: Any, selections: Iterable[Selection], way: list[Any]) -> bool:
        """Whether one of them selects the JSON `holder`: an element, or what a primitive has beside its value.

        `way`: the values from the root to the extension. Raises PathError.
        """
        around = next(value for value in reversed(way) if isinstance(value, dict) and "resourceType" in value)
        return any(id(holder) in self._ids(selection, around) for selection in selections)

    def _ids(self, selection: Selection, resource: Json) -> frozenset[int]:
        key = (selection, id(resource))
        if key not in self._known:
            self._known[key] = self._select(selection, resource)
        known = self._known[key]
        if isinstance(known, OutcomeError):
            raise known
        return known

    def _select(self, selection: Selection, resource: Json) -> frozenset[int] | OutcomeError:
        try:
            items = selection(resource, self._root)
        except OutcomeError as error:
            return error
        return frozenset(
            id(part) for item in items for part in (item.value, item.extra) if isinstance(part, dict)
        )


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
