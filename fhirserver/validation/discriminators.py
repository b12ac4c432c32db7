"""How a slice is told from the others: by value or pattern, type, profile, or existence of what a path selects.

Source: hl7.org/fhir/R4/profiling.html#discriminator
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fhirserver.r4.profiletree import Node
from fhirserver.validation.problems import Scope
from fhirserver.validation.references import literal_type
from fhirserver.validation.values import MISSING, Test, equals, is_member, matches, typed

if TYPE_CHECKING:
    from fhirserver.validation.overlay import Surroundings

Json = dict[str, Any]
SliceTest = Callable[[Any, Scope], bool]
STEP = re.compile(r"\$this|(?P<name>\w+)(?:\((?P<argument>[^()]*)\))?")


@dataclass(frozen=True, slots=True)
class Told:
    """How a slice is told. `place`, `key`: where one string property alone tells it, its name and value."""

    test: SliceTest
    place: str = ""
    key: str | None = None


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a discriminator path. `call`: "" for an element; else resolve, extension or ofType."""

    name: str
    call: str = ""


def parse(path: str) -> tuple[Step, ...] | None:
    """The steps of a path in the restricted FHIRPath of discriminators; None where it is not of that form."""
    steps: list[Step] = []
    rest = path
    while rest:
        match = STEP.match(rest)
        if match is None:
            return None
        rest = rest[match.end() :]
        if rest and not rest.startswith("."):
            return None
        rest = rest[1:]
        name, argument = match["name"], match["argument"]
        if name is None:
            continue
        if argument is None:
            steps.append(Step(name))
        elif name in ("resolve", "extension", "ofType"):
            steps.append(Step(argument.strip("'\""), name))
        else:
            return None
    return tuple(steps)


def select(value: Any, steps: Sequence[Step], scope: Scope | None = None) -> Iterator[tuple[Any, str]]:
    """What a path selects below `value`, with the type where the JSON tells it (a choice, a resource)."""
    if not steps:
        kind = value.get("resourceType", "") if isinstance(value, dict) else ""
        yield value, kind if isinstance(kind, str) else ""
        return
    if not isinstance(value, dict):
        return
    step, rest = steps[0], steps[1:]
    if step.call == "resolve":
        yield from _resolved(value, rest, scope)
        return
    if step.call == "ofType":
        yield from select(value, rest, scope)
        return
    name = "extension" if step.call == "extension" else step.name
    found = value.get(name)
    if found is None and not step.call:
        for key in value:
            if key.startswith(name) and key[len(name) : len(name) + 1].isupper():
                for item, kind in select(value[key], rest, scope):
                    yield item, kind or key[len(name) :]
        return
    for item in found if isinstance(found, list) else [found]:
        if item is None or (step.call and (not isinstance(item, dict) or item.get("url") != step.name)):
            continue
        yield from select(item, rest, scope)


def _resolved(reference: Json, rest: Sequence[Step], scope: Scope | None) -> Iterator[tuple[Any, str]]:
    text = reference.get("reference")
    if isinstance(text, str) and scope is not None:
        target = scope.target(text)
        if target is not None:
            yield from select(target, rest, scope)
            return
    if not rest and isinstance(text, str):
        kind = literal_type(reference)
        if text.startswith("#") and scope is not None:
            kind = scope.contained.get(text[1:])
        yield reference, kind or ""


