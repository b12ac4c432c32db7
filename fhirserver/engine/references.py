"""References inside a transaction's resources: found and rewritten. Source: hl7.org/fhir/R4/http.html#trules."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

_URI_ELEMENTS = ("reference", "uri", "url", "valueUri", "valueUrl", "valueOid", "valueUuid")
_CONDITIONAL = re.compile(r"[A-Z][A-Za-z]{2,40}\?.+")
_IN_NARRATIVE = re.compile(r"""(\b(?:href|src)\s*=\s*)(["'])([^"']+)\2""")


def rewrite(value: Any, known: Mapping[str, str]) -> Any:
    """`value` with every reference and URI that is a key of `known` replaced; unchanged parts are shared, not copied.

    Links in narrative (`href`, `src`) are replaced too. A version or fragment behind the URL is kept.
    """
    if isinstance(value, dict):
        changed: dict[str, Any] | None = None
        for key, item in value.items():
            if item.__class__ is str:
                new = _rewrite_text(key, item, known)
            elif item.__class__ is dict or item.__class__ is list:
                new = rewrite(item, known)
            else:
                continue
            if new is not item:
                changed = changed or dict(value)
                changed[key] = new
        return changed or value
    if isinstance(value, list):
        items = [rewrite(item, known) if item.__class__ in (dict, list) else item for item in value]
        return items if any(new is not old for new, old in zip(items, value, strict=True)) else value
    return value


def _rewrite_text(key: str, text: str, known: Mapping[str, str]) -> str:
    if key in _URI_ELEMENTS:
        target = known.get(text)
        if target is not None:
            return target
        stem, mark, rest = text.partition("#")
        if mark and stem in known:
            return f"{known[stem]}#{rest}"
    elif key == "div" and ("href" in text or "src" in text):
        return _IN_NARRATIVE.sub(lambda m: f"{m[1]}{m[2]}{known.get(m[3], m[3])}{m[2]}", text)
    return text


def find_conditional(value: Any) -> set[str]:
    """The conditional references (`Patient?identifier=...`) inside a resource."""
    found: set[str] = set()
    stack = [value]
    while stack:
        item = stack.pop()
        if isinstance(item, dict):
            text = item.get("reference")
            if isinstance(text, str) and "?" in text and _CONDITIONAL.fullmatch(text):
                found.add(text)
            stack.extend(child for child in item.values() if child.__class__ in (dict, list))
        elif isinstance(item, list):
            stack.extend(child for child in item if child.__class__ in (dict, list))
    return found
