"""All search parameters of a resource type as one tree over its JSON, so that a resource is walked once.

A node holds what to do with a value there (collect), its properties that lead further, and filtered ways on.
What a resource does not hold costs nothing; what several parameters share (Observation.code: eight) is
computed once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from fhirserver.r4.definitions import SearchParameter
from fhirserver.r4.paths_resolve import Branch, Condition
from fhirserver.r4.paths_run import Test, selector, test
from fhirserver.search.types import date, number, quantity, reference, special, string, token, uri
from fhirserver.search.types.composite import NAMES
from fhirserver.search.types.reference import Site

Json: TypeAlias = dict[str, Any]


@dataclass(slots=True)
class Found:
    """What a walk has collected. `memo`: values already computed, by identity of the JSON they came from.

    `several`: the parameters that got entries more than once, and so perhaps the same ones.
    """

    root: Json
    ix: dict[str, list[Any]] = field(default_factory=dict)
    x: dict[str, list[str]] = field(default_factory=dict)
    geo: Json | None = None
    memo: dict[tuple[int, str], Any] = field(default_factory=dict)
    several: set[str] = field(default_factory=set)

    def add(self, code: str, entries: list[Any]) -> None:
        """Entries of a parameter.

        The list is copied. An element without any still makes the parameter present.
        """
        known = self.ix.get(code)
        if known is None:
            self.ix[code] = entries[:]
        else:
            known += entries
            self.several.add(code)


Collect: TypeAlias = Callable[[Any, Found], None]


class TreeNode:
    """One place in the JSON of a type."""

    __slots__ = ("collect", "groups", "props", "where")

    def __init__(self) -> None:
        self.collect: list[Collect] = []
        self.props: dict[str, TreeNode] = {}
        self.where: list[tuple[Test, TreeNode]] = []
        self.groups: dict[tuple[str, str], list[str]] = {}

    def walk(self, value: Any, found: Found) -> None:
        """Collect from one value (never a list) and everything below it."""
        for collect in self.collect:
            collect(value, found)
        props = self.props
        if props and type(value) is dict:
            for name in value if len(value) < len(props) else props:
                node = props.get(name)
                if node is None:
                    continue
                child = value.get(name)
                if type(child) is list:
                    for item in child:
                        if item is not None:
                            node.walk(item, found)
                elif child is not None:
                    node.walk(child, found)
        for condition, node in self.where:
            if condition(value, found.root):
                node.walk(value, found)


def build(parameters: Iterable[SearchParameter], site: Site) -> TreeNode:
    """The tree of a resource type's parameters."""
    builder = _Builder(site)
    for parameter in parameters:
        for position, branch in enumerate(parameter.branches):
            if parameter.type == "composite":
                builder.composite(parameter, branch, position)
            else:
                builder.value(parameter, branch)
    return builder.finish()


class _Builder:
    def __init__(self, site: Site) -> None:
        self.site = site
        self.root = TreeNode()
        self.filters: dict[tuple[int, Condition], TreeNode] = {}
        self.nodes = [self.root]

    def value(self, parameter: SearchParameter, branch: Branch) -> None:
        """Hang a parameter's branch into the tree.

        Those with an index or a test are evaluated from the root.
        """
        if all(isinstance(step, str) or step[0] == "where" for step in branch.steps):
            node = self.place(branch)
            type = string.POSTAL_CODE if branch.steps[-1:] == ("postalCode",) else branch.type
            node.groups.setdefault((parameter.type, type), []).append(parameter.code)
            return
        collect = collector(parameter.type, branch.type, [parameter.code], self.site)
        select = selector(branch)

        def evaluate(value: Any, found: Found) -> None:
            for item in select(value, found.root):
                collect(item, found)

        self.root.collect.append(evaluate)

    def composite(self, parameter: SearchParameter, branch: Branch, position: int) -> None:
        """Hang a composite's focus into the tree. The last component goes first: it is the rarer one."""
        parts = []
        for name, component, branches in zip(
            NAMES, parameter.components, parameter.component_branches[position], strict=False
        ):
            reads = [(selector(b), entries(component.type, b.type, self.site)) for b in branches]
            parts.append((name, reads))
        parts.reverse()
        code = parameter.code
        firsts = [b.steps[0] for b in parameter.component_branches[position][len(parts) - 1]]
        needed = (
            frozenset(s for s in firsts if isinstance(s, str))
            if all(isinstance(s, str) for s in firsts)
            else None
        )

        def collect(value: Any, found: Found) -> None:
            if needed and (type(value) is not dict or needed.isdisjoint(value)):
                return
            cell: Json = {}
            for name, reads in parts:
                values = [
                    e for select, read in reads for v in select(value, found.root) for e in read(v, found)
                ]
                if not values:
                    return
                cell[name] = values
            found.add(code, [{name: cell[name] for name in NAMES if name in cell}])

        self.place(branch).collect.append(collect)

    def place(self, branch: Branch) -> TreeNode:
        """The node at the end of a branch, made where it is missing."""
        node = self.root
        for step in branch.steps:
            if isinstance(step, str):
                following = node.props.get(step)
                if following is None:
                    following = node.props[step] = self.node()
            else:
                key = (id(node), step[1])
                following = self.filters.get(key)
                if following is None:
                    following = self.filters[key] = self.node()
                    node.where.append((test(step[1]), following))
            node = following
        return node

    def node(self) -> TreeNode:
        self.nodes.append(TreeNode())
        return self.nodes[-1]

    def finish(self) -> TreeNode:
        """Turn the groups of parameters at each node into collectors."""
        for node in self.nodes:
            for (kind, fhir_type), codes in node.groups.items():
                node.collect.append(collector(kind, fhir_type, codes, self.site))
        return self.root


