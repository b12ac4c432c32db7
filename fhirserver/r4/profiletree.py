"""The element tree of a profile: what each place allows, which slices it has, and what the type itself says there.

A tree starts from the distilled R4 types and is narrowed by differentials (r4/snapshot.py). Data types are unfolded
only where a profile walks into them. Source: hl7.org/fhir/R4/elementdefinition.html
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from fhirserver.r4.elements import Element, Elements, TypeRef

BASE = "http://hl7.org/fhir/StructureDefinition/"
Json = dict[str, Any]

BY_URL: Json = {
    "discriminator": [{"type": "value", "path": "url"}],
    "description": "Extensions are always sliced by (at least) url",
    "rules": "open",
}
EVERY_ELEMENT = ("ele-1",)
EVERY_EXTENSION = ("ele-1", "ext-1")


@dataclass(slots=True, eq=False)
class Node:
    """One element of a profile.

    `name`: as in a path, "value[x]". `slice`: its slice name, empty for none. `definition`: the ElementDefinition
    without id and path. `base`: what is known to hold here already: the definition of the type, for a slice that of
    the element it slices. `source`: where R4 lists the children: a type or backbone path; empty where that depends on
    the type that is chosen. `children`: by name, once unfolded. `slices`: by name; reslices hang below their slice.
    """

    name: str
    definition: Json
    base: Json
    source: str = ""
    slice: str = ""
    unfolded: bool = False
    children: dict[str, Node] = field(default_factory=dict)
    slices: dict[str, Node] = field(default_factory=dict)

    @property
    def types(self) -> list[Json]:
        """The types that are allowed here."""
        found: list[Json] = self.definition.get("type", [])
        return found

    @property
    def is_choice(self) -> bool:
        """True for value[x] and its like."""
        return self.name.endswith("[x]")

    def copy(self) -> Node:
        """The same tree, free to be narrowed further."""
        return Node(
            self.name,
            dict(self.definition),
            self.base,
            self.source,
            self.slice,
            self.unfolded,
            {name: child.copy() for name, child in self.children.items()},
            {name: part.copy() for name, part in self.slices.items()},
        )

    def cut(self, slice_name: str) -> Node:
        """A new slice of this element: as it stands, without its slices, and optional."""
        part = self.copy()
        part.slice, part.slices = slice_name, {}
        part.definition.pop("slicing", None)
        part.definition["min"] = 0
        part.settle()
        return part

    def settle(self) -> None:
        """Take what holds here now as known, all the way down."""
        self.base = dict(self.definition)
        for node in (*self.children.values(), *self.slices.values()):
            node.settle()

    def every_slice(self) -> Iterator[Node]:
        """The slices and reslices, each before its own."""
        for part in self.slices.values():
            yield part
            yield from part.every_slice()


def type_tree(elements: Elements, type: str) -> Node:
    """The tree of a type of R4 as it stands."""
    definition: Json = {"min": 0, "max": "*", "base": {"path": type, "min": 0, "max": "*"}}
    _add_rules(definition, elements, type, _inherited(elements, type))
    root = Node(type, definition, dict(definition), type)
    unfold(elements, root, type)
    return root


def unfold(elements: Elements, node: Node, path: str) -> None:
    """Give `node` the children that R4 lists at `path`, backbone elements with theirs."""
    node.unfolded = True
    for element in elements.children(path):
        name = f"{element.name}[x]" if element.choice else element.name
        child = node.children[name] = _node(elements, element, name)
        if name == "extension" and path.partition(".")[0] in elements.data_types:
            child.definition["slicing"] = child.base["slicing"] = BY_URL
        if element.path == element.id:
            unfold(elements, child, element.path)


def flatten(root: Node) -> list[Json]:
    """The elements of StructureDefinition.snapshot in their order."""
    return list(_flat(root, root.name, root.name))


def _flat(node: Node, id_: str, path: str) -> Iterator[Json]:
    element: Json = {"id": id_, "path": path}
    if node.slice:
        element["sliceName"] = node.slice
    yield element | node.definition
    for name, child in node.children.items():
        yield from _flat(child, f"{id_}.{name}", f"{path}.{name}")
    stem = id_.rpartition(":")[0] if node.slice else id_
    for name, part in node.slices.items():
        yield from _flat(part, f"{stem}:{name}", path)


def _node(elements: Elements, element: Element, name: str) -> Node:
    maximum = "*" if element.max is None else str(element.max)
    definition: Json = {
        "min": element.min,
        "max": maximum,
        "base": {"path": element.id, "min": element.min, "max": maximum},
    }
    if element.path and element.path != element.id and not element.types:
        definition["contentReference"] = f"#{element.path}"
    if element.types:
        definition["type"] = [_type(type_ref) for type_ref in element.types]
    codes = {type_ref.code for type_ref in element.types}
    _add_rules(definition, elements, element.id, EVERY_EXTENSION if codes == {"Extension"} else EVERY_ELEMENT)
    if element.modifier:
        definition["isModifier"] = True
    if element.summary:
        definition["isSummary"] = True
    if element.binding is not None:
        definition["binding"] = {"strength": element.binding.strength}
        if element.binding.value_set:
            definition["binding"]["valueSet"] = element.binding.value_set
    return Node(name, definition, dict(definition), element.path)


def _type(type_ref: TypeRef) -> Json:
    found: Json = {"code": type_ref.code}
    if type_ref.profile:
        found["profile"] = [BASE + type_ref.profile]
    if type_ref.targets:
        found["targetProfile"] = [BASE + target for target in type_ref.targets]
    return found


def _inherited(elements: Elements, type: str) -> tuple[str, ...]:
    """The keys of the invariants that a type takes over from the types above it."""
    keys: list[str] = []
    above = elements.base(type)
    while above:
        keys += [rule.key for rule in elements.rules(above)]
        above = elements.base(above)
    return tuple(keys)


def _add_rules(definition: Json, elements: Elements, path: str, inherited: tuple[str, ...]) -> None:
    rules = [*(elements.rule(key) for key in inherited), *elements.rules(path)]
    known: dict[str, Json] = {}
    for rule in rules:
        constraint = {"key": rule.key, "severity": rule.severity, "human": rule.human}
        known[rule.key] = constraint | ({"expression": rule.expression} if rule.expression else {})
    if known:
        definition["constraint"] = list(known.values())
