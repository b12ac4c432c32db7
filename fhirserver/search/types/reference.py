"""Reference parameters.

`<tenant>/<Type>/<id>` for resources of this server, absolute URLs, urns and canonicals as such.

A version in a literal reference is left out on both sides: it asks for the resource, whichever version.
Contained targets (#id) are not indexed. Source: hl7.org/fhir/R4/search.html#reference,
hl7.org/fhir/R4/references.html
"""

from __future__ import annotations

from collections.abc import Container, Sequence
from dataclasses import dataclass
from typing import Any

from fhirserver.outcome import InvalidSearchValue
from fhirserver.r4.references import ID, Form, parse_reference, split_canonical
from fhirserver.search.types.escapes import unescape


@dataclass(frozen=True, slots=True)
class Site:
    """Whose references these are.

    `base_url`: FHIR base without a trailing slash. `types`: all resource types.
    """

    tenant: str
    base_url: str
    types: Container[str]

    def key(self, type: str, id: str) -> str:
        """The entry for a resource of this server."""
        return f"{self.tenant}/{type}/{id}"


@dataclass(frozen=True, slots=True)
class ReferenceValue:
    """One value.

    `keys`: the entries to look for, any of them. `type`, `id`: where the text names a local resource.
    """

    keys: tuple[str, ...]
    type: str | None = None
    id: str | None = None


def parse(text: str, site: Site, targets: Sequence[str], type: str | None = None) -> ReferenceValue:
    """A search text: `id`, `Type/id`, an absolute URL, a urn or `canonical|version`.

    `targets`: SearchParameter.targets, which a bare id may stand for. `type`: the [type] modifier; it narrows
    to one. Raises InvalidSearchValue (search-value-reference, search-value-reference-type).
    """
    plain = unescape(text)
    if type is None and plain and ID.fullmatch(plain):
        return ReferenceValue(tuple(site.key(target, plain) for target in targets) or (plain,), None, plain)
    if type is not None and ID.fullmatch(plain):
        return ReferenceValue((site.key(type, plain),), type, plain)
    parsed = parse_reference(plain, site.base_url, site.types)
    if type is not None and parsed.type != type:
        raise InvalidSearchValue(
            f"With the modifier :{type} the value is an id, {type}/id or the URL of one.",
            code="search-value-reference-type",
        )
    match parsed.form:
        case Form.LOCAL:
            key = site.key(parsed.type or "", parsed.id or "")
            # An absolute text may also be meant as a canonical url that lies below this server's base.
            return ReferenceValue((key, plain) if plain != parsed.url else (key,), parsed.type, parsed.id)
        case Form.FOREIGN:
            return ReferenceValue((parsed.url,))
        case Form.URN:
            return ReferenceValue((plain,))
    raise InvalidSearchValue(
        "A reference to search for is an id, Type/id, an absolute URL, a urn or a canonical url.",
        code="search-value-reference",
    )


def index(type: str, value: Any, site: Site) -> list[str]:
    """The entries of one value of a FHIR type.

    Reference, canonical, a uri, or a whole resource inside a Bundle.
    """
    if type == "Reference":
        text = value.get("reference") if isinstance(value, dict) else None
        return index_text(text, site) if isinstance(text, str) else []
    if type == "Resource":
        if isinstance(value, dict) and value.get("resourceType") in site.types and "id" in value:
            return [site.key(value["resourceType"], value["id"])]
        return []
    if not isinstance(value, str) or value.startswith("#"):
        return []
    url, version = split_canonical(value)
    entries = [url, f"{url}|{version}"] if version else [url]
    parsed = parse_reference(url, site.base_url, site.types)
    if parsed.form is Form.LOCAL:
        entries.append(site.key(parsed.type or "", parsed.id or ""))
    return [entry for entry in entries if entry]


def index_text(text: str, site: Site) -> list[str]:
    """The entries of a Reference.reference."""
    target, slash, rest = text.partition("/")
    if slash and target in site.types and ID.fullmatch(rest):
        return [f"{site.tenant}/{text}"]
    parsed = parse_reference(text, site.base_url, site.types)
    match parsed.form:
        case Form.LOCAL:
            return [site.key(parsed.type or "", parsed.id or "")]
        case Form.CONTAINED | Form.QUERY:
            return []
    return [parsed.url] if parsed.url else []
