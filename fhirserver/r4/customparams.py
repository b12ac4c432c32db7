"""A clinic's own SearchParameter resource, compiled to the row that the tables hold for R4's parameters.

Source: hl7.org/fhir/R4/searchparameter.html
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from fhirserver.outcome import BadRequest, Conflict, NotSupported
from fhirserver.r4.paths_resolve import Branch
from fhirserver.r4.paths_types import ElementTypes
from fhirserver.r4.searchparams import INDEXABLE, PREFIX, repeats, resolve_components, resolve_values

# '~' and a leading '_' or '$' are the server's own; '.' and ':' would be read as chain and modifier.
_CODE = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,63}")
_Row = Mapping[str, Any]


def row_of(
    resource: Mapping[str, Any],
    by_base: Mapping[str, Sequence[_Row]],
    by_url: Mapping[str, _Row],
    resource_types: Mapping[str, str],
    types: ElementTypes,
) -> dict[str, Any]:
    """The table row of a SearchParameter resource.

    `by_base`, `by_url`: the parameters known so far. Raises BadRequest where the resource is not usable as it
    stands, NotSupported for what this server does not evaluate, Conflict for a code that is taken.
    """
    url, code, kind = _text(resource, "url"), _text(resource, "code"), _text(resource, "type")
    if not _CODE.fullmatch(code):
        raise BadRequest(
            "The code must be a letter, then letters, digits, '-' or '_', 64 at most.",
            code="search-parameter-code",
            expression="SearchParameter.code",
        )
    if kind not in (*INDEXABLE, "composite") or kind == "special":
        raise NotSupported(
            "The type must be number, date, string, token, reference, composite, quantity or uri.",
            code="search-parameter-type",
            expression="SearchParameter.type",
        )
    bases = _bases(resource, resource_types)
    _check_free(code, url, bases, by_base, resource_types)
    expression = _text(resource, "expression")
    row: dict[str, Any] = {"code": code, "type": kind, "url": url, "expression": expression, "own": True}
    row["targets"] = [t for t in resource.get("target", ()) if t in resource_types]
    row["modifiers"] = list(resource.get("modifier", ()))
    row["comparators"] = list(resource.get("comparator", ()))
    row["chain"] = list(resource.get("chain", ()))
    components = _components(resource, by_url) if kind == "composite" else []
    row["components"] = components
    row["bases"] = {}
    row["repeats"] = []
    for base in bases:
        branches = resolve_values(expression, kind, base, types)
        row["bases"][base] = _cells(branches, base, components, types)
        if repeats(branches):
            row["repeats"].append(base)
    if not any(row["bases"].values()):
        raise NotSupported(
            "The expression selects nothing in any of its base types.",
            code="search-parameter-expression",
            expression="SearchParameter.expression",
        )
    return row


def _text(resource: Mapping[str, Any], name: str) -> str:
    value = resource.get(name)
    if not isinstance(value, str) or not value:
        raise BadRequest(
            f"A SearchParameter needs {name} to be searched by.",
            code="search-parameter-incomplete",
            expression=f"SearchParameter.{name}",
        )
    return value


def _bases(resource: Mapping[str, Any], resource_types: Mapping[str, str]) -> list[str]:
    bases = resource.get("base")
    known = (*resource_types, "Resource", "DomainResource")
    if not isinstance(bases, list) or not bases or not all(base in known for base in bases):
        raise BadRequest(
            "base must list resource types of R4.",
            code="search-parameter-base",
            expression="SearchParameter.base",
        )
    return bases


def _check_free(
    code: str,
    url: str,
    bases: Sequence[str],
    by_base: Mapping[str, Sequence[_Row]],
    resource_types: Mapping[str, str],
) -> None:
    if url.startswith(PREFIX):
        raise Conflict(
            "R4's own search parameters cannot be redefined; use a url of your own.",
            code="search-parameter-taken",
            expression="SearchParameter.url",
        )
    reached = set(bases)
    for base in bases:
        reached.update((resource_types.get(base, "Resource"), "Resource"))
        if base in ("Resource", "DomainResource"):
            reached.update(t for t, parent in resource_types.items() if base == "Resource" or parent == base)
    for base in reached:
        if any(row["code"] == code and row["url"] != url for row in by_base.get(base, ())):
            raise Conflict(
                f"{base} already has a search parameter of this code; choose another.",
                code="search-parameter-taken",
                expression="SearchParameter.code",
            )


def _components(resource: Mapping[str, Any], by_url: Mapping[str, _Row]) -> list[list[str]]:
    parts = resource.get("component")
    if not isinstance(parts, list) or not 2 <= len(parts) <= 3:
        raise NotSupported(
            "A composite has two or three components.",
            code="search-parameter-component",
            expression="SearchParameter.component",
        )
    found = []
    for part in parts:
        definition = by_url.get(str(part.get("definition", "")).partition("|")[0])
        if definition is None or definition["type"] in ("composite", "special"):
            raise NotSupported(
                "A component's definition must be the url of a known parameter that is not a composite.",
                code="search-parameter-component",
                expression="SearchParameter.component.definition",
            )
        found.append([definition["code"], definition["type"], definition["url"], _text(part, "expression")])
    return found


def _cells(
    branches: Sequence[Branch], base: str, components: Sequence[Sequence[str]], types: ElementTypes
) -> list[Any]:
    if not components:
        return [b.to_json() for b in branches]
    parts = [(kind, path) for _, kind, _, path in components]
    return [
        [
            b.to_json(),
            [[c.to_json() for c in part] for part in resolve_components(parts, b.type, base, types)],
        ]
        for b in branches
    ]
