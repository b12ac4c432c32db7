"""docs/reference/search.md: what of R4's search is supported, from the tables that the search itself uses."""

from __future__ import annotations

from collections import Counter

from fhirserver.r4.definitions import Definitions
from fhirserver.search.query import GENERAL, INCLUDES
from fhirserver.search.types.ranges import PREFIXES
from fhirserver.settings import Limits, Settings

_PAGE = """\
# Search

Every search parameter of R4 (4.0.1) works on every resource type, at type level, inside a compartment and, where all
types have it, over several types. This page is generated from the tables that the search uses (`make docs`); recipes
are in [how to search](../how-to/search.md), the reasons in [how search works](../explanation/search.md).

## Parameter types

{count} parameters on {types} resource types.

| type | parameters | modifiers | prefixes | a value is written |
|---|---|---|---|---|
"""
_FORMS = {
    "number": "`100`, `100.00`, `1e2`: the precision of the text is the range that is meant",
    "date": "`2026`, `2026-03`, `2026-03-01T10:00-03:00`: a moment is the range that its text covers; without a zone, UTC",
    "string": "starts with, without regard to case and accents",
    "token": "`code`, `system\\|code`, `\\|code` (no system), `system\\|` (any code); exact, never folded",
    "reference": "`id`, `Type/id`, a URL of this or another server, `urn:...`; a canonical `url\\|version`",
    "composite": "parts joined by `$`; all hold for one and the same element",
    "quantity": "`5.4`, `5.4\\|system\\|code`, `5.4\\|\\|unit`: units are compared as written, not converted",
    "uri": "the whole uri, case and all",
    "special": "`near`: `latitude\\|longitude\\|distance\\|unit` in km, m or [mi_i]; 10 km where no distance is given",
}
_RANGED = ("number", "date", "quantity")
_ALWAYS = """
Values separated by `,` are alternatives; a parameter given twice must hold twice. `\\`, before `,` `|` `$` or `\\`, takes their
meaning away. `:missing=true|false` asks whether there is a value at all. `:in` and `:not-in` on tokens name a value set,
`:above` and `:below` a code as `system|code`: see [terminology](terminology.md#search).

## Parameters of every resource

| parameter | type |
|---|---|
"""
_RESULT = """
Besides these: `_has:Type:reference:parameter`, chains (`subject:Patient.name`), `_list` (the id of a List; the functional
lists are not offered), `_filter` (with `re`, `po`, `pr`, `co`, `sw`, `ew` and the comparisons; `ss`, `sb`, `in`, `ni` on tokens
by [terminology](terminology.md#search)), `_type` at system level. `_query` is not offered: there are no named queries.

## The answer

| parameter | values |
|---|---|
| {includes} | `Type:parameter`, `Type:parameter:Target`, `Type:*`, `*`; with `:iterate` also from included resources |
| `_sort` | parameters of type string, token, reference, uri, date, number, quantity; `-` for descending; missing values last |
| `_count` | page size; 0 is the number of matches alone |
| `_total` | `none`, `estimate`, `accurate`; without it the total is given where it costs nothing |
| `_summary` | `true`, `text`, `data`, `count`, `false` |
| `_elements` | names of elements; mandatory and modifier elements come too |
| `_contained`, `_containedType` | `false`, `true`, `both`; `container`, `contained` |
| `_explain` | `true`: the plan that MongoDB chose instead of the matches, for those who may see everything |
| {general} | format and indentation |

A page has a link `next` while there is more, and `self`. The links are signed and hold for a day.

## Limits

| limit | default | setting |
|---|---|---|
"""
_LIMITS = (
    "search_parameters", "or_values", "chain_depth", "count_default", "count_max", "included", "include_rounds",
    "search_ms", "url_bytes",
)  # fmt: skip
_TYPES = """
## Parameters by resource type

Those of every resource are left out. A clinic adds its own with `POST /SearchParameter` and `fhirserver reindex`.

| resource type | parameters |
|---|---|
"""


def search_page() -> str:
    """The page."""
    definitions = Definitions.load()
    common = definitions.search_parameters("Resource")
    types = sorted(definitions.resource_types)
    own = {
        type: {c: p for c, p in sorted(definitions.search_parameters(type).items()) if c not in common}
        for type in types
    }
    counts = Counter(p.type for parameters in own.values() for p in parameters.values())
    counts.update(p.type for p in common.values())
    modifiers = {p.type: p.modifiers for parameters in own.values() for p in parameters.values()}
    page = [_PAGE.format(count=sum(counts.values()), types=len(types))]
    for kind, form in _FORMS.items():
        names = ", ".join(f"`:{name}`" for name in modifiers[kind]).replace("`:type`", "`:[type]`") or "none"
        prefixes = " ".join(PREFIXES) if kind in _RANGED else ""
        page.append(f"| {kind} | {counts[kind]} | {names} | {prefixes} | {form} |\n")
    page.append(_ALWAYS)
    page += [f"| `{code}` | {parameter.type} |\n" for code, parameter in sorted(common.items())]
    page.append(
        _RESULT.format(
            includes=", ".join(f"`{i}`" for i in INCLUDES), general=", ".join(f"`{g}`" for g in GENERAL)
        )
    )
    for name in _LIMITS:
        field, value = Limits.model_fields[name], getattr(Settings.model_fields["limits"].default, name)
        page.append(f"| {field.description} | {value} | `FHIRSERVER_LIMITS__{name.upper()}` |\n")
    page.append(_TYPES)
    for type, parameters in own.items():
        listed = ", ".join(f"{code} ({parameter.type})" for code, parameter in parameters.items())
        page.append(f"| {type} | {listed} |\n")
    return "".join(page)
