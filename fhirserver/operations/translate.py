"""$translate of a ConceptMap. Source: hl7.org/fhir/R4/conceptmap-operation-translate.html."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fhirserver.context import Interaction, JsonObject, Permission, Result
from fhirserver.operations.parameters import Given, Parameter, answer, read_parameters
from fhirserver.operations.terms import asked, own_resource, visible, with_version
from fhirserver.outcome import BadRequest, NotFound
from fhirserver.terminology.canonical import split_canonical
from fhirserver.terminology.conceptmaps import (
    NO_MATCH,
    ConceptMap,
    Match,
    Wanted,
    parse_concept_map,
    translate,
)

if TYPE_CHECKING:
    from fhirserver.services import Services

PARAMETERS = (
    Parameter("url", "uri"),
    Parameter("conceptMap", "ConceptMap"),
    Parameter("conceptMapVersion", "string"),
    Parameter("code", "code"),
    Parameter("system", "uri"),
    Parameter("version", "string"),
    Parameter("source", "uri"),
    Parameter("coding", "Coding"),
    Parameter("codeableConcept", "CodeableConcept"),
    Parameter("target", "uri"),
    Parameter("targetsystem", "uri"),
    Parameter("dependency", "parts", repeats=True),
    Parameter("reverse", "boolean"),
)
_MOST_MAPS = 8
"""Most maps that hand an unmapped code on to each other."""


async def handle(interaction: Interaction, permission: Permission, services: Services) -> Result:
    """`result`: true where there is a translation; a `match` for each, with its equivalence and its map.

    Raises NotFound where the map that is named is unknown.
    """
    given = read_parameters(interaction, services, PARAMETERS)
    codes = asked(given, given.text("system"))
    if any(one.system is None for one in codes):
        raise BadRequest("A code to translate comes with its system.", code="parameter-missing")
    reverse = given.flag("reverse")
    dependencies = tuple(_dependency(each) for each in given.all("dependency"))
    maps = await _maps(interaction, permission, services, given)
    matches: list[Match] = []
    for one in codes:
        wanted = Wanted(one.system, one.code, given.text("targetsystem"), reverse, dependencies)
        for map in maps:
            matches += [each for each in await _through(map, wanted, services) if each not in matches]
    found = any(match.equivalence not in NO_MATCH for match in matches)
    message = None if found else "No concept map that applies has a translation for this code."
    return Result(
        200,
        resource=answer(
            {"name": "result", "valueBoolean": found},
            {"name": "message", "valueString": message} if message else None,
            *(_match(match) for match in matches),
        ),
    )


async def _maps(
    interaction: Interaction, permission: Permission, services: Services, given: Given
) -> list[ConceptMap]:
    """The map that is named, else all that go from `source` to `target` (swapped in reverse)."""
    names = ("url", "conceptMap")
    resource = await own_resource(interaction, permission, services, given, names) or given.one("conceptMap")
    if resource is not None:
        return [parse_concept_map(resource)]
    url = given.text("url")
    if url is not None:
        found = await services.terminology.concept_map(with_version(url, given.text("conceptMapVersion")))
        if found is None:
            raise NotFound("There is no concept map with that url (and version).", code="concept-map-unknown")
        await visible("ConceptMap", found.stored_id, permission, services)
        return [found]
    source, target = given.text("source"), given.text("target")
    if given.flag("reverse"):
        source, target = target, source
    maps = [
        map
        for map in await services.terminology.concept_maps()
        if _is(map.source, source) and _is(map.target, target)
    ]
    if permission.restriction("ConceptMap") is None and "ConceptMap" not in permission.denied:
        return maps
    return [map for map in maps if await _is_visible(map, permission, services)]


async def _is_visible(map: ConceptMap, permission: Permission, services: Services) -> bool:
    try:
        await visible("ConceptMap", map.stored_id, permission, services)
    except NotFound:
        return False
    return True


def _is(canonical: str | None, wanted: str | None) -> bool:
    if wanted is None:
        return True
    return canonical is not None and split_canonical(canonical)[0] == split_canonical(wanted)[0]


async def _through(map: ConceptMap, wanted: Wanted, services: Services) -> list[Match]:
    """What a map says, and those that it hands an unmapped code to."""
    matches, others = translate(map, wanted)
    seen = {map.url}
    while others and len(seen) < _MOST_MAPS:
        url = others.pop()
        other = await services.terminology.concept_map(url)
        if other is not None and other.url not in seen:
            seen.add(other.url)
            more, further = translate(other, wanted)
            matches += more
            others += further
    return matches


def _dependency(parts: dict[str, Any]) -> tuple[str, frozenset[str]]:
    element, concept = parts.get("element"), parts.get("concept")
    codings = concept.get("coding", ()) if isinstance(concept, dict) else None
    if not isinstance(element, str) or not isinstance(codings, list | tuple):
        raise BadRequest("A dependency has an element and a concept.", code="parameter-value")
    return element, frozenset(str(c.get("code")) for c in codings if isinstance(c, dict))


def _match(match: Match) -> JsonObject:
    coding = {
        name: value
        for name, value in (
            ("system", match.system),
            ("version", match.version),
            ("code", match.code),
            ("display", match.display),
        )
        if value is not None
    }
    parts: list[JsonObject] = [{"name": "equivalence", "valueCode": match.equivalence}]
    if "code" in coding:
        parts.append({"name": "concept", "valueCoding": coding})
    parts += [_product(product) for product in match.products]
    if match.map:
        parts.append({"name": "source", "valueUri": match.map})
    return {"name": "match", "part": parts}


def _product(product: JsonObject) -> JsonObject:
    coding = {name: product[key] for key, name in _PRODUCT if key in product}
    return {
        "name": "product",
        "part": [
            {"name": "element", "valueUri": product.get("property")},
            {"name": "concept", "valueCoding": coding},
        ],
    }


_PRODUCT = (("system", "system"), ("value", "code"), ("display", "display"))
