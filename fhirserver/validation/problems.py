"""What a check finds: a Problem with its path from the inside out, or None, so that good data costs nothing.

A check is a function of a JSON value and the Scope of its resource. Texts and codes never repeat a value of
the request; only codes that a definition allows are named.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from fhirserver.outcome import ERROR_SYSTEM, Issue, IssueCode

LIMIT = 100
"""How many issues one answer names; a check stops looking when it has found as many."""


@dataclass(slots=True)
class Problem:
    """One thing that is wrong, or worth saying (severity warning, information).

    `path`: segments of the expression (".name", "[0]"), the innermost first. `system`: of the code.
    """

    code: str
    issue_code: IssueCode
    text: str
    path: list[str] = field(default_factory=list)
    severity: str = "error"
    system: str = ERROR_SYSTEM

    def issue(self, root: str) -> Issue:
        """The issue for an answer. `root`: the resource type that the expression starts with."""
        expression = root + "".join(reversed(self.path))
        return Issue(self.issue_code, self.code, self.text, (expression,), self.severity, self.system)


Problems = list[Problem]


@dataclass(slots=True)
class Scope:
    """What checks of one resource must know about the whole of it.

    `contained`: id -> resource type of the contained resources. `used`: ids that a reference names.
    `inside`: id of the contained resource that is being checked. `conditional`: references such as
    `Patient?identifier=x` are allowed, since the entry belongs to a transaction.
    For profiles: `resource`: the one that invariants see. `root`: the one that holds the contained ones. `sound`:
    its type has no errors in it. `profiled`: extensions are looked up. `plain`: never.
    `thorough`: say also what is not wrong but could be better. `bundle`: fullUrl ->
    resource of the entries around. `unknown`: value sets of which nothing can be told. `doubtful`: (extension, what
    its definition allows) where only the whole path tells whether it may stand there.
    """

    contained: Mapping[str, str]
    used: set[str]
    inside: str | None = None
    conditional: bool = False
    resource: Any = None
    root: Any = None
    sound: bool = True
    profiled: bool = False
    plain: bool = False
    thorough: bool = False
    bundle: Mapping[str, Any] | None = None
    unknown: set[str] | None = None
    doubtful: list[tuple[Any, Any]] | None = None

    def cannot_tell(self, value_set: str) -> None:
        """Note a value set of which membership is not known."""
        if self.unknown is None:
            self.unknown = set()
        self.unknown.add(value_set)

    def doubt(self, extension: Any, contexts: Any) -> None:
        """Note an extension whose place must be looked at."""
        if self.doubtful is None:
            self.doubtful = []
        self.doubtful.append((extension, contexts))

    def target(self, reference: str) -> Any:
        """The resource that a reference names, where it is at hand: contained, or an entry of the Bundle around."""
        if reference.startswith("#"):
            contained = self.root.get("contained", ()) if isinstance(self.root, dict) else ()
            return next((r for r in contained if isinstance(r, dict) and r.get("id") == reference[1:]), None)
        return self.bundle.get(reference) if self.bundle is not None else None


Check = Callable[[Any, Scope], Problems | None]


def has_errors(problems: Problems | None) -> bool:
    """Whether an error is among the problems."""
    return problems is not None and any(problem.severity == "error" for problem in problems)


def structure(code: str, text: str, *path: str) -> Problems:
    """One problem with the shape of the JSON."""
    return [Problem(code, IssueCode.STRUCTURE, text, list(path))]


def wrong_value(code: str, text: str, *path: str) -> Problems:
    """One problem with the content of an element."""
    return [Problem(code, IssueCode.VALUE, text, list(path))]


def unsafe(code: str, text: str) -> Problems:
    """One problem that could harm whoever displays the resource."""
    return [Problem(code, IssueCode.SECURITY, text)]


def within(segment: str, problems: Problems) -> Problems:
    """The problems of a child as problems of its parent."""
    for problem in problems:
        problem.path.append(segment)
    return problems


KINDS = {
    dict: "a JSON object",
    list: "a JSON array",
    str: "a JSON string",
    bool: "true or false",
    int: "a JSON number",
}


def wrong_type(value: Any, expected: type) -> Problems:
    """A value of another JSON type than `expected` (a key of KINDS). null has a code of its own."""
    if value is None:
        return structure(
            "null-value",
            "null stands only inside an array of primitive values; leave the property out instead.",
        )
    found = KINDS.get(type(value), KINDS[int])
    hint = ""
    if type(value) is list:
        hint = " This element does not repeat."
    elif expected is list:
        hint = " This element repeats: write [ ] around it."
    elif type(value) is str and expected in (bool, int):
        hint = " Write it without quotation marks."
    return structure("wrong-json-type", f"Expected {KINDS[expected]}, found {found}.{hint}")
