"""The part of a resource that `_summary` or `_elements` asks for, marked as SUBSETTED.

Source: hl7.org/fhir/R4/search.html#summary, hl7.org/fhir/R4/search.html#elements
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, TypeAlias

from fhirserver.r4.elements import Element, Elements
from fhirserver.search.page import SUMMARY

SUMMARY_MODES = SUMMARY
SUBSETTED = {"system": "http://terminology.hl7.org/CodeSystem/v3-ObservationValue", "code": "SUBSETTED"}
_ALWAYS = ("resourceType", "id", "meta")

Json: TypeAlias = dict[str, Any]
# Wanted children of an element, by name; None: all of it.
_Wanted: TypeAlias = Mapping[str, "_Wanted | None"]


def subset(
    resource: Json,
    *,
    summary: str | None = None,
    elements: Sequence[str] | None = None,
    definitions: Elements,
) -> Json:
    """A copy with only what is asked for, mandatory and modifier elements kept; meta.tag says SUBSETTED.

    `summary`: one of SUMMARY_MODES, None or "false" for the whole. `elements`: names of elements, "name" or
    "Patient.name.family"; they come before `summary`.
    """
    type = resource["resourceType"]
    if elements:
        names = [name.removeprefix(f"{type}.") for name in elements]
        shown = _listed(resource, type, _tree(n for n in names if not n[:1].isupper()), definitions)
    elif summary == "true":
        shown = _filtered(resource, type, definitions, lambda e: e.summary or e.min > 0 or e.modifier)
    elif summary == "text":
        shown = _top(resource, type, definitions, lambda e: e.name == "text" or e.min > 0)
    elif summary == "data":
        shown = {name: value for name, value in resource.items() if name != "text"}
    else:
        return resource
    return tagged(resource, shown)


def tagged(resource: Json, shown: Json) -> Json:
    """`shown`, a part of `resource`, as a resource of its own: its identity in front, meta.tag says SUBSETTED."""
    meta = dict(resource.get("meta") or {})
    tags = list(meta.get("tag") or ())
    if not any(tag.get("code") == SUBSETTED["code"] for tag in tags):
        tags.append(dict(SUBSETTED))
    meta["tag"] = tags
    front = {name: resource[name] for name in ("resourceType", "id") if name in resource}
    return front | {"meta": meta} | {name: value for name, value in shown.items() if name not in _ALWAYS}


def _elements(path: str, definitions: Elements) -> dict[str, Element]:
    """The children of a path by JSON name, each form of a choice under its own."""
    return {name: element for element in definitions.children(path) for name in element.json_names}


def _top(resource: Json, type: str, definitions: Elements, keep: Callable[[Element], bool]) -> Json:
    known = _elements(type, definitions)
    found = {}
    for name, value in resource.items():
        element = known.get(name.removeprefix("_"))
        if name in _ALWAYS or (element is not None and keep(element)):
            found[name] = value
    return found


def _filtered(value: Json, path: str, definitions: Elements, keep: Callable[[Element], bool]) -> Json:
    """The elements of `value` that `keep` accepts, and of these the children likewise."""
    known = _elements(path, definitions)
    found: Json = {}
    for name, child in value.items():
        element = known.get(name.removeprefix("_"))
        if name == "resourceType":
            found[name] = child
        elif element is not None and keep(element):
            below = _below(element, name, definitions)
            if below is None:
                found[name] = child
            else:
                found[name] = _each(child, partial(_filtered, path=below, definitions=definitions, keep=keep))
    return found


def _below(element: Element, name: str, definitions: Elements) -> str | None:
    """Where the children of an element are listed; None where it is taken whole."""
    if name.startswith("_"):
        return None
    code = element.json_names[name]
    path = element.path or code
    if not path or definitions.is_primitive(path) or definitions.is_resource(path) or code == "Extension":
        return None
    return path


def _each(value: Any, change: Callable[[Json], Json]) -> Any:
    if isinstance(value, list):
        return [change(item) if isinstance(item, dict) else item for item in value]
    return change(value) if isinstance(value, dict) else value


def _tree(names: Iterable[str]) -> _Wanted:
    tree: dict[str, Any] = {}
    for name in names:
        at = tree
        *front, last = name.split(".")
        for part in front:
            below = at.setdefault(part, {})
            if below is None:
                break
            at = below
        else:
            at[last] = None
    return tree


def _listed(value: Json, path: str, wanted: _Wanted, definitions: Elements) -> Json:
    known = _elements(path, definitions)
    found: Json = {}
    for name, child in value.items():
        element = known.get(name.removeprefix("_"))
        if name == "resourceType":
            found[name] = child
        elif element is not None and element.name in wanted:
            below, inner = _below(element, name, definitions), wanted[element.name]
            if inner is None or below is None:
                found[name] = child
            else:
                found[name] = _each(
                    child, partial(_listed, path=below, wanted=inner, definitions=definitions)
                )
        elif element is not None and (element.min > 0 or element.modifier):
            found[name] = child
    return found
