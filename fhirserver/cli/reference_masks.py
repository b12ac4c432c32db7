"""docs/reference/masks.md: what each mask shows, and which role has which, from the tables that access works by."""

from __future__ import annotations

from fhirserver.access.masks import TABLES
from fhirserver.access.roles import DEFAULT

_PAGE = """\
# Masks

What is shown of a type to a role that may not see it whole; how it works: [access](../explanation/access.md#masks). Generated
from the tables of masks and roles by `make docs`.

Everything that a table does not name is left out, extensions and narrative included; `id`, `meta.versionId`,
`meta.lastUpdated`, `meta.security`, `implicitRules` and `language` are always there. `subject.reference` is a part of `subject`.
*short*: of CPF and CNS a part of the value, `***.982.247-**` and `*** **** **** 6754`, of other identifiers the system only.
*place*: hidden, but a place with the data-absent-reason `masked` says that there is something.

## Roles

| role | masks |
|---|---|
"""
_SETTINGS = """
`masks` of a role in the settings names one for each type that it sees in part; a role without it sees its types whole:

```toml
[roles.quality]
all = "Patient.rs Encounter.rs Procedure.rs"
[roles.quality.masks]
Patient = "pseudonymous"
Encounter = "pseudonymous"
Procedure = "pseudonymous"
```
"""


def masks_page() -> str:
    """docs/reference/masks.md."""
    roles = [
        f"| {name} | {', '.join(f'{type}: {mask}' for type, mask in role.masks.items())} |\n"
        for name, role in DEFAULT.items()
        if role.masks
    ]
    sections = [
        f"\n## {mask}\n\n| type | shown |\n|---|---|\n"
        + "".join(f"| {type} | {', '.join(map(_entry, text.split()))} |\n" for type, text in table.items())
        for mask, table in TABLES.items()
    ]
    return "".join((_PAGE, *roles, _SETTINGS, *sections))


def _entry(entry: str) -> str:
    if entry.startswith("!"):
        return f"{entry[1:]} (place)"
    name, _, short = entry.partition(":")
    return f"{name} ({short})" if short else name
