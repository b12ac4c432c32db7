"""Compiles what a profile adds to the type that it constrains, into closures over the same JSON, scope and problems.

The check of the type has run before: an overlay looks only at the elements of which the profile says more, so an
element that it leaves as it is costs nothing. Source: hl7.org/fhir/R4/profiling.html
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from fhirserver.outcome import OutcomeError
from fhirserver.r4.elements import Elements
from fhirserver.r4.fhirpath.evaluate import FhirPath
from fhirserver.r4.profiletree import BASE, Node
from fhirserver.terminology.membership import Memberships
from fhirserver.validation.problems import Check, Scope
from fhirserver.validation.references import target_check
from fhirserver.validation.slicing import Sorter, make_sorter
from fhirserver.validation.steps import (
    aggregated,
    all_of,
    choice_step,
    either,
    forbidden,
    list_step,
    not_allowed,
    object_steps,
    of_type,
    rule_check,
    single_step,
    standing_alone,
)
from fhirserver.validation.values import binding_check, value_checks

Json = dict[str, Any]


class Surroundings(Protocol):
    """What an overlay asks of the registry that it belongs to."""

    elements: Elements
    terminology: Memberships
    expressions: FhirPath

    def overlay(self, canonical: str, *, thorough: bool = False) -> Check | None:
        """The overlay of a profile; None where it adds nothing. Raises OutcomeError for one that cannot be."""
        ...

    def knows(self, canonical: str) -> bool:
        """Whether the profile is known."""
        ...

    def type_of(self, canonical: str) -> str | None:
        """The type that a profile constrains."""
        ...

    def tree(self, canonical: str) -> Node:
        """The elements of a known profile."""
        ...

    def conforms_to_one(self, canonicals: tuple[str, ...]) -> Callable[[Any, Scope], bool]:
        """A test: a resource is of the type of one of the profiles and conforms to it."""
        ...


class Weaver:
    """Compiles one profile. `notes`: what could not be compiled, in words.

    `thorough`: bindings of the types themselves that are weaker than required are checked as well.
    """

    def __init__(self, around: Surroundings, *, thorough: bool = False) -> None:
        self._around = around
        self._elements = around.elements
        self._thorough = thorough
        self.notes: list[str] = []

    def root(self, root: Node) -> Check | None:
        """The overlay of a whole profile."""
        return self.value(root, root.name, whole=True)

    def value(self, node: Node, code: str, *, whole: bool = False) -> Check | None:
        """The check of one value of `node` in the type `code`; None where nothing is left to check."""
        definition, known = node.definition, node.base
        checks = value_checks(definition, known)
        checks += self._bindings(node)
        if not whole:
            checks += self._types(node, code)
        checks += self._rules(node, code)
        steps = self._children(node)
        if steps:
            checks.append(object_steps(steps))
        return all_of(checks)

    def _bindings(self, node: Node) -> list[Check]:
        binding, known = node.definition.get("binding"), node.base.get("binding")
        if binding is None or (
            binding == known and (not self._thorough or binding["strength"] == "required")
        ):
            return []
        check = binding_check(binding, self._around.terminology)
        return [check] if check is not None else []

    def _types(self, node: Node, code: str) -> list[Check]:
        """Profiles on the data type, targets of references."""
        type_ = next((t for t in node.types if t["code"] == code), None)
        if type_ is None:
            return []
        known: Json = next((t for t in node.base.get("type", ()) if t["code"] == code), {})
        checks: list[Check] = []
        profiles = type_.get("profile", ())
        if profiles != known.get("profile", ()) and code != "Extension" and not node.children:
            checks += self._any_profile(profiles)
        if self._elements.is_resource(code):
            checks = [standing_alone(check) for check in checks]
            if not known:
                checks.insert(0, of_type(frozenset(t["code"] for t in node.types)))
        if not node.unfolded and self._thorough and not self._elements.is_resource(code):
            check = (
                self._around.overlay(BASE + code, thorough=True)
                if not self._elements.is_primitive(code)
                else None
            )
            checks += [check] if check is not None else []
        targets, aggregation = type_.get("targetProfile", ()), type_.get("aggregation", ())
        if code == "Reference" and targets != known.get("targetProfile", ()):
            checks.append(self._targets(targets))
        if code == "Reference" and aggregation and aggregation != known.get("aggregation", ()):
            checks.append(aggregated(frozenset(aggregation)))
        return checks

    def _any_profile(self, profiles: Sequence[str]) -> list[Check]:
        found = []
        for canonical in profiles:
            if not self._around.knows(canonical):
                self.notes.append(
                    f"{canonical} is not known here: values of that profile are not checked by it."
                )
                return []
            found.append(self._around.overlay(canonical))
        checks = [check for check in found if check is not None]
        if len(checks) < len(found):
            return []
        return checks if len(checks) == 1 else [either(checks, profiles)]

    def _targets(self, targets: Sequence[str]) -> Check:
        """A reference points to one of the types, and what is at hand conforms to one of the profiles."""
        types = self._elements.resource_types
        kinds = {self._around.type_of(target) for target in targets}
        every = None in kinds or "Resource" in kinds
        allowed = types if every else frozenset(kind for kind in kinds if kind is not None)
        profiled = [t for t in targets if t.partition("|")[0].removeprefix(BASE) not in types]
        conforms = None
        if len(profiled) == len(targets) and all(self._around.knows(target) for target in targets):
            conforms = self._around.conforms_to_one(tuple(targets))
        return target_check(allowed, conforms, types)

    def _rules(self, node: Node, code: str) -> list[Check]:
        known = {rule["key"]: rule.get("expression") for rule in node.base.get("constraint", ())}
        kind = node.definition["base"]["path"] if code in ("BackboneElement", "Element") else code
        checks: list[Check] = []
        for rule in node.definition.get("constraint", ()):
            key, expression = rule["key"], rule.get("expression")
            told = key in known and known[key] == expression
            if told and not (self._thorough and rule.get("severity") == "warning"):
                continue
            if not expression:
                self.notes.append(f"Invariant {key} has no expression and is not checked.")
                continue
            try:
                checks.append(rule_check(rule, self._around.expressions.invariant(expression, kind)))
            except OutcomeError as error:
                self.notes.append(f"Invariant {key} is not evaluated: {error.issues[0].text}")
        return checks

    def _children(self, node: Node) -> list[Check]:
        steps = []
        for child in node.children.values():
            step = self._child(child)
            if step is not None:
                steps.append(step)
        return steps

    def _child(self, child: Node) -> Check | None:
        """The check of an object for one of its elements."""
        if child.definition == child.base and not child.slices and not child.children and not self._thorough:
            return None
        element = self._elements.element(child.definition["base"]["path"])
        codes: Mapping[str, str] = element.json_names
        minimum = child.definition["min"] if child.definition["min"] > child.base["min"] else 0
        maximum = None
        if child.definition["max"] != child.base["max"]:
            maximum = int(child.definition["max"])
        if maximum == 0:
            return forbidden(child, tuple(codes))
        if element.max != 1:
            return self._list(child, next(iter(codes)), minimum, maximum)
        if element.choice:
            return self._choice(child, codes, minimum)
        return self._single(child, next(iter(codes)), minimum)

    def _code(self, child: Node) -> str:
        return str(child.types[0]["code"]) if child.types else child.source

    def _single(self, child: Node, name: str, minimum: int) -> Check | None:
        code = self._code(child)
        if self._elements.is_primitive(code) and code != "xhtml":
            check, beside = self._primitive(child, code)
        else:
            check, beside = self.value(child, code), None
        if check is None and beside is None and not minimum:
            return None
        return single_step(child, name, minimum, check, beside)

    def _primitive(self, child: Node, code: str) -> tuple[Check | None, Check | None]:
        """The check of the value, and of the object beside it."""
        steps = self._children(child)
        checks = value_checks(child.definition, child.base) + self._bindings(child) + self._rules(child, code)
        return all_of(checks), object_steps(steps) if steps else None

    def _choice(self, child: Node, codes: Mapping[str, str], minimum: int) -> Check | None:
        allowed = {type_["code"] for type_ in child.types}
        before = {type_["code"] for type_ in child.base.get("type", ())}
        branches: dict[str, tuple[Check | None, Check | None]] = {}
        matters = bool(minimum) or allowed != before
        for name, code in codes.items():
            if code in allowed:
                branches[name] = self._branch(child, code)
                matters = matters or branches[name] != (None, None)
        needed = [part for part in child.slices.values() if part.definition["min"] > 0]
        if not matters and not needed:
            return None
        wanted = [
            (part.slice, tuple(n for n, c in codes.items() if c in {t["code"] for t in part.types}))
            for part in needed
        ]
        return choice_step(child, tuple(codes), branches, minimum, wanted)

    def _branch(self, child: Node, code: str) -> tuple[Check | None, Check | None]:
        """The checks of a choice in one type, its type slices included: of the value, and of what is beside it."""
        parts = [part for part in child.slices.values() if code in {t["code"] for t in part.types}]
        if any(part.definition["max"] == "0" for part in parts):
            return not_allowed(child), None
        if self._elements.is_primitive(code):
            pairs = [self._primitive(node, code) for node in (child, *parts)]
            return all_of([c for c, _ in pairs if c]), all_of([b for _, b in pairs if b])
        return all_of([c for node in (child, *parts) if (c := self.value(node, code)) is not None]), None

    def _list(self, child: Node, name: str, minimum: int, maximum: int | None) -> Check | None:
        code = self._code(child)
        if self._elements.is_primitive(code):
            check, beside = self._primitive(child, code)
        else:
            check, beside = self.value(child, code), None
        sorter = self._sorter(child, code) if child.slices else None
        if check is None and beside is None and sorter is None and not minimum and maximum is None:
            return None
        return list_step(child, name, minimum, maximum, check, beside, sorter)

    def _sorter(self, child: Node, code: str) -> Sorter | None:
        return make_sorter(child, code, self.value, self._around, self.notes)