class Teller:
    """Tells the slices of one element by its discriminators."""

    def __init__(self, around: Surroundings, discriminators: Sequence[Json]) -> None:
        self._around = around
        self._ways = [
            (d.get("type", ""), d.get("path", ""), parse(d.get("path", ""))) for d in discriminators
        ]

    def tell(self, node: Node) -> Told | None:
        """How the slice `node` is told; None where no discriminator says anything of it."""
        tests: list[SliceTest] = []
        place, key = "", None
        for kind, path, steps in self._ways:
            if steps is None:
                continue
            test = self._test(kind, node, steps)
            if test is None:
                continue
            tests.append(test)
            if kind in ("value", "pattern") and len(steps) == 1 and not steps[0].call:
                place, key = path, self._string_at(node, path)
        if not tests:
            return None
        if len(tests) == 1:
            return Told(tests[0], place, key)
        return Told(lambda item, scope: all(test(item, scope) for test in tests))

    def _test(self, kind: str, node: Node, steps: tuple[Step, ...]) -> SliceTest | None:
        if kind in ("value", "pattern"):
            return self._value(node, steps)
        if kind == "exists":
            return self._exists(node, steps)
        if kind == "type":
            return self._type(node, steps)
        if kind == "profile":
            return self._profile(node, steps)
        return None

    def _string_at(self, node: Node, name: str) -> str | None:
        url = self._extension_url(node) if name == "url" else None
        if url is not None:
            return url
        child = node.children.get(name)
        if child is None:
            return None
        value = typed(child.definition, "fixed")
        value = typed(child.definition, "pattern") if value is MISSING else value
        return value if isinstance(value, str) else None

    @staticmethod
    def _extension_url(node: Node) -> str | None:
        profiles: Sequence[str] = node.types[0].get("profile", ()) if node.types else ()
        if len(profiles) == 1 and node.types[0]["code"] == "Extension":
            return str(profiles[0].partition("|")[0])
        return None

    def _value(self, node: Node, steps: tuple[Step, ...]) -> SliceTest | None:
        """The test of an item at `node`: something that the path selects has the value of the slice."""
        if len(steps) == 1 and steps[0].name == "url" and (url := self._extension_url(node)) is not None:
            return lambda item, scope: isinstance(item, dict) and item.get("url") == url
        if not steps:
            fits = self._criterion(node)
            return None if fits is None else lambda item, scope: fits(item)
        for start, make in (("fixed", equals), ("pattern", matches)):
            whole = typed(node.definition, start)
            if whole is not MISSING:
                tests = [make(part) for part, _ in select(whole, steps)]
                if tests:
                    return lambda item, scope: any(t(v) for v, _ in select(item, steps, scope) for t in tests)
        below = self._below(node, steps[0])
        if below is None:
            return None
        ways = (below, *(part for part in below.slices.values() if part.definition["min"] > 0))
        inner = next((test for way in ways if (test := self._value(way, steps[1:])) is not None), None)
        if inner is None:
            return None
        head = steps[:1]
        return lambda item, scope: any(inner(value, scope) for value, _ in select(item, head, scope))

    def _below(self, node: Node, step: Step) -> Node | None:
        if step.call == "resolve":
            targets: Sequence[str] = node.types[0].get("targetProfile", ()) if node.types else ()
            return (
                self._around.tree(targets[0])
                if len(targets) == 1 and self._around.knows(targets[0])
                else None
            )
        if step.call == "ofType":
            return node
        name = "extension" if step.call else step.name
        child = node.children.get(name) or node.children.get(f"{name}[x]")
        if child is None:
            profiles: Sequence[str] = node.types[0].get("profile", ()) if node.types else ()
            if len(profiles) == 1 and self._around.knows(profiles[0]):
                return self._around.tree(profiles[0]).children.get(name)
            return None
        if step.call:
            return next(
                (part for part in child.slices.values() if self._extension_url(part) == step.name), None
            )
        return child

    def _criterion(self, node: Node) -> Test | None:
        """What the slice asks of a value: fixed, pattern, a required binding, or what stands below it."""
        definition, known = node.definition, node.base
        fixed, pattern = typed(definition, "fixed"), typed(definition, "pattern")
        if fixed is not MISSING and fixed != typed(known, "fixed"):
            return equals(fixed)
        if pattern is not MISSING and pattern != typed(known, "pattern"):
            return matches(pattern)
        binding = definition.get("binding")
        if (
            binding
            and binding != known.get("binding")
            and binding.get("strength") == "required"
            and binding.get("valueSet")
        ):
            return is_member(binding, self._around.terminology)
        tests: list[tuple[tuple[Step, ...], Test]] = []
        for name, child in node.children.items():
            for part in (child, *(s for s in child.slices.values() if s.definition["min"] > 0)):
                test = self._criterion(part)
                if test is not None:
                    tests.append(((Step(name.removesuffix("[x]")),), test))
        if not tests:
            return None
        return lambda value: all(any(test(v) for v, _ in select(value, step)) for step, test in tests)

    def _place(self, node: Node, steps: tuple[Step, ...]) -> Node | None:
        found: Node | None = node
        for step in steps:
            found = self._below(found, step) if found is not None else None
        return found

    def _exists(self, node: Node, steps: tuple[Step, ...]) -> SliceTest | None:
        found = self._place(node, steps)
        if found is None:
            return None
        if found.definition["max"] == "0":
            return lambda item, scope: next(select(item, steps, scope), None) is None
        if found.definition["min"] > 0:
            return lambda item, scope: next(select(item, steps, scope), None) is not None
        return None

    def _type(self, node: Node, steps: tuple[Step, ...]) -> SliceTest | None:
        resolving = bool(steps) and steps[-1].call == "resolve"
        found = self._place(node, steps[:-1] if resolving else steps)
        if found is None:
            return None
        if resolving:
            targets = [t for type_ in found.types for t in type_.get("targetProfile", ())]
            codes = {self._around.type_of(target) for target in targets}
        else:
            codes = {type_["code"] for type_ in found.types}
        allowed = {code[0].upper() + code[1:] for code in codes if code}
        if not allowed:
            return None
        return lambda item, scope: any(
            kind and kind[0].upper() + kind[1:] in allowed for _, kind in select(item, steps, scope)
        )

    def _profile(self, node: Node, steps: tuple[Step, ...]) -> SliceTest | None:
        resolving = bool(steps) and steps[-1].call == "resolve"
        found = self._place(node, steps[:-1] if resolving else steps)
        name = "targetProfile" if resolving else "profile"
        profiles = [p for type_ in (found.types if found else ()) for p in type_.get(name, ())]
        if not profiles or not all(self._around.knows(profile) for profile in profiles):
            return None
        fits = self._around.conforms_to_one(tuple(profiles))
        return lambda item, scope: any(fits(value, scope) for value, _ in select(item, steps, scope))
