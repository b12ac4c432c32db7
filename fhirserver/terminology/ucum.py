"""UCUM: a code system with a grammar instead of a list. The grammar is ucumvert's.

Source: ucum.org/ucum
"""

from __future__ import annotations

from functools import cache, lru_cache
from pathlib import Path
from typing import Any

from fhirserver.terminology.concepts import Concept

URL = "http://unitsofmeasure.org"
_LONGEST = 256
_EXPONENTS = {"2": "square", "3": "cubic"}
_TEN = {"10*": "10", "10^": "10"}


@lru_cache(maxsize=4096)
def unit(code: str) -> Concept | None:
    """The concept of a UCUM unit, None where the code is none. Its display spells the unit out."""
    if not code or len(code) > _LONGEST:
        return None
    tree = _parsed(code)
    return None if tree is None else Concept(code, _spelled(tree))


@cache
def _parser() -> Any:
    # ucumvert brings a large unit registry along: loaded when the first unit is asked for
    import ucumvert  # type: ignore[import-untyped]

    return ucumvert.get_ucum_parser()


def _parsed(code: str) -> Any:
    from lark.exceptions import LarkError

    try:
        return _parser().parse(code)
    except LarkError:
        return None


@cache
def _names() -> tuple[dict[str, str], dict[str, str]]:
    """Names by symbol: of units, of prefixes; from the UCUM essence that ucumvert carries."""
    import ucumvert
    from lxml import etree  # type: ignore[import-untyped]

    file = Path(ucumvert.__file__).parent / "vendor" / "ucum-essence.xml"
    parser = etree.XMLParser(no_network=True, resolve_entities=False)
    root = etree.parse(file, parser).getroot()
    units: dict[str, str] = {}
    prefixes: dict[str, str] = {}
    for element in root:
        kind = etree.QName(element).localname if isinstance(element.tag, str) else ""
        if kind in ("prefix", "unit", "base-unit"):
            name = element.findtext("{*}name") or ""
            (prefixes if kind == "prefix" else units)[element.get("Code")] = name
    return units, prefixes


def _spelled(node: Any) -> str:
    """A parse tree in words: mg/dL is "milligram per deciliter"."""
    units, prefixes = _names()
    if not hasattr(node, "children"):
        text = str(node)
        match node.type:
            case "OPERATOR" | "DIVIDE":
                return " per " if text == "/" else " "
            case "ANNOTATION":
                return f"({text[1:-1]})"
            case "PREFIX_SHORT" | "PREFIX_LONG":
                return prefixes.get(text, text)
            case "EXPONENT":
                return f" to the power {text.lstrip('+')}"
        return _TEN.get(text) or units.get(text, text)
    parts = [_spelled(child) for child in node.children]
    last = node.children[-1]
    kind = getattr(last, "type", "")
    if kind == "EXPONENT" and str(last) in _EXPONENTS and parts[0].endswith("meter"):
        return f"{_EXPONENTS[str(last)]} {''.join(parts[:-1])}"
    if kind == "ANNOTATION" and len(parts) > 1:
        return f"{''.join(parts[:-1])} {parts[-1]}"
    return "".join(parts).strip()
