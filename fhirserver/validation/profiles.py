"""The profiles and extension definitions that are known, compiled when they are first used.

`Profiles.of(resources)` takes StructureDefinition resources as they come out of packages; R4's own are always there.
Source: hl7.org/fhir/R4/profiling.html
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import orjson

from fhirserver.outcome import OutcomeError
from fhirserver.r4.elements import TABLE, Elements
from fhirserver.r4.fhirpath.evaluate import FhirPath
from fhirserver.r4.fhirpath.state import Environment
from fhirserver.r4.profiletree import BASE, Node, flatten
from fhirserver.r4.snapshot import Snapshots
from fhirserver.terminology import Memberships, Terminology, Verdict
from fhirserver.validation.extensions import KnownExtension
from fhirserver.validation.narrative import check_div
from fhirserver.validation.overlay import Weaver
from fhirserver.validation.problems import Check, Problems, Scope, has_errors
from fhirserver.validation.values import codings

Json = dict[str, Any]
R4_PROFILES = TABLE.with_name("profiles.json")


class Profiles:
    """A registry that does not change: a new set of definitions is a new registry.

    `elements`: the types of R4. `definitions`: StructureDefinitions of profiles by url. `terminology`: answers
    bindings.
    """

    def __init__(
        self,
        elements: Elements,
        definitions: Mapping[str, Json],
        terminology: Memberships,
    ) -> None:
        self.elements = elements
        self.terminology = terminology
        self.expressions = FhirPath(elements, Environment(self._member_of, self._conforms_to, _is_safe))
        self.definitions = definitions
        self._snapshots = Snapshots(elements, definitions)
        self._overlays: dict[tuple[str, bool], Check | None] = {}
        self._making: set[tuple[str, bool]] = set()
        self._notes: dict[str, tuple[str, ...]] = {}
        self._broken: dict[str, OutcomeError] = {}
        self._extensions: dict[str, KnownExtension | None] = {}

    @classmethod
    def of(
        cls,
        resources: Iterable[Json] = (),
        *,
        elements: Elements | None = None,
        terminology: Memberships | None = None,
    ) -> Profiles:
        """R4's own profiles and those among `resources`; what is no profile is passed over."""
        definitions = dict(r4_profiles())
        for resource in resources:
            if is_profile(resource):
                definitions[resource["url"]] = resource
        return cls(elements or Elements.load(), definitions, terminology or Terminology.of_shipped())

    def knows(self, canonical: str) -> bool:
        """Whether the profile is known; a version after | must be that of the definition."""
        url, _, version = canonical.partition("|")
        definition = self.definitions.get(url)
        if definition is None:
            return url.removeprefix(BASE) in self.elements.resource_types
        return not version or definition.get("version", version) == version

    def type_of(self, canonical: str) -> str | None:
        """The type that a profile constrains, or that a type's own canonical names; None for what is not known."""
        url = canonical.partition("|")[0]
        definition = self.definitions.get(url)
        if definition is not None:
            return str(definition.get("type"))
        name = url.removeprefix(BASE)
        return name if name in self.elements.paths() else None

    def tree(self, canonical: str) -> Node:
        """The elements of a profile as a tree. Raises Unprocessable where the definition cannot be."""
        return self._snapshots.tree(canonical)

    def snapshot(self, canonical: str) -> list[Json]:
        """The elements of a profile as StructureDefinition.snapshot.element. Raises Unprocessable."""
        return flatten(self.tree(canonical))

    def overlay(self, canonical: str, *, thorough: bool = False) -> Check | None:
        """What a profile checks beyond its type; None where that is nothing.

        `thorough`: weaker bindings of the types, too. Raises OutcomeError for a definition that cannot be.
        """
        url = canonical.partition("|")[0]
        key = (url, thorough)
        if key in self._overlays:
            return self._overlays[key]
        if key in self._making:  # it contains itself: looked up again when it runs
            return lambda value, scope: again(value, scope) if (again := self._overlays[key]) else None
        if url in self._broken:
            raise self._broken[url]
        self._making.add(key)
        try:
            weaver = Weaver(self, thorough=thorough)
            self._overlays[key] = check = weaver.root(self.tree(url))
            self._notes[url] = tuple(dict.fromkeys(weaver.notes))
        except OutcomeError as error:
            self._broken[url] = error
            raise
        finally:
            self._making.discard(key)
        return check

    def notes(self, canonical: str) -> tuple[str, ...]:
        """What of a profile cannot be checked here, in words. Raises OutcomeError as overlay does."""
        url = canonical.partition("|")[0]
        self.overlay(url)
        extension = self.extension(url)
        return self._notes[url] + (extension.contexts.notes if extension is not None else ())

    def conforms_to_one(self, canonicals: tuple[str, ...]) -> Callable[[Any, Scope], bool]:
        """A test: a value is of the type of one of the profiles and conforms to it."""
        pairs = [(self.type_of(canonical), self.overlay(canonical)) for canonical in canonicals]
        resources = self.elements.resource_types

        def fits(value: Any, scope: Scope) -> bool:
            kind = value.get("resourceType") if isinstance(value, dict) else None
            for type_, check in pairs:
                if type_ in resources and type_ != kind:
                    continue
                if check is None or not has_errors(self._apart(check, value, scope)):
                    return True
            return False

        return fits

    def extension(self, url: str) -> KnownExtension | None:
        """The definition of an extension, None where it is not known."""
        if url not in self._extensions:
            definition = self.definitions.get(url)
            known = definition is not None and definition.get("type") == "Extension"
            self._extensions[url] = (
                KnownExtension.of(definition or {}, self.overlay, self.expressions.selection)
                if known
                else None
            )
        return self._extensions[url]

    def _member_of(self, value: Any, type: str, canonical: str) -> bool | None:
        verdicts = [
            self.terminology.member(canonical, system, code).verdict for system, code in codings(value)
        ]
        if Verdict.YES in verdicts:
            return True
        return None if Verdict.UNKNOWN in verdicts else False

    def _conforms_to(self, value: Any, canonical: str) -> bool | None:
        if not self.knows(canonical):
            return None
        scope = Scope({}, set(), resource=value, root=value)
        return self.conforms_to_one((canonical,))(value, scope)

    @staticmethod
    def _apart(check: Check, value: Any, scope: Scope) -> Problems | None:
        outer, scope.resource = scope.resource, value
        try:
            return check(value, scope)
        finally:
            scope.resource = outer


def _is_safe(div: str) -> bool:
    return check_div(div, Scope({}, set())) is None


def is_profile(resource: Any) -> bool:
    """Whether a resource is a StructureDefinition that constrains a type."""
    return (
        isinstance(resource, dict)
        and resource.get("resourceType", "StructureDefinition") == "StructureDefinition"
        and resource.get("derivation") == "constraint"
        and isinstance(resource.get("url"), str)
        and isinstance(resource.get("type"), str)
    )


def r4_profiles(table: Path = R4_PROFILES) -> dict[str, Json]:
    """The profiles and extensions that R4 itself publishes, by url, without their texts."""
    return {definition["url"]: definition for definition in orjson.loads(table.read_bytes())}
