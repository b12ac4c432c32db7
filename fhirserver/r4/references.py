"""Reference text, taken apart: relative, absolute, versioned, urn, contained, canonical.

Source: hl7.org/fhir/R4/references.html, hl7.org/fhir/R4/datatypes.html#canonical
"""

from __future__ import annotations

import re
from collections.abc import Container
from dataclasses import dataclass
from enum import StrEnum

ID = re.compile(r"[A-Za-z0-9\-.]{1,64}", re.ASCII)
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:")


class Form(StrEnum):
    """What a reference text points at."""

    LOCAL = "local"  # a resource of this server, by type and id
    FOREIGN = "foreign"  # an absolute URL elsewhere
    URN = "urn"
    CONTAINED = "contained"
    QUERY = "query"  # a conditional reference: Patient?identifier=...
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class ReferenceText:
    """One reference. `type`, `id`, `vid`: where the text names them. `url`: the text without a version."""

    form: Form
    url: str
    type: str | None = None
    id: str | None = None
    vid: str | None = None


def parse_reference(text: str, base_url: str, types: Container[str]) -> ReferenceText:
    """The parts of a Reference.reference.

    `base_url`: this server's FHIR base without a trailing slash; an absolute URL below it is local. `types`:
    the names of resource types. A foreign URL that ends like a RESTful one carries its type and id as well.
    Never raises.
    """
    rest = text
    form = Form.LOCAL
    if text.startswith("#"):
        return ReferenceText(Form.CONTAINED, text, id=text[1:] or None)
    if text.startswith("urn:"):
        return ReferenceText(Form.URN, text)
    if base_url and text.startswith(base_url + "/"):
        rest = text[len(base_url) + 1 :]
    elif _SCHEME.match(text):
        form = Form.FOREIGN
    path, _, query = rest.partition("?")
    if query:
        return ReferenceText(Form.QUERY if form is Form.LOCAL else Form.FOREIGN, text)
    parts = path.partition("#")[0].split("/")
    vid = None
    if len(parts) > 3 and parts[-2] == "_history":
        vid = parts[-1]
        parts = parts[:-2]
    whole = len(parts) == 2 if form is Form.LOCAL else len(parts) > 3
    if whole and parts[-2] in types and ID.fullmatch(parts[-1]):
        return ReferenceText(form, "/".join(parts), parts[-2], parts[-1], vid)
    return ReferenceText(Form.FOREIGN if form is Form.FOREIGN else Form.OTHER, text)


def split_canonical(text: str) -> tuple[str, str | None]:
    """Url and version of a canonical; a fragment stays out of both: `url|version#fragment`."""
    url, _, version = text.partition("#")[0].partition("|")
    return url, version or None
