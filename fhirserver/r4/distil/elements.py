"""Distils the StructureDefinitions of R4 into `elements.json`: what the validator, XML and `_summary` need.

Only base types are read (url http://hl7.org/fhir/StructureDefinition/<Type>); their narrative is left behind.
The shape of the table is described in fhirserver/r4/elements.py, its only reader.
Source: hl7.org/fhir/R4/structuredefinition.html
"""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import Any

import orjson

BASE = "http://hl7.org/fhir/StructureDefinition/"
VALUE_SETS = "http://hl7.org/fhir/ValueSet/"
FHIR_TYPE = BASE + "structuredefinition-fhir-type"
REGEX = BASE + "regex"
EVERYWHERE = frozenset({"ele-1", "ext-1"})
"""Invariants that every element or extension repeats; they are kept at their own type only."""

Json = dict[str, Any]


def definitions(package: Path) -> dict[str, Json]:
    """The base types of the package: type name -> StructureDefinition, sorted by name."""
    found: dict[str, Json] = {}
    for file in sorted(package.glob("StructureDefinition-*.json")):
        definition: Json = orjson.loads(file.read_bytes())
        type_name = definition["type"]
        if definition["url"] != BASE + type_name or definition["kind"] == "logical":
            continue
        if definition.get("derivation") == "specialization" or "baseDefinition" not in definition:
            found[type_name] = definition
    return dict(sorted(found.items()))


def distil(package: Path, tables: Path) -> None:
    """Write `elements.json` into `tables` from the unpacked definitions in `package`."""
    types = definitions(package)
    table: dict[str, dict[str, Any]] = {
        "types": {name: _type(definition) for name, definition in types.items()},
        "primitives": _primitives(types),
        "rules": _rules(types),
        "placed": _placed(types),
        "children": _children(types),
    }
    (tables / "elements.json").write_bytes(_lines(table))


def _lines(table: dict[str, dict[str, Any]]) -> bytes:
    """JSON with one line for each entry, so that a change of the definitions reads well as a diff."""
    parts = []
    for name, entries in table.items():
        rows = ",\n".join(
            f"{orjson.dumps(key).decode()}:{orjson.dumps(value).decode()}" for key, value in entries.items()
        )
        parts.append(f'"{name}":{{\n{rows}\n}}')
    return ("{" + ",\n".join(parts) + "}\n").encode()


def _type(definition: Json) -> list[Any]:
    base = definition.get("baseDefinition", "").removeprefix(BASE)
    kind = definition["kind"].removesuffix("-type")
    return [kind, base, int(definition.get("abstract", False))]


def _primitives(types: dict[str, Json]) -> dict[str, str]:
    """The regular expression of each primitive type; empty where R4 gives none (xhtml)."""
    found = {}
    for name, definition in types.items():
        if definition["kind"] == "primitive-type":
            value = next(e for e in definition["snapshot"]["element"] if e["path"] == f"{name}.value")
            found[name] = _extension(value["type"][0], REGEX, "valueString")
    return found


def _rules(types: dict[str, Json]) -> dict[str, list[list[str]]]:
    """Invariant key -> [path, severity, expression, human] for each meaning; path "" if only one."""
    meanings: dict[str, dict[tuple[str, str, str], str]] = defaultdict(dict)
    for _, element in _elements(types):
        for rule in element.get("constraint", ()):
            meaning = (rule["severity"], rule.get("expression", ""), rule["human"])
            own = rule.get("source") in (None, BASE + element["path"].split(".")[0])
            if own or rule["key"] not in meanings:
                meanings[rule["key"]].setdefault(meaning, element["path"])
    table = {}
    for key, found in sorted(meanings.items()):
        same_expression = {meaning[1] for meaning in found}
        if len(same_expression) == 1 or key in EVERYWHERE or key.startswith("dom-"):
            table[key] = [["", *next(iter(found))]]
        else:
            table[key] = [[path, *meaning] for meaning, path in found.items()]
    return table


def _placed(types: dict[str, Json]) -> dict[str, str]:
    """Path of an element, or type name -> keys of the invariants declared there (not inherited)."""
    placed = {}
    for type_name, element in _elements(types):
        path = element["path"]
        inherited = set() if path in ("Element", "Extension") else set(EVERYWHERE)
        if path == type_name != "DomainResource":
            inherited |= {"dom-2", "dom-3", "dom-4", "dom-5", "dom-6"}
        keys = [r["key"] for r in element.get("constraint", ()) if r["key"] not in inherited]
        if keys:
            placed[path] = " ".join(sorted(set(keys)))
    return dict(sorted(placed.items()))


def _children(types: dict[str, Json]) -> dict[str, list[list[str] | str]]:
    """Parent path -> rows; a leading string stands for the rows of that path."""
    rows: dict[str, list[list[str] | str]] = defaultdict(list)
    for type_name, element in _elements(types):
        path = element["path"]
        if path == type_name or (types[type_name]["kind"] == "primitive-type" and path.endswith(".value")):
            continue
        rows[path.rpartition(".")[0]].append(_row(element, types[type_name]["kind"]))
    shared = ["DomainResource", "Resource", "BackboneElement", "Element"]
    full = {name: list(rows[name]) for name in shared}
    for path, own in rows.items():
        for name in shared:
            size = len(full[name])
            if path != name and own[:size] == full[name]:
                rows[path] = [name, *own[size:]]
                break
    return dict(sorted(rows.items()))


def _row(element: Json, kind: str) -> list[str]:
    """[name, "min..max", types, flags, binding, content reference], cut after the last non-empty one."""
    path = element["path"]
    flags = "".join(
        letter
        for letter, on in (
            ("s", element.get("isSummary")),
            ("m", element.get("isModifier")),
            ("a", "xmlAttr" in element.get("representation", ())),
        )
        if on
    )
    name = path.rpartition(".")[2]
    # Resource.id is declared as a string in R4 although its definition is that of the type id.
    resource_id = kind == "resource" and name == "id" and path.count(".") == 1
    binding = element.get("binding", {})
    row = [
        name,
        f"{element['min']}..{element['max']}",
        " ".join(_type_text(t, resource_id) for t in element.get("type", ())),
        flags,
        f"{binding['strength']} {_value_set(binding.get('valueSet', ''))}".strip() if binding else "",
        element.get("contentReference", "").removeprefix("#"),
    ]
    while not row[-1]:
        row.pop()
    return row


def _type_text(type_: Json, resource_id: bool) -> str:
    """`Reference(Patient,Group)`, `Quantity[SimpleQuantity]`, `string`."""
    code = type_["code"]
    if code.startswith("http://hl7.org/fhirpath/"):
        code = "id" if resource_id else _extension(type_, FHIR_TYPE, "valueUrl") or "string"
    targets = [t.removeprefix(BASE) for t in type_.get("targetProfile", ())]
    if targets and "Resource" not in targets:
        code += f"({','.join(targets)})"
    if "profile" in type_:
        code += f"[{','.join(p.removeprefix(BASE) for p in type_['profile'])}]"
    return str(code)


def _value_set(url: str) -> str:
    return url.removesuffix("|4.0.1").removeprefix(VALUE_SETS)


def _extension(holder: Json, url: str, value: str) -> str:
    return str(next((e[value] for e in holder.get("extension", ()) if e["url"] == url), ""))


def _elements(types: dict[str, Json]) -> list[tuple[str, Json]]:
    return [(name, e) for name, d in types.items() for e in d["snapshot"]["element"]]