def entries(kind: str, type: str, site: Site) -> Callable[[Any, Found], list[Any]]:
    """The closure that gives the stored entries of one value, for a parameter type and a FHIR type."""
    if kind == "token":
        return lambda value, found: _tokens(type, value, found)[0]
    if kind == "reference":
        return lambda value, found: reference.index(type, value, site)
    if kind == "uri":
        return lambda value, found: uri.index(type, value)
    if kind == "string":
        return lambda value, found: [folded for folded, _ in string.index(type, value)]
    if kind == "date":
        return lambda value, found: [date.entry(*i)] if (i := date.index(type, value)) else []
    if kind == "number":
        return lambda value, found: [{"lo": i[0], "hi": i[1]}] if (i := number.index(type, value)) else []
    return lambda value, found: [q] if (q := _quantity(type, value, found)) else []


def collector(kind: str, type: str, codes: list[str], site: Site) -> Collect:
    """The closure that adds one value to the parameters `codes`, all of one parameter type."""
    if kind == "token":
        return _token_collector(type, codes)
    if kind == "string":
        return _string_collector(type, codes)
    if kind == "special":
        return _collect_position
    if kind == "reference" and type == "Reference":
        return _reference_collector(codes, site)
    read = entries(kind, type, site)

    def collect(value: Any, found: Found) -> None:
        values = read(value, found)
        for code in codes:
            found.add(code, values)

    return collect


def _tokens(type: str, value: Any, found: Found) -> token.Tokens:
    read = token.TOKENS[type]
    if type != "CodeableConcept":
        return read(value)
    key = (id(value), "t")
    known: token.Tokens | None = found.memo.get(key)
    if known is None:
        known = found.memo[key] = read(value)
    return known


def _quantity(type: str, value: Any, found: Found) -> Json | None:
    key = (id(value), "q")
    if key not in found.memo:
        found.memo[key] = quantity.index(type, value)
    known: Json | None = found.memo[key]
    return known


def _token_collector(type: str, codes: list[str]) -> Collect:
    keys = [(code, f"{code}~text", f"{code}~type") for code in codes]

    def collect(value: Any, found: Found) -> None:
        tokens, texts, typed = _tokens(type, value, found)
        for code, text_key, type_key in keys:
            found.add(code, tokens)
            if texts:
                found.add(text_key, texts)
            if typed:
                found.add(type_key, typed)

    return collect


def _string_collector(type: str, codes: list[str]) -> Collect:
    def collect(value: Any, found: Found) -> None:
        pairs = string.index(type, value)
        folded, originals = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
        for code in codes:
            found.add(code, folded)
            if originals:
                found.x.setdefault(code, []).extend(originals)

    return collect


def _reference_collector(codes: list[str], site: Site) -> Collect:
    keys = [(code, f"{code}~id") for code in codes]

    def collect(value: Any, found: Found) -> None:
        if type(value) is not dict:
            return
        text = value.get("reference")
        keys_of = reference.index_text(text, site) if type(text) is str else []
        for code, _ in keys:
            found.add(code, keys_of)
        identifier = value.get("identifier")
        if identifier is not None:
            tokens = token.index("Identifier", identifier)[0]
            if tokens:
                for _, id_key in keys:
                    found.add(id_key, tokens)

    return collect


def _collect_position(value: Any, found: Found) -> None:
    found.geo = special.index_position(value) or found.geo
