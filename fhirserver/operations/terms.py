"""What the terminology operations share: which resource is meant, and the codes that are asked about."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from fhirserver.context import Interaction, JsonObject, Permission
from fhirserver.operations.parameters import Given
from fhirserver.outcome import BadRequest, NotFound
from fhirserver.r4.jsontext import parse_json
from fhirserver.terminology.canonical import split_canonical
from fhirserver.terminology.concepts import Designation
from fhirserver.terminology.systems import MemorySystem, System
from fhirserver.terminology.validate import Asked
from fhirserver.terminology.valuesets import ValueSet, parse_value_set

if TYPE_CHECKING:
    from fhirserver.services import Services


async def own_resource(
    interaction: Interaction, permission: Permission, services: Services, given: Given, names: Sequence[str]
) -> JsonObject | None:
    """The resource that the call is made on, None at type level. Raises BadRequest where `names` name another."""
    if interaction.id is None:
        return None
    if any(name in given for name in names):
        raise BadRequest(
            f"The operation is called on a resource, so that {' and '.join(names)} are left out.",
            code="parameter-conflict",
        )
    version = await services.store.read(*interaction.instance, permission=permission)
    resource: JsonObject = parse_json(version.raw or b"{}")
    return resource


async def visible(type: str, stored_id: str | None, permission: Permission, services: Services) -> None:
    """Raise NotFound where what a canonical led to is a stored resource that the agent may not see."""
    if stored_id is not None and (type in permission.denied or permission.restriction(type) is not None):
        await services.store.read(type, stored_id, permission=permission)


async def value_set_of(
    interaction: Interaction, permission: Permission, services: Services, given: Given
) -> ValueSet:
    """The value set that a call is about: its own, the one it sends, or the one it names."""
    resource = await own_resource(interaction, permission, services, given, ("url", "valueSet"))
    resource = resource if resource is not None else given.one("valueSet")
    if resource is not None:
        if "url" in given and resource.get("url") != given.one("url"):
            raise BadRequest("url and valueSet name different value sets.", code="parameter-conflict")
        return parse_value_set(resource)
    url = given.text("url")
    if url is None:
        raise BadRequest("Name a value set by url, or send one as valueSet.", code="parameter-missing")
    found = await services.terminology.value_set(with_version(url, given.text("valueSetVersion")))
    if found is None:
        raise NotFound("There is no value set with that url (and version).", code="value-set-unknown")
    await visible("ValueSet", found.stored_id, permission, services)
    return found


def with_version(canonical: str, version: str | None) -> str:
    """The canonical with `version`, where it was given beside it. Raises BadRequest where the two differ."""
    url, own = split_canonical(canonical)
    if version is not None and own not in (None, version):
        raise BadRequest(
            "The url and the version parameter name different versions.", code="parameter-conflict"
        )
    return canonical if version is None else f"{url}|{version}"


async def system_of(
    interaction: Interaction,
    permission: Permission,
    services: Services,
    given: Given,
    names: tuple[str, str],
    coded: str | None = None,
) -> System:
    """The code system that a call is about. `names`: of its url and version. `coded`: the system of its codings."""
    resource = await own_resource(interaction, permission, services, given, (names[0], "codeSystem"))
    resource = resource if resource is not None else given.one("codeSystem")
    if resource is not None and resource.get("content") != "not-present":
        return MemorySystem(resource, "request")
    url = resource.get("url") if resource is not None else given.text(names[0]) or coded
    if not url:
        raise BadRequest(f"Name a code system by {names[0]}.", code="parameter-missing")
    base, version = split_canonical(with_version(url, given.text(names[1])))
    found = await services.terminology.system(base, version)
    if found is None or found.info.content == "not-present":
        raise NotFound(
            "The server does not have the content of that code system (and version).",
            code="code-system-unknown",
        )
    await visible("CodeSystem", found.info.stored_id, permission, services)
    return found


def asked(given: Given, system: str | None) -> list[Asked]:
    """The codes to validate: of code, coding or codeableConcept, exactly one of which is given."""
    ways = [name for name in ("code", "coding", "codeableConcept") if name in given]
    if len(ways) != 1:
        raise BadRequest("Give one of code, coding and codeableConcept.", code="parameter-missing")
    match ways[0]:
        case "code":
            version = given.text("systemVersion") if "systemVersion" in given else None
            return [Asked(system, given.one("code"), version, given.text("display"))]
        case "coding":
            return [coding_of(given.one("coding"), "coding")]
    codings = given.one("codeableConcept").get("coding", ())
    if not isinstance(codings, list) or not codings:
        raise BadRequest("The codeableConcept has no coding.", code="parameter-value")
    return [coding_of(coding, "codeableConcept") for coding in codings]


def coding_of(coding: Any, name: str) -> Asked:
    """A Coding with its parts checked. Raises BadRequest."""
    parts = coding if isinstance(coding, dict) else {}
    system, code, version, display = (parts.get(key) for key in ("system", "code", "version", "display"))
    if (
        not isinstance(code, str)
        or not code
        or not all(_is_text(part) for part in (system, version, display))
    ):
        raise BadRequest(f"A coding of {name} has a code, and texts only.", code="parameter-value")
    return Asked(system, code, version, display)


def _is_text(part: Any) -> bool:
    return part is None or isinstance(part, str)


def designation_json(designation: Designation) -> JsonObject:
    """A designation as in CodeSystem and ValueSet."""
    shown: JsonObject = {}
    if designation.language is not None:
        shown["language"] = designation.language
    if designation.use is not None:
        shown["use"] = designation.use
    return shown | {"value": designation.value}
