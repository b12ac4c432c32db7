"""Which profiles a resource is checked against, and the checking: those it claims, is assigned, or is asked to fit.

Source: hl7.org/fhir/R4/profiling.html#resources
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from fhirserver.outcome import Issue, IssueCode, OutcomeError
from fhirserver.r4.profiletree import BASE
from fhirserver.validation.extensions import ExtensionRules, misplaced
from fhirserver.validation.mustsupport import left_out
from fhirserver.validation.problems import LIMIT, Check, Problem, Problems, Scope, has_errors
from fhirserver.validation.profiles import Profiles

Json = dict[str, Any]
BASE_MODE, CLAIMED, ASSIGNED = "base", "claimed", "assigned"


@dataclass(frozen=True, slots=True)
class Policy:
    """Against what resources are checked.

    `mode`: base, claimed or assigned. `modes`: the same for single types. `assigned`: type -> canonicals.
    `unknown_profile`, `unknown_modifier`: severity of a claimed profile, of a modifierExtension that is not known.
    """

    mode: str = CLAIMED
    modes: Mapping[str, str] = field(default_factory=dict)
    assigned: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    unknown_profile: str = "warning"
    unknown_modifier: str = "warning"

    def of(self, type: str) -> str:
        """The mode of a type."""
        return self.modes.get(type, self.mode)


class Asked(NamedTuple):
    """What a validation is asked for. `profiles`: canonicals besides the policy's. `bundle`: fullUrl -> resource.

    `plain`: no profiles at all.
    """

    conditional: bool = False
    thorough: bool = False
    profiles: tuple[str, ...] = ()
    bundle: Mapping[str, Any] | None = None
    plain: bool = False


class Profiled:
    """Checks resources against profiles after their type."""

    def __init__(self, profiles: Profiles, policy: Policy) -> None:
        self.profiles = profiles
        self._policy = policy
        self.extensions = ExtensionRules(profiles.elements, profiles.extension, policy.unknown_modifier)

    def prepare(self, scope: Scope, type: str, resource: Json, asked: Asked) -> None:
        """Tell the checks of the type what they need to know of profiles."""
        scope.plain = asked.plain
        if asked.plain:
            return
        scope.profiled = asked.thorough or bool(asked.profiles) or self._policy.of(type) != BASE_MODE
        scope.thorough = asked.thorough
        scope.root = scope.resource = resource
        scope.bundle = _entries(resource) if type == "Bundle" else asked.bundle

    def check(
        self, type: str, resource: Json, scope: Scope, problems: Problems | None, asked: tuple[str, ...] = ()
    ) -> Problems | None:
        """The problems of the type, settled, and those of the profiles."""
        if not scope.profiled:
            return problems
        if scope.doubtful is not None:
            problems = [
                *(problems or ()),
                *misplaced(scope, resource, self.profiles.elements, sound=not has_errors(problems)),
            ] or None
        return self._more(type, resource, scope, problems, asked)

    def check_contained(self, resource: Json, scope: Scope, problems: Problems | None) -> Problems | None:
        """The same for a contained resource; its extensions are settled with the resource around it."""
        outer, scope.resource = scope.resource, resource
        problems = self._more(resource["resourceType"], resource, scope, problems, ())
        scope.resource = outer
        return problems

    def left_out(self, resource: Any, profiles: Sequence[str]) -> list[Issue]:
        """The must-support elements that are not there, of `profiles` and of those that the resource claims."""
        if not isinstance(resource, dict):
            return []
        meta = resource.get("meta")
        claims = meta.get("profile") if isinstance(meta, dict) else None
        found: list[Issue] = []
        for canonical in dict.fromkeys((*profiles, *(claims if isinstance(claims, list) else ()))):
            known = isinstance(canonical, str) and canonical.partition("|")[0] in self.profiles.definitions
            if known and self.profiles.type_of(canonical) == resource.get("resourceType"):
                with suppress(OutcomeError):  # a profile that cannot be used is reported by the validation
                    found += left_out(
                        self.profiles.tree(canonical), resource, self.profiles.elements, canonical
                    )
        return found[:LIMIT]

    def _more(
        self, type: str, resource: Json, scope: Scope, problems: Problems | None, asked: tuple[str, ...]
    ) -> Problems | None:
        mode = self._policy.of(type)
        meta = resource.get("meta") if scope.thorough or mode == CLAIMED else None
        claims = meta.get("profile") if isinstance(meta, dict) else None
        if not claims and not asked and not scope.thorough and mode != ASSIGNED:
            return problems
        before, scope.sound = scope.sound, not has_errors(problems)
        found = list(problems or ())
        done: set[str] = set()
        if isinstance(claims, list):
            for index, claim in enumerate(claims):
                if isinstance(claim, str) and claim not in done:
                    done.add(claim)
                    found += self._claimed(claim, index, type, resource, scope)
        assigned = self._policy.assigned.get(type, ()) if scope.thorough or mode == ASSIGNED else ()
        for canonical in (*asked, *assigned):
            if canonical not in done:
                done.add(canonical)
                found += self._one(canonical, type, resource, scope)
        if scope.thorough:
            found += self._type_itself(type, resource, scope)
        scope.sound = before
        return _distinct(found) or None

    def _claimed(self, canonical: str, index: int, type: str, resource: Json, scope: Scope) -> Problems:
        place = [f"[{index}]", ".profile", ".meta"]
        if not self.profiles.knows(canonical):
            text = "This profile is not known here, so the resource is not checked against it."
            severity = self._policy.unknown_profile
            return [Problem("unknown-profile", IssueCode.NOT_FOUND, text, place, severity)]
        problems = self._one(canonical, type, resource, scope)
        for problem in problems:
            if problem.code in ("profile-of-other-type", "profile-unusable"):
                problem.path = list(place)
        return problems

    def _one(self, canonical: str, type: str, resource: Json, scope: Scope) -> Problems:
        """The problems with one profile."""
        profiles = self.profiles
        if not profiles.knows(canonical):
            text = f"The profile {canonical} is not known here, so the resource is not checked against it."
            return [Problem("unknown-profile", IssueCode.NOT_FOUND, text, [], self._policy.unknown_profile)]
        expected = profiles.type_of(canonical)
        if expected not in (type, "Resource", "DomainResource"):
            text = f"This is a profile of {expected}; the resource is a {type}."
            return [Problem("profile-of-other-type", IssueCode.STRUCTURE, text)]
        try:
            check = profiles.overlay(canonical)
            notes = profiles.notes(canonical) if scope.thorough else ()
        except OutcomeError as error:
            text = f"The profile {canonical} cannot be used: {error.issues[0].text}"
            return [
                Problem("profile-unusable", IssueCode.NOT_SUPPORTED, text, [], self._policy.unknown_profile)
            ]
        found = self._run(check, resource, scope)
        for problem in found:
            problem.text = f"{problem.text} (profile {canonical.partition('|')[0]})"
        if notes:
            text = f"Not everything of the profile {canonical} is checked. {' '.join(notes[:20])}"
            found.append(Problem("profile-partly-checked", IssueCode.INFORMATIONAL, text, [], "information"))
        return found

    def _type_itself(self, type: str, resource: Json, scope: Scope) -> Problems:
        """What could be better by the type's own weaker bindings, and what cannot be told."""
        found = self._run(self.profiles.overlay(BASE + type, thorough=True), resource, scope)
        if scope.unknown:
            names = ", ".join(sorted(scope.unknown)[:20])
            text = f"Whether codes are in these value sets cannot be told here: {names}."
            found.append(Problem("value-set-unknown", IssueCode.INFORMATIONAL, text, [], "information"))
        return found

    @staticmethod
    def _run(check: Check | None, resource: Json, scope: Scope) -> Problems:
        if check is None:
            return []
        if scope.sound:
            return check(resource, scope) or []
        try:
            return check(resource, scope) or []
        except (TypeError, AttributeError, KeyError, ValueError, IndexError):
            return []  # what the type has refused keeps the profile from being checked to the end


def _entries(bundle: Json) -> dict[str, Any]:
    """FullUrl, and Type/id, -> resource of the entries of a Bundle."""
    found: dict[str, Any] = {}
    entries = bundle.get("entry")
    for entry in entries if isinstance(entries, list) else ():
        resource = entry.get("resource") if isinstance(entry, dict) else None
        if not isinstance(resource, dict):
            continue
        url = entry.get("fullUrl")
        if isinstance(url, str):
            found[url] = resource
        found.setdefault(f"{resource.get('resourceType')}/{resource.get('id')}", resource)
    return found


def _distinct(problems: Problems) -> Problems:
    """Without what two profiles of one family say alike."""
    seen: set[tuple[str, tuple[str, ...], str]] = set()
    left = []
    for problem in problems:
        key = (problem.code, tuple(problem.path), problem.text.partition(" (profile ")[0])
        if key not in seen:
            seen.add(key)
            left.append(problem)
    return left
