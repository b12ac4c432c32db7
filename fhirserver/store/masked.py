"""The one place where a version leaves the store toward a caller: as it is, or the part that the caller is shown.

And the way back: what is hidden from a writer, or only says `masked`, must not be written over what is stored.
Source: docs/explanation/access.md
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from fhirserver.context import JsonObject, Permission, Version
from fhirserver.outcome import Forbidden, Issue, IssueCode, Unprocessable
from fhirserver.r4.jsontext import dump_json, parse_json
from fhirserver.search.expression import Expression
from fhirserver.search.guard import Guard
from fhirserver.search.mask import Masks, marks, masked
from fhirserver.search.query import SearchQuery
from fhirserver.store.home import AUDIT_TYPE

_CONTAINED = b'"contained":'
_SIGNS = (b'"masked"', b'"SUBSETTED"')


def shown(version: Version, permission: Permission) -> Version:
    """The version as the caller sees it; the same object where nothing is hidden."""
    masks = permission.masks
    if masks is None or version.raw is None or version.type == AUDIT_TYPE:  # events are evidence, to the byte
        return version
    mask = masks.of.get(version.type)
    if mask is None and _CONTAINED not in version.raw:
        return version
    whole = mask is not None and mask.is_whole(version.type, version.id, version.patients)
    resource = parse_json(version.raw)
    part = masked(resource, masks, whole=whole)
    return version if part is resource else replace(version, raw=dump_json(part))


def check_shown(version: Version | None, permission: Permission) -> None:
    """Raises Unprocessable where a part of `version`, which is to be changed, is hidden from the writer."""
    if version is not None and shown(version, permission) is not version:
        raise Unprocessable(
            "A part of this resource is hidden from you, so that you cannot change it: your copy would overwrite what "
            "you do not see.",
            code="masked-not-writable",
            expression=version.type,
        )


def check_marks(before: Version | None, raw: bytes | None, after: JsonObject) -> None:
    """Raises Unprocessable where an update brings in values that only say `masked`. `raw`: of `after`."""
    if before is None or before.raw is None or raw is None or not any(sign in raw for sign in _SIGNS):
        return
    if marks(after) > marks(parse_json(before.raw)):
        raise Unprocessable(
            "This is a masked or subsetted copy; an update would replace what is stored by it. Read the whole resource, "
            "or send a patch.",
            code="masked-copy",
            expression=str(after.get("resourceType")),
        )


def unrevealing(
    query: SearchQuery, filters: Sequence[tuple[str, Expression]], masks: Masks
) -> tuple[list[tuple[str, Expression]], tuple[Issue, ...]]:
    """The filters such that they tell nothing of what is hidden. Of several types those are left out that would.

    Raises Forbidden where nothing is left, and for `_contained`, whose index does not know what is hidden.
    """
    if masks.of and query.shown.contained != "false":
        raise Forbidden(
            "_contained is not offered to roles that see a part of some types only.", code="contained-masked"
        )
    guard = Guard(masks.of, inside=True)
    found, left_out = [], []
    for type, filter in filters:
        try:
            found.append((type, guard.guarded(type, filter, [key.field for key in query.sort if key.field])))
        except Forbidden:
            if len(filters) == 1:
                raise
            left_out.append(type)
    if not left_out:
        return found, ()
    text = (
        f"Left out, because the search looks at elements that your role does not see: {', '.join(left_out)}"
    )
    return found, (Issue(IssueCode.SUPPRESSED, "parameter-masked", text, severity="warning"),)
