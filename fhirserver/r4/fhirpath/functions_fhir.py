"""Functions that FHIR adds: extensions, primitive values, references, and what others answer.

Source: hl7.org/fhir/R4/fhirpath.html#functions
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from fhirserver.r4.fhirpath.functions import Compiling, Function, eager, source_of
from fhirserver.r4.fhirpath.model import Item
from fhirserver.r4.fhirpath.state import Items, Run, State, failed, unsupported
from fhirserver.r4.fhirpath.values import EMPTY, boolean, made, single, system
from fhirserver.r4.paths import Node
from fhirserver.r4.paths_run import reference_type


def _extension(state: State, items: Items, url: Items) -> Items:
    wanted = single(url, "extension()")
    if wanted is None:
        return EMPTY
    found: Items = []
    for item in items:
        state.model.child(item, "extension", found)
    state.spend(len(found))
    return [e for e in found if isinstance(e.value, dict) and e.value.get("url") == wanted.value]


def _is_primitive(state: State, item: Item) -> bool:
    return item.type.startswith("System.") or state.model.elements.is_primitive(item.type)


def _has_value(state: State, items: Items) -> Items:
    return boolean(len(items) == 1 and _is_primitive(state, items[0]) and items[0].value is not None)


def _get_value(state: State, items: Items) -> Items:
    if len(items) != 1 or not _is_primitive(state, items[0]) or items[0].value is None:
        return EMPTY
    return made(system(items[0]))


def _resolve(state: State, items: Items) -> Items:
    found: Items = []
    for item in items:
        target = _target(state, item)
        if target is not None:
            found.append(target)
    return found


def _target(state: State, item: Item) -> Item | None:
    value = item.value
    reference = value.get("reference") if isinstance(value, dict) else value
    if isinstance(reference, str):
        resource = _inside(state, reference)
        if resource is None and state.environment.resolve is not None and not reference.startswith("#"):
            resource = state.environment.resolve(reference)
        if isinstance(resource, dict):
            return state.model.item(resource, "Resource")
    # Of a target that is not at hand the type may still be known, which is what `is` asks for.
    named = reference_type(value) if isinstance(value, dict) else None
    return Item({}, named) if named is not None and state.model.elements.is_resource(named) else None


def _inside(state: State, reference: str) -> Any:
    """A contained resource, or an entry of the Bundle that is evaluated."""
    root = state.root
    if reference == "#":
        return root
    if reference.startswith("#"):
        for resource in _list(state.resource, "contained") + _list(root, "contained"):
            if isinstance(resource, dict) and resource.get("id") == reference[1:]:
                return resource
        return None
    entries = _list(root, "entry") if isinstance(root, dict) and root.get("resourceType") == "Bundle" else []
    state.spend(len(entries))
    for entry in entries:
        full = entry.get("fullUrl") if isinstance(entry, dict) else None
        if isinstance(full, str) and (full == reference or full.endswith(f"/{reference}")):
            return entry.get("resource")
    return None


def _list(value: Any, name: str) -> list[Any]:
    found = value.get(name) if isinstance(value, dict) else None
    return found if isinstance(found, list) else []


def _asked(name: str, least: int, service: str, ask: Callable[..., bool | None]) -> Function:
    """A function that a service of the environment answers; without the service it is not compiled."""

    def build(compiling: Compiling, source: Run | None, arguments: tuple[Node, ...]) -> Run:
        answer = getattr(compiling.environment, service)
        if answer is None:
            raise unsupported(f"the function {name}()")
        input_of = source_of(source)
        runs = [compiling.run(argument) for argument in arguments]

        def run(state: State, focus: Items) -> Items:
            item = single(input_of(state, focus), f"{name}()")
            given = [single(argument(state, focus), f"{name}()") for argument in runs]
            if item is None or any(argument is None for argument in given):
                return EMPTY
            state.spend(100)
            return boolean(ask(answer, item, *(argument.value for argument in given if argument is not None)))

        return run

    return Function(least, least, build)


def _conforms(answer: Callable[[Any, str], bool | None], item: Item, profile: str) -> bool:
    found = answer(item.value, profile)
    if found is None:
        raise failed("conformsTo() names a profile that is not known here.")
    return found


FUNCTIONS: Mapping[str, Function] = {
    "extension": eager(1, 1, _extension),
    "hasExtension": eager(1, 1, lambda state, items, url: boolean(bool(_extension(state, items, url)))),
    "hasValue": eager(0, 0, _has_value),
    "getValue": eager(0, 0, _get_value),
    "resolve": eager(0, 0, _resolve),
    "memberOf": _asked("memberOf", 1, "member_of", lambda ask, item, url: ask(item.value, item.type, url)),
    "conformsTo": _asked("conformsTo", 1, "conforms_to", _conforms),
    "htmlChecks": _asked("htmlChecks", 0, "html_checks", lambda ask, item: ask(item.value)),
}
