"""$meta, $meta-add, $meta-delete. Source: hl7.org/fhir/R4/resource-operation-meta.html and its -add, -delete pages."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fhirserver.context import Interaction, JsonObject, Permission, Result, Version
from fhirserver.outcome import BadRequest, Gone, NotFound, NotSupported
from fhirserver.r4.jsontext import parse_json

if TYPE_CHECKING:
    from collections.abc import Callable

    from fhirserver.services import Services

    Change = Callable[[JsonObject, JsonObject], JsonObject]

_SETS = ("profile", "tag", "security")


async def handle(interaction: Interaction, permission: Permission, services: Services) -> Result:
    """The meta of a resource or version; at type and system level all profiles, tags and labels in use."""
    if interaction.id is None:
        return _answer(await services.store.labels(interaction.type, permission=permission))
    if interaction.vid is not None:
        vid = int(interaction.vid) if interaction.vid.isdigit() else 0
        version = await services.store.vread(*interaction.instance, vid, permission=permission)
    else:
        version = await services.store.read(*interaction.instance, permission=permission)
    return _answer(parse_json(version.raw or b"{}").get("meta", {}))


async def handle_add(interaction: Interaction, permission: Permission, services: Services) -> Result:
    """Add what is not there yet; the set is a union by system and code (profiles: by URL)."""
    return await _change(interaction, permission, services, _union)


async def handle_delete(interaction: Interaction, permission: Permission, services: Services) -> Result:
    """Remove what is there; what is not there is no error."""
    return await _change(interaction, permission, services, _difference)


async def _change(
    interaction: Interaction, permission: Permission, services: Services, combine: Change
) -> Result:
    if interaction.vid is not None:
        raise NotSupported(
            "Earlier versions are immutable; call the operation on the resource itself.",
            code="version-immutable",
        )
    given = _given(interaction.body)

    async def change(current: Version | None) -> JsonObject | None:
        if current is None:
            raise NotFound("There is no such resource.", code="resource-unknown")
        if current.raw is None:
            raise Gone("The resource was deleted.", code="resource-deleted")
        resource: JsonObject = parse_json(current.raw)
        meta = resource.get("meta", {})
        combined = combine(meta, given)
        if combined == meta:
            return None
        resource["meta"] = combined
        services.validator.require(resource, interaction.type)
        return resource

    version = await services.store.modify(*interaction.instance, change, permission=permission, method="POST")
    return _answer(parse_json(version.raw or b"{}").get("meta", {}))


def _given(body: Any) -> JsonObject:
    if isinstance(body, dict) and body.get("resourceType") == "Parameters":
        for parameter in body.get("parameter") or ():
            if isinstance(parameter, dict) and parameter.get("name") == "meta":
                meta = parameter.get("valueMeta")
                if isinstance(meta, dict) and all(isinstance(meta.get(name, []), list) for name in _SETS):
                    return meta
    raise BadRequest(
        "Send a Parameters resource with one parameter 'meta' that holds a valueMeta with profile, tag or security.",
        code="parameters-invalid",
        expression="Parameters.parameter.where(name='meta')",
    )


def _identity(item: Any) -> Any:
    return (item.get("system"), item.get("code")) if isinstance(item, dict) else item


def _union(meta: JsonObject, given: JsonObject) -> JsonObject:
    combined = dict(meta)
    for name in _SETS:
        known = {_identity(item) for item in meta.get(name, ())}
        fresh = {_identity(item): item for item in given.get(name, ()) if _identity(item) not in known}
        if fresh:
            combined[name] = [*meta.get(name, ()), *fresh.values()]
    return combined


def _difference(meta: JsonObject, given: JsonObject) -> JsonObject:
    combined = dict(meta)
    for name in _SETS:
        gone = {_identity(item) for item in given.get(name, ())}
        kept = [item for item in meta.get(name, ()) if _identity(item) not in gone]
        if kept:
            combined[name] = kept
        else:
            combined.pop(name, None)
    return combined


def _answer(meta: JsonObject) -> Result:
    parameter: JsonObject = {"name": "return"}
    if meta:
        parameter["valueMeta"] = meta
    return Result(200, resource={"resourceType": "Parameters", "parameter": [parameter]})
