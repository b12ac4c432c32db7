"""Snapshots: profiles as trees, made by laying a differential over the definition that it constrains.

Each element of a differential is led to its place by its id, or where that does not say, by its path, its slice name
and the elements before it. What would widen the definition, or cannot be, is refused with the element's place.
Sources: hl7.org/fhir/R4/profiling.html, hl7.org/fhir/R4/elementdefinition.html#id
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from fhirserver.outcome import Unprocessable
from fhirserver.r4.elements import Elements
from fhirserver.r4.narrowing import check_shape, impossible, narrow
from fhirserver.r4.profiletree import BASE, BY_URL, Node, flatten, type_tree, unfold

Json = dict[str, Any]
BY_TYPE: Json = {"discriminator": [{"type": "type", "path": "$this"}], "ordered": False, "rules": "open"}


class Snapshots:
    """Makes and keeps the trees of profiles. `definitions`: StructureDefinition resources by canonical url."""

    def __init__(self, elements: Elements, definitions: Mapping[str, Json]) -> None:
        self.elements = elements
        self._definitions = definitions
        self._trees: dict[str, Node] = {}
        self._under_way: list[str] = []

    def tree(self, canonical: str) -> Node:
        """The tree of a type or profile; not to be changed.

        `canonical`: its url, a version after | is left aside. Raises Unprocessable where the definition, or one that
        it rests on, is unknown or cannot be.
        """
        url = canonical.partition("|")[0]
        found = self._trees.get(url)
        if found is None:
            found = self._trees[url] = self._made(url)
        return found

    def snapshot(self, canonical: str) -> list[Json]:
        """The elements of the snapshot, as StructureDefinition.snapshot.element has them."""
        return flatten(self.tree(canonical))

    def _made(self, url: str) -> Node:
        definition = self._definitions.get(url)
        if definition is None:
            name = url.removeprefix(BASE)
            if name == url or name not in self.elements.paths():
                raise Unprocessable(
                    f"The definition {url} is not known here; add the package that holds it first.",
                    code="profile-unknown-base",
                    expression="StructureDefinition.baseDefinition",
                )
            return type_tree(self.elements, name)
        if url in self._under_way:
            raise Unprocessable(
                f"The definition rests on itself: {' -> '.join([*self._under_way, url])}.",
                code="profile-circular",
                expression="StructureDefinition.baseDefinition",
            )
        self._under_way.append(url)
        try:
            return self._derived(definition)
        finally:
            self._under_way.pop()

    def _derived(self, definition: Json) -> Node:
        below = definition.get("baseDefinition")
        if not isinstance(below, str):
            raise impossible(
                "A profile names its base.", "profile-malformed", "StructureDefinition.baseDefinition"
            )
        root = self.tree(below).copy()
        if root.name != definition.get("type"):
            raise Unprocessable(
                f"A profile constrains the type of its base, {root.name}.",
                code="profile-type",
                expression="StructureDefinition.type",
            )
        view = "differential" if definition.get("differential") else "snapshot"
        held = definition.get(view, {})
        rows = held.get("element", []) if isinstance(held, dict) else None
        if not isinstance(rows, list):
            raise impossible("The elements are a list.", "profile-malformed", f"StructureDefinition.{view}")
        Differential(self, root).lay(rows, f"StructureDefinition.{view}")
        return root


class Differential:
    """Lays the elements of one differential over the tree of the base."""

    def __init__(self, snapshots: Snapshots, root: Node) -> None:
        self._snapshots = snapshots
        self._root = root
        self._recent: dict[str, Node] = {root.name: root}
        self._shortcuts: dict[str, set[str]] = {}

    def lay(self, rows: list[Json], place: str) -> None:
        """Narrow the tree by `rows`. `place`: path of their parent, for refusals."""
        for row in rows:
            stem, _, last = _path(row).rpartition(".")
            self._shortcuts.setdefault(stem, set()).add(last)
        for index, row in enumerate(rows):
            try:
                check_shape(row)
                node = self._find(row)
                narrow(node, row, self._root)
            except Unprocessable as error:
                issue = error.issues[0]
                raise Unprocessable(
                    f"{_name(row)}: {issue.text}",
                    code=issue.code,
                    expression=f"{place}.element[{index}]{issue.expression[0] if issue.expression else ''}",
                ) from error
            self._recent[row["path"]] = node

    def _find(self, row: Json) -> Node:
        names = row["path"].split(".")
        if names[0] != self._root.name:
            raise impossible(f"the path must start with {self._root.name}.", "profile-path", ".path")
        slices = _slices_of(row, names)
        if slices is not None:
            node = self._root
            for name, part in zip(names[1:], slices[1:], strict=True):
                node = self._step(node, name, part, row)
            return node
        if len(names) == 1:
            return self._root
        parent = self._recent.get(".".join(names[:-1]))
        if parent is None:
            parent = self._root
            for name in names[1:-1]:
                parent = self._step(parent, name, "", row)
        return self._step(parent, names[-1], row.get("sliceName", ""), row)

    def _step(self, node: Node, name: str, slice_name: str, row: Json) -> Node:
        """The child `name` of `node`, or the slice of it."""
        self._open(node)
        child = node.children.get(name)
        if child is None:
            child, code = _choice(node, name)
            if child is None:
                raise impossible(f"{node.name} has no element {name}.", "profile-path", ".path")
            return self._typed(child, code, slice_name or name, row)
        return self._sliced(child, slice_name) if slice_name else child

    def _typed(self, child: Node, code: str, slice_name: str, row: Json) -> Node:
        """valueQuantity: value[x] of this type. Alone in its differential, it leaves no other type."""
        stem = row["path"].rpartition(".")[0]
        alone = sum(_choice_code(child, other) is not None for other in self._shortcuts.get(stem, ())) == 1
        found = child.slices.get(slice_name)
        if found is None:
            if alone and "sliceName" not in row and ":" not in row.get("id", "").rpartition(".")[2]:
                child.definition["type"] = [t for t in child.types if t["code"] == code]
                child.definition.setdefault("slicing", BY_TYPE | {"rules": "closed"})
            child.definition.setdefault("slicing", BY_TYPE)
            found = self._sliced(child, slice_name)
            found.definition["type"] = [t for t in found.types if t["code"] == code]
        return found

    def _sliced(self, node: Node, slice_name: str) -> Node:
        """The slice of this name, made where it is new. "a/b" is the slice b of the slice a."""
        parent, _, _ = slice_name.rpartition("/")
        if parent:
            node = self._sliced(node, parent)
        found = node.slices.get(slice_name)
        if found is None:
            if "slicing" not in node.definition:
                if node.definition["max"] == "1" and not node.is_choice:
                    return node  # a slice name of what cannot repeat is a label only
                if node.name not in ("extension", "modifierExtension") and not node.is_choice:
                    text = "a slice needs an element with slicing before it."
                    raise impossible(text, "profile-slicing", ".sliceName")
                node.definition["slicing"] = BY_TYPE if node.is_choice else BY_URL
            found = node.slices[slice_name] = node.cut(slice_name)
            code = _choice_code(node, slice_name)
            if code is not None:
                found.definition["type"] = [t for t in found.types if t["code"] == code]
        return found

    def _open(self, node: Node) -> None:
        """Unfold the children of a data type, a profile on one, or a content reference."""
        if node.unfolded:
            return
        elements = self._snapshots.elements
        codes = [type_["code"] for type_ in node.types]
        profiles: Sequence[str] = node.types[0].get("profile", ()) if len(codes) == 1 else ()
        if len(profiles) == 1 and profiles[0].partition("|")[0].removeprefix(BASE) != codes[0]:
            origin = self._snapshots.tree(profiles[0])
            copy = origin.copy()
            node.children, node.slices, node.unfolded = copy.children, node.slices | copy.slices, True
            known = {rule["key"] for rule in node.definition.get("constraint", ())}
            fresh = [rule for rule in copy.definition.get("constraint", ()) if rule["key"] not in known]
            node.definition["constraint"] = [*node.definition.get("constraint", ()), *fresh]
            return
        if node.source and len(codes) <= 1 and not elements.is_resource(codes[0] if codes else ""):
            unfold(elements, node, node.source)
        elif len(codes) == 1:
            unfold(elements, node, "Element" if elements.is_primitive(codes[0]) else codes[0])
        else:
            text = "its children can be constrained only after its type is narrowed to one."
            raise impossible(text, "profile-types", ".path")


def _path(row: Any) -> str:
    path = row.get("path") if isinstance(row, dict) else None
    return path if isinstance(path, str) else "an element"


def _name(row: Any) -> str:
    """What an element is called in a refusal: its id, or its path."""
    id_ = row.get("id") if isinstance(row, dict) else None
    return id_ if isinstance(id_, str) else _path(row)


def _slices_of(row: Json, names: list[str]) -> list[str] | None:
    """The slice of each step as the id tells it; None where the id says nothing of use."""
    steps = [step.partition(":") for step in str(row.get("id", "")).split(".")]
    if len(steps) != len(names):
        return None
    for (step, _, _), name in zip(steps, names, strict=True):
        if step != name and not (step.endswith("[x]") and name.startswith(step[:-3])):
            return None
    slices = [part for _, _, part in steps]
    for number, ((step, _, part), name) in enumerate(zip(steps, names, strict=True)):
        if step != name and not part:
            slices[number] = name
    if "sliceName" in row:
        slices[-1] = row["sliceName"]
    return slices


def _choice(node: Node, name: str) -> tuple[Node | None, str]:
    for child in node.children.values():
        code = _choice_code(child, name)
        if code is not None:
            return child, code
    return None, ""


def _choice_code(child: Node, name: str) -> str | None:
    """The type that `name` gives to a choice: valueQuantity -> Quantity."""
    if not child.is_choice:
        return None
    start = child.name[:-3]
    for type_ in child.types:
        code: str = type_["code"]
        if name == start + code[0].upper() + code[1:]:
            return code
    return None
