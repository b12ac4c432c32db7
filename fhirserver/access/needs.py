"""Which letters an interaction needs. Source: hl7.org/fhir/smart-app-launch/STU2.2/scopes-and-launch-context.html."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from fhirserver.context import Interaction, Kind


@dataclass(frozen=True, slots=True)
class Need:
    """What is needed. `alternatives`: any of them is enough, all of its letters on the interaction's type.

    `writes`: it changes resources, and may match criteria. `reads`: what it reaches beyond its own type is read, not
    searched. `anyone`: no scope at all; the handler decides by the agent.
    """

    alternatives: tuple[str, ...]
    writes: bool = False
    reads: bool = False
    anyone: bool = False


LETTERS: Mapping[Kind, str] = MappingProxyType(
    {
        Kind.READ: "r",
        Kind.VREAD: "r",
        Kind.HISTORY_INSTANCE: "r",
        Kind.UPDATE: "u",
        Kind.PATCH: "u",
        Kind.DELETE: "d",
        Kind.CREATE: "c",
        Kind.SEARCH_TYPE: "s",
        Kind.SEARCH_SYSTEM: "s",
        Kind.SEARCH_COMPARTMENT: "s",
        Kind.HISTORY_TYPE: "s",
        Kind.HISTORY_SYSTEM: "s",
    }
)
_JUDGES_STORED = "validate"  # of an instance: what it says tells of what is stored
_READ = (Kind.READ, Kind.VREAD, Kind.HISTORY_INSTANCE)


def need_of(interaction: Interaction) -> Need:
    """What `interaction` needs."""
    if interaction.kind is Kind.OPERATION:
        needs = interaction.needs
        if interaction.id is None and needs == ("r",):
            needs = ("s",)  # to read without naming what is to search
        if interaction.id is not None and interaction.operation == _JUDGES_STORED:
            needs = tuple(f"r{letter}" for letter in needs)
        return Need(needs, writes=interaction.changes_state, anyone=not needs)
    kind = interaction.kind
    if kind is Kind.CREATE:
        return _CONDITIONAL[kind] if "if-none-exist" in interaction.headers else _NEEDS[kind]
    if kind in _CONDITIONAL and interaction.id is None:
        return _CONDITIONAL[kind]
    return _NEEDS[kind]


_WRITES = (Kind.CREATE, Kind.UPDATE, Kind.PATCH, Kind.DELETE)
_NEEDS = {k: Need((x,), writes=k in _WRITES, reads=k in _READ) for k, x in LETTERS.items()}
_CONDITIONAL = {k: Need((LETTERS[k] + "s",), writes=True) for k in _WRITES}  # they answer a search too
