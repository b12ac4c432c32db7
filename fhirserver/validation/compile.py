"""Compiles a type's elements into one check, together with every type that it reaches, on first use.

Checks of the same type are shared; a Reference is compiled per set of targets, a bound code per value set.
Source: hl7.org/fhir/R4/elementdefinition.html
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from fhirserver.r4.elements import Element, Elements, Rule, TypeRef
from fhirserver.validation import bindings, brazil, invariants, primitives, references
from fhirserver.validation.elements import Property, Shape, Test, list_check, object_check, with_rules
from fhirserver.validation.extensions import ExtensionRules
from fhirserver.validation.narrative import check_div
from fhirserver.validation.problems import Check

TYPES_AGREE = Rule(
    "reference-type", "error", "", "Reference.type names the same resource type as Reference.reference"
)
NO_COMPARATOR = Rule("sqty-1", "error", "comparator.empty()", "A simple quantity has no comparator")


class Compiler:
    """Makes and keeps the checks.

    `resource`: the check of a whole resource inside another (Bundle.entry). `clock`: the present, for what has
    ended. `extensions`: the rules of extension definitions; None where none are known.
    """

    def __init__(
        self,
        elements: Elements,
        value_sets: bindings.ValueSets,
        resource: Check,
        contained: Check,
        clock: Callable[[], datetime],
        extensions: ExtensionRules | None = None,
    ) -> None:
        self._clock = clock
        self._elements = elements
        self._value_sets = value_sets
        self._resource = resource
        self._contained = contained
        self._extensions = extensions
        self._checks: dict[tuple[str, tuple[str, ...], str, frozenset[str]], Check] = {}

    def resource_check(self, type: str) -> Check:
        """The check of the object of a resource type, without what concerns the resource as a whole."""
        return self._object(type)

    def _object(
        self,
        path: str,
        targets: tuple[str, ...] = (),
        variant: str = "",
        places: frozenset[str] = frozenset(),
    ) -> Check:
        """The check of an object whose children are listed at `path`.

        `variant`: "companion" for the `_x` of a primitive, or the profile of a Quantity. `places`: what the primitive
        of a companion is called, for the extensions in it.
        """
        key = (path, targets, variant, places)
        check = self._checks.get(key)
        if check is None:
            shape = Shape(path, may_be_bare=variant == "companion")
            shape.rules = self._own_rules(path)
            if path == "Reference":
                shape.rules += ((TYPES_AGREE, references.types_agree),)
            if variant == "SimpleQuantity":
                shape.rules += ((NO_COMPARATOR, lambda quantity: "comparator" not in quantity),)
            for element in self._elements.children(path):
                if element.min > 0:
                    shape.required.append((next(iter(element.json_names)), element.name))
                if element.choice:
                    shape.groups.append(frozenset(element.json_names))
            check = object_check(shape)
            if path in brazil.CHECKS and not variant:
                check = brazil.CHECKS[path](check, self._clock)
            self._checks[key] = check
            self._fill(shape, path, places)
            if path == "Reference":
                self._point(shape, targets)
        return check

    def _own_rules(self, path: str) -> tuple[tuple[Rule, Test], ...]:
        rules = [
            *self._elements.rules(path),
            *(self._elements.rule(key) for key in invariants.moved_to(path)),
        ]
        return tuple(
            (rule, test) for rule in rules if (test := invariants.test_of(rule.key, path)) is not None
        )

    def _fill(self, shape: Shape, path: str, places: frozenset[str]) -> None:
        if self._elements.is_resource(path):
            known = Property("resourceType", primitives.check_nothing, primitives.check_nothing, False, False)
            shape.add("resourceType", known)
        if not shape.may_be_bare:
            shape.companion = self._object("Element", (), "companion")
        for element in self._elements.children(path):
            self._take(shape, element, places)

    def _take(self, shape: Shape, element: Element, places: frozenset[str]) -> None:
        names = tuple(element.json_names)
        group = frozenset(names) if element.choice else None
        for name, type_ref in zip(names, element.types or (TypeRef(""),), strict=True):
            item = self._item(element, type_ref)
            if type_ref.code == "Extension" and self._extensions is not None:
                item = self._extensions.wrap(item, places or {shape.path}, modifier=element.modifier)
            rules = self._element_rules(element)
            if rules:
                item = with_rules(item, rules)
            repeats = element.max != 1
            check = list_check(item, element.max) if repeats and element.max != 0 else item
            if element.max == 0:
                check = primitives.forbidden
            primitive = self._elements.is_primitive(type_ref.code) and type_ref.code != "xhtml"
            beside = self._beside(shape, element, name, type_ref.code) if primitive else None
            shape.add(name, Property(element.name, check, item, repeats, primitive, group, beside))

    def _beside(self, shape: Shape, element: Element, name: str, code: str) -> Check | None:
        """The check of the `_x` of one primitive: extensions depend on where they stand."""
        if self._extensions is None or shape.may_be_bare:
            return None
        names = (element.name, f"{element.name}[x]", name) if element.choice else (name,)
        places = frozenset(f"{shape.path}.{each}" for each in names) | {code}
        return self._object("Element", (), "companion", places)

    def _element_rules(self, element: Element) -> tuple[tuple[Rule, Test], ...]:
        """Invariants that an element adds to its data type; those of a backbone stand at its own path."""
        return () if element.path == element.id else self._own_rules(element.id)

    def _item(self, element: Element, type_ref: TypeRef) -> Check:
        """The check of one value of an element in one of its types."""
        code = type_ref.code
        binding = element.binding
        required = binding.value_set if binding is not None and binding.strength == "required" else None
        if element.name == "id" and code == "string":
            return primitives.check_element_id
        if code == "xhtml":
            return check_div
        if self._elements.is_primitive(code):
            return (
                self._value_sets.code_check(required)
                if required and code == "code"
                else primitives.CHECKS[code]
            )
        if self._elements.is_resource(code):
            return self._contained if element.name == "contained" else self._resource
        if code == "Reference":
            return self._object("Reference", type_ref.targets)
        check = self._object(element.path or code, (), type_ref.profile)
        if required and code in ("CodeableConcept", "Coding"):
            check = bindings.concept_check(check, *self._value_sets.concept_rule(required))
        return check

    def _point(self, shape: Shape, targets: tuple[str, ...]) -> None:
        """Replace the checks of `reference` and `type` by those for the targets of the element."""
        types = self._elements.resource_types
        for name, check in (
            ("reference", references.reference_check(targets, types)),
            ("type", references.type_check(targets, types)),
        ):
            shape.add(name, Property(name, check, check, False, True))
