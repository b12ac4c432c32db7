"""$expand of a ValueSet. Source: hl7.org/fhir/R4/valueset-operation-expand.html."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fhirserver.context import Interaction, JsonObject, Permission, Result
from fhirserver.operations.parameters import Given, Parameter, read_parameters
from fhirserver.operations.terms import designation_json, value_set_of
from fhirserver.outcome import BadRequest
from fhirserver.store.documents import instant
from fhirserver.terminology.canonical import split_canonical
from fhirserver.terminology.concepts import Designation, words_of
from fhirserver.terminology.expand import Entry, Expansion, Options, expand
from fhirserver.terminology.nesting import Node, nest
from fhirserver.terminology.versions import Versions, canonical_pairs

if TYPE_CHECKING:
    from fhirserver.services import Services
    from fhirserver.terminology.valuesets import ValueSet

PARAMETERS = (
    Parameter("url", "uri"),
    Parameter("valueSet", "ValueSet"),
    Parameter("valueSetVersion", "string"),
    Parameter("context", "uri", refused=True),
    Parameter("contextDirection", "code", refused=True),
    Parameter("filter", "string"),
    Parameter("date", "dateTime", refused=True),
    Parameter("offset", "integer"),
    Parameter("count", "integer"),
    Parameter("includeDesignations", "boolean"),
    Parameter("designation", "string", repeats=True),
    Parameter("includeDefinition", "boolean"),
    Parameter("activeOnly", "boolean"),
    Parameter("excludeNested", "boolean"),
    Parameter("excludeNotForUI", "boolean"),
    Parameter("excludePostCoordinated", "boolean"),
    Parameter("displayLanguage", "code"),
    Parameter("exclude-system", "canonical", repeats=True),
    Parameter("system-version", "canonical", repeats=True),
    Parameter("check-system-version", "canonical", repeats=True),
    Parameter("force-system-version", "canonical", repeats=True),
)
_MOST_WORDS = 20
_ECHOED = {"boolean": "valueBoolean", "integer": "valueInteger", "code": "valueCode", "string": "valueString"}
_HEAD = ("url", "version", "name", "title", "status", "experimental", "date", "publisher", "copyright")


async def handle(interaction: Interaction, permission: Permission, services: Services) -> Result:
    """The value set with its expansion: nested where its code system is, flat where a page or a filter is asked for.

    Raises NotFound (value-set-unknown), TooCostly, Unprocessable, NotSupported.
    """
    given = read_parameters(interaction, services, PARAMETERS)
    value_set = await value_set_of(interaction, permission, services, given)
    expansion = await expand(services.terminology, value_set, _options(given, services))
    shown = _Shown(given.text("displayLanguage"), _designations(given))
    flat = any(name in given for name in ("offset", "count", "filter")) or given.flag("excludeNested")
    if flat or not expansion.hierarchical:
        contains: Sequence[JsonObject] = [shown.entry(entry) for entry in expansion.entries]
    else:
        contains = [shown.node(node) for node in nest(expansion.entries)]
    return Result(200, resource=_resource(value_set, given, expansion, contains, services))


def _options(given: Given, services: Services) -> Options:
    words = words_of(given.text("filter") or "")
    if len(words) > _MOST_WORDS:
        raise BadRequest(f"filter has at most {_MOST_WORDS} words.", code="parameter-value")
    return Options(
        words=tuple(words),
        offset=given.one("offset") or 0,
        count=given.one("count"),
        active=given.flag("activeOnly"),
        selectable=given.flag("excludeNotForUI"),
        without=tuple(split_canonical(each) for each in given.all("exclude-system")),
        versions=Versions(
            canonical_pairs(given.all("system-version")),
            canonical_pairs(given.all("check-system-version")),
            canonical_pairs(given.all("force-system-version")),
        ),
        most=services.settings.limits.expansion,
    )


def _designations(given: Given) -> tuple[tuple[str, str], ...] | None:
    """Which designations to show, as tokens (system, code); empty: all; None: none."""
    wanted = [each.rpartition("|") for each in given.all("designation")]
    if wanted:
        return tuple((system, code) for system, _, code in wanted)
    return () if given.flag("includeDesignations") else None


@dataclass(frozen=True, slots=True)
class _Shown:
    """How a code is shown. `designations`: see `_designations`."""

    language: str | None
    designations: tuple[tuple[str, str], ...] | None

    def entry(self, entry: Entry) -> JsonObject:
        """The code as an element of expansion.contains."""
        concept = entry.concept
        shown: JsonObject = {"system": entry.system}
        if concept.abstract:
            shown["abstract"] = True
        if concept.inactive:
            shown["inactive"] = True
        if entry.version is not None:
            shown["version"] = entry.version
        shown["code"] = concept.code
        display = entry.display(self.language)
        if display is not None:
            shown["display"] = display
        designations = [designation_json(each) for each in self._chosen(entry.designations())]
        if designations:
            shown["designation"] = designations
        return shown

    def node(self, node: Node) -> JsonObject:
        """The code with those below it."""
        shown = self.entry(node.entry)
        if node.below:
            shown["contains"] = [self.node(each) for each in node.below]
        return shown

    def _chosen(self, designations: Iterable[Designation]) -> Iterator[Designation]:
        if self.designations is None:
            return
        for each in designations:
            if not self.designations or any(_is(each, token) for token in self.designations):
                yield each


def _is(designation: Designation, token: tuple[str, str]) -> bool:
    system, code = token
    use = designation.use or {}
    if use.get("code") == code and system in ("", use.get("system")):
        return True
    return designation.language == code and system in ("", "urn:ietf:bcp:47")


def _resource(
    value_set: ValueSet, given: Given, expansion: Expansion, contains: Sequence[Any], services: Services
) -> JsonObject:
    own = value_set.resource or {}
    head = {name: own[name] for name in _HEAD if name in own}
    if not head and value_set.url:
        head = {"url": value_set.url} | ({"version": value_set.version} if value_set.version else {})
    resource: JsonObject = {"resourceType": "ValueSet", **head}
    resource.setdefault("status", "active")
    if given.flag("includeDefinition") and "compose" in own:
        resource["compose"] = own["compose"]
    made: JsonObject = {
        "identifier": f"urn:uuid:{services.new_id()}",
        "timestamp": instant(services.clock()),
    }
    if expansion.total is not None:
        made["total"] = expansion.total
    if "offset" in given or "count" in given:
        made["offset"] = given.one("offset") or 0
    used = [{"name": "version", "valueUri": info.canonical} for info in expansion.used if info.version]
    made["parameter"] = [*_echo(given), *used]
    if not made["parameter"]:
        del made["parameter"]
    if contains:
        made["contains"] = list(contains)
    return resource | {"expansion": made}


def _echo(given: Given) -> Iterator[JsonObject]:
    """The parameters that had a say in what the expansion holds."""
    for line in PARAMETERS:
        if line.name not in ("url", "valueSet", "valueSetVersion"):
            for value in given.all(line.name):
                yield {"name": line.name, _ECHOED.get(line.kind, "valueUri"): value}
