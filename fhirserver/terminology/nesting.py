"""An expansion as trees, along the hierarchy of its code systems."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from fhirserver.terminology.concepts import Concept
from fhirserver.terminology.expand import Entry


@dataclass(slots=True)
class Node:
    """An entry and what is right below it."""

    entry: Entry
    below: list[Node] = field(default_factory=list)


def nest(entries: Sequence[Entry]) -> list[Node]:
    """The entries as trees: each below the first of its parents that is among them, else its nearest ancestor."""
    nodes = {(e.system, e.concept.code): Node(e) for e in entries}
    roots: list[Node] = []
    for (system, code), node in nodes.items():
        above = _above(system, node.entry.concept, nodes)
        if above is None or code in above.entry.concept.ancestors:  # a cycle is cut where it closes
            roots.append(node)
        else:
            above.below.append(node)
    return roots


def _above(system: str, concept: Concept, nodes: Mapping[tuple[str, str], Node]) -> Node | None:
    for parent in concept.parents:
        if (system, parent) in nodes:
            return nodes[system, parent]
    inside = [nodes[system, code] for code in sorted(concept.ancestors) if (system, code) in nodes]
    return max(inside, key=lambda node: len(node.entry.concept.ancestors), default=None)
