"""$lookup of a CodeSystem: all that is known of one code. Source: hl7.org/fhir/R4/codesystem-operation-lookup.html."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from fhirserver.context import Interaction, JsonObject, Permission, Result
from fhirserver.operations.parameters import Given, Parameter, answer, read_parameters
from fhirserver.operations.terms import coding_of, designation_json, system_of
from fhirserver.outcome import BadRequest, NotFound
from fhirserver.terminology.filters import Filter
from fhirserver.terminology.systems import Branch, Selection

if TYPE_CHECKING:
    from fhirserver.services import Services
    from fhirserver.terminology.concepts import Concept
    from fhirserver.terminology.systems import System

PARAMETERS = (
    Parameter("code", "code"),
    Parameter("system", "uri"),
    Parameter("version", "string"),
    Parameter("coding", "Coding"),
    Parameter("date", "dateTime", refused=True),
    Parameter("displayLanguage", "code"),
    Parameter("property", "code", repeats=True),
)
_CHILDREN = 1000
_PARTS = {"language": "valueCode", "use": "valueCoding", "value": "valueString"}


async def handle(interaction: Interaction, permission: Permission, services: Services) -> Result:
    """Display, designations and properties of the code. 404 where the system is unknown or lacks the code."""
    given = read_parameters(interaction, services, PARAMETERS)
    if ("code" in given) is ("coding" in given):
        raise BadRequest("Give code and system, or coding.", code="parameter-missing")
    coding = coding_of(given.one("coding"), "coding") if "coding" in given else None
    if (coding.system if coding is not None else given.one("system")) is None:
        raise BadRequest("A code to look up comes with its system.", code="parameter-missing")
    if coding is not None:
        if "system" in given or "version" in given:
            raise BadRequest("coding says system and version itself.", code="parameter-conflict")
        given = Given({**given.values, **({"version": [coding.version]} if coding.version else {})})
    url = coding.system if coding is not None else None
    system = await system_of(interaction, permission, services, given, ("system", "version"), url)
    code = coding.code if coding is not None else given.one("code")
    concept = (await system.find([code])).get(code)
    if concept is None:
        raise NotFound("The code system does not have this code.", code="code-unknown")
    wanted = frozenset(given.all("property"))
    language = given.text("displayLanguage")
    info = system.info
    return Result(
        200,
        resource=answer(
            {"name": "name", "valueString": info.title or info.name or info.url},
            {"name": "version", "valueString": info.version} if info.version else None,
            {"name": "display", "valueString": concept.display_in(language) or concept.code},
            *(_designations(concept) if not wanted or "designation" in wanted else ()),
            *await _properties(system, concept, wanted),
        ),
    )


async def _properties(system: System, concept: Concept, wanted: frozenset[str]) -> list[JsonObject]:
    """The properties asked for, all without a wish; `parent` and `child` with their displays."""
    found = [_property(p.code, p.kind, p.value) for p in concept.properties if not wanted or p.code in wanted]
    stated = any(p.code == "inactive" for p in concept.properties)
    if not stated and (not wanted or "inactive" in wanted):
        found.append(_property("inactive", "valueBoolean", concept.inactive))
    if concept.definition is not None and (not wanted or "definition" in wanted):
        found.append(_property("definition", "valueString", concept.definition))
    if system.info.hierarchical and (not wanted or "parent" in wanted):
        above = await system.find(concept.parents)
        found += [_property("parent", "valueCode", c.code, c.display) for c in above.values()]
    if system.info.hierarchical and (not wanted or "child" in wanted):
        below = await _children(system, concept)
        found += [_property("child", "valueCode", c.code, c.display) for c in below]
    return found


def _designations(concept: Concept) -> Iterator[JsonObject]:
    for each in concept.designations:
        json = designation_json(each)
        parts = [{"name": name, _PARTS[name]: value} for name, value in json.items()]
        yield {"name": "designation", "part": parts}


def _property(code: str, kind: str, value: object, description: str | None = None) -> JsonObject:
    parts = [{"name": "code", "valueCode": code}, {"name": "value", kind: value}]
    if description is not None:
        parts.append({"name": "description", "valueString": description})
    return {"name": "property", "part": parts}


async def _children(system: System, concept: Concept) -> list[Concept]:
    selection = Selection((Branch(None, (Filter("parent", "=", concept.code),)),))
    return list((await system.select(selection, 0, _CHILDREN)).concepts)
