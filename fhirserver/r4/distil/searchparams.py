"""Distils search parameters and compartments: searchparams.json, compartments.json.

Which SearchParameters count as R4's own: those whose url lies under http://hl7.org/fhir/SearchParameter/,
with a base and something to evaluate. Left out, because the package mixes them in:
- examples (`example*`), which repeat real codes with other targets;
- entries without a base (the drafts of valueset-extensions and codesystem-extensions);
- `_query` and `_filter`, which steer a search instead of naming a value, and drafts without an expression
  (Patient age, birthOrderBoolean). `_text` and `_content` stay: they have no expression, but values (the
  words of a resource).
Parameters on published extensions (mothersMaidenName, the genetic ones) stay: R4's registry lists them. Their
expression ends at the extension; its value is what they mean.
Source: hl7.org/fhir/R4/searchparameter-registry.html
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson

from fhirserver.r4.paths_resolve import Branch
from fhirserver.r4.paths_types import ElementTypes
from fhirserver.r4.searchparams import PREFIX, WORDS, repeats, resolve_components, resolve_values

Json = dict[str, Any]
_CORE = "http://hl7.org/fhir/SearchParameter/"
_CONTROL = ("_query", "_filter")
# R4 names the definitions of these components in the opposite order of their expressions (`code` as the
# reference parameter, `target` as the token). The expressions and the description ("relation and relatesTo")
# decide.
_SWAPPED = (_CORE + "DocumentReference-relationship",)
# R4 writes the url of the search parameter where the url of the extension belongs.
_CORRECTED = {
    _CORE + "patient-extensions-Patient-mothersMaidenName": (
        "Patient.extension('http://hl7.org/fhir/StructureDefinition/patient-mothersMaidenName')"
    )
}


def distil(package: Path, tables: Path) -> None:
    """Write both tables; elements.json and valuesets.json must be there already.

    `package`: folder of the definitions; `tables`: where the data files are.
    """
    types = ElementTypes.load(tables)
    concrete = {
        s["type"]: s["baseDefinition"].rpartition("/")[2]
        for s in _read(package, "StructureDefinition")
        if s["kind"] == "resource" and not s["abstract"] and s.get("derivation") == "specialization"
    }
    parameters = [p for p in _read(package, "SearchParameter") if _counts(p)]
    by_url = {p["url"]: p for p in parameters}
    rows = [_row(p, by_url, types) for p in sorted(parameters, key=lambda p: (p["code"], p["url"]))]
    _write(tables / "searchparams.json", {"types": dict(sorted(concrete.items())), "parameters": rows})
    _write(tables / "compartments.json", _compartments(package))


def _read(package: Path, type: str) -> Iterator[Json]:
    for path in sorted(package.glob(f"{type}-*.json")):
        yield orjson.loads(path.read_bytes())


def _write(path: Path, value: Any) -> None:
    path.write_bytes(orjson.dumps(value) + b"\n")


def _counts(parameter: Json) -> bool:
    url, code = parameter["url"], parameter["code"]
    if not url.startswith(_CORE) or url.removeprefix(_CORE).startswith("example"):
        return False
    if not parameter.get("base") or code in _CONTROL:
        return False
    return "expression" in parameter or code in WORDS


def _row(parameter: Json, by_url: dict[str, Json], types: ElementTypes) -> Json:
    expression = _CORRECTED.get(parameter["url"], parameter.get("expression", ""))
    row: Json = {
        "code": parameter["code"],
        "type": parameter["type"],
        "url": parameter["url"].removeprefix(PREFIX),
        "expression": expression,
    }
    if parameter.get("target"):
        row["targets"] = parameter["target"]
    components = _components(parameter, by_url)
    if components:
        row["components"] = [
            [code, part, url.removeprefix(PREFIX), path] for code, part, url, path in components
        ]
    row["bases"] = {}
    for base in parameter["base"]:
        branches = resolve_values(expression, parameter["type"], base, types) if expression else ()
        if repeats(branches):
            row.setdefault("repeats", []).append(base)
        row["bases"][base] = [_branch_row(b, base, components, types) for b in branches]
    return row


def _components(parameter: Json, by_url: dict[str, Json]) -> list[tuple[str, str, str, str]]:
    """The (code, type, url, expression) of each component of a composite, in order."""
    parts = parameter.get("component", ())
    urls = [part["definition"] for part in parts]
    if parameter["url"] in _SWAPPED:
        urls.reverse()
    return [
        (by_url[u]["code"], by_url[u]["type"], u, p["expression"]) for u, p in zip(urls, parts, strict=True)
    ]


def _branch_row(
    branch: Branch, base: str, components: list[tuple[str, str, str, str]], types: ElementTypes
) -> list[Any]:
    if not components:
        return branch.to_json()
    parts = [(part, path) for _, part, _, path in components]
    resolved = resolve_components(parts, branch.type, base, types)
    return [branch.to_json(), [[b.to_json() for b in part] for part in resolved]]


def _compartments(package: Path) -> Json:
    found: Json = {}
    for definition in _read(package, "CompartmentDefinition"):
        if definition["url"].endswith("/example"):
            continue
        members = {r["code"]: r["param"] for r in definition["resource"] if r.get("param")}
        found[definition["code"]] = members
    return found
