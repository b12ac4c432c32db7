"""Invariants of StructureDefinition."""

from __future__ import annotations

from typing import Any

from fhirserver.validation.rules import Test, absent, distinct, each, present, some


def _first_path(structure: Any, view: str) -> str | None:
    elements = structure.get(view, {}).get("element", ())
    return elements[0].get("path") if elements else None


def _rooted(structure: Any, view: str) -> bool:
    """sdf-8, sdf-8a: every path of the view starts with the type that is described."""
    elements = structure.get(view, {}).get("element", ())
    if not elements:
        return True
    first = elements[0].get("path", "")
    root = first.partition(".")[0] if view == "differential" else first
    typed = structure.get("kind") == "logical" or root == structure.get("type")
    return typed and all(element.get("path", "").startswith(root + ".") for element in elements[1:])


def _elements_of(structure: Any, view: str) -> Any:
    return structure.get(view, {}).get("element", ())


def _with_ids(structure: Any) -> bool:
    return all("id" in e for view in ("snapshot", "differential") for e in _elements_of(structure, view))


def _unique_ids(view: str) -> Test:
    def test(structure: Any) -> bool:
        ids = [element.get("id") for element in _elements_of(structure, view)]
        return None not in ids and distinct(ids)

    return test


def _unique_paths(structure: Any) -> bool:
    return structure.get("derivation") == "constraint" or distinct(
        element.get("path") for element in _elements_of(structure, "snapshot")
    )


def _typed_root(structure: Any) -> bool:
    if structure.get("kind") == "logical" or "snapshot" not in structure:
        return True
    return bool(_first_path(structure, "snapshot") == structure.get("type"))


def _untyped_first(structure: Any) -> bool:
    elements = _elements_of(structure, "snapshot")
    return structure.get("kind") == "logical" or not elements or "type" not in elements[0]


def _untyped_root(structure: Any) -> bool:
    elements = _elements_of(structure, "differential")
    if structure.get("kind") == "logical" or not elements or "." in elements[0].get("path", ""):
        return True
    return "type" not in elements[0]


def _roots(structure: Any) -> list[Any]:
    views = ("snapshot", "differential")
    return [e for view in views for e in _elements_of(structure, view) if "." not in e.get("path", "")]


def _defaults(structure: Any) -> bool:
    given = present("defaultValue[x]")
    elements = _elements_of(structure, "differential")
    return structure.get("derivation") == "specialization" or not any(given(element) for element in elements)


def _complete(snapshot: Any) -> bool:
    return all("definition" in e and "min" in e and "max" in e for e in snapshot.get("element", ()))


def _unsliced_root(differential: Any) -> bool:
    return not any("." not in e.get("path", "") and "slicing" in e for e in differential.get("element", ()))


def _described_root(structure: Any) -> bool:
    names = some("label", "code", "requirements")
    return not any(names(element) for element in _roots(structure))


TESTS: dict[str, Test] = {
    "sdf-1": _unique_paths,
    "sdf-2": some("name", "uri"),
    "sdf-3": _complete,
    "sdf-4": lambda structure: structure.get("abstract") is True or present("baseDefinition")(structure),
    "sdf-5": lambda s: (
        s.get("type") != "Extension" or s.get("derivation") == "specialization" or "context" in s
    ),
    "sdf-6": some("snapshot", "differential"),
    "sdf-8": lambda structure: _rooted(structure, "snapshot"),
    "sdf-8a": lambda structure: _rooted(structure, "differential"),
    "sdf-8b": each("element", present("base")),
    "sdf-9": _described_root,
    "sdf-10": lambda e: "binding" not in e or some("valueSet", "description")(e["binding"]),
    "sdf-11": _typed_root,
    "sdf-14": _with_ids,
    "sdf-15": _untyped_first,
    "sdf-15a": _untyped_root,
    "sdf-16": _unique_ids("snapshot"),
    "sdf-17": _unique_ids("differential"),
    "sdf-18": lambda structure: "contextInvariant" not in structure or structure.get("type") == "Extension",
    "sdf-20": _unsliced_root,
    "sdf-21": _defaults,
    "sdf-23": lambda structure: all(absent("sliceName")(element) for element in _roots(structure)),
}
"""Invariant key -> predicate."""
