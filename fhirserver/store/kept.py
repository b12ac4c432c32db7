"""What a write must leave as it is: security labels, the server's own tags, and the elements that a permission names.

Source: docs/explanation/access.md
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fhirserver.context import JsonObject, Permission, Version
from fhirserver.outcome import CANONICAL, INSUFFICIENT, Forbidden
from fhirserver.r4.jsontext import parse_json


def check_kept(permission: Permission, before: Version | None, after: JsonObject) -> None:
    """Raises Forbidden where `after` changes what `permission` keeps. `before`: None for a new resource."""
    if not (permission.keeps or permission.keeps_labels):
        return
    old: JsonObject = parse_json(before.raw) if before is not None and before.raw is not None else {}
    if permission.keeps_labels and _labels(old) != _labels(after):
        raise Forbidden(
            "Security labels (meta.security) and the server's own tags are set by others; leave them as they are.",
            code="labels-kept",
            expression=f"{after.get('resourceType')}.meta",
            challenge=INSUFFICIENT,
        )
    for name in sorted(permission.keeps):
        if old.get(name) != after.get(name) or old.get(f"_{name}") != after.get(f"_{name}"):
            raise Forbidden(
                f"The element {name} may not be changed by this token; leave it as it is.",
                code="element-kept",
                expression=f"{after.get('resourceType')}.{name}",
                challenge=INSUFFICIENT,
            )


def with_own_source(permission: Permission, before: Version | None, after: JsonObject) -> JsonObject:
    """`after` with the `meta.source` of `before`: where a resource came from is not for its users to say."""
    meta = after.get("meta")
    if not permission.keeps_labels or not isinstance(meta, dict):
        return after
    old: JsonObject = parse_json(before.raw) if before is not None and before.raw is not None else {}
    source = old.get("meta", {}).get("source")
    kept = {name: value for name, value in meta.items() if name != "source"}
    return {**after, "meta": kept | ({"source": source} if source is not None else {})}


def _labels(resource: Mapping[str, Any]) -> tuple[list[Any], list[Any]]:
    """The security labels and the server's own tags, in no order."""
    meta = resource.get("meta")
    meta = meta if isinstance(meta, dict) else {}
    security, tags = meta.get("security"), meta.get("tag")
    own = [
        tag
        for tag in (tags if isinstance(tags, list) else ())
        if isinstance(tag, dict) and str(tag.get("system", "")).startswith(CANONICAL)
    ]
    return sorted(security if isinstance(security, list) else [], key=repr), sorted(own, key=repr)
