"""Operations, one file each, and the table that names them. Source: hl7.org/fhir/R4/operations.html."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING

from fhirserver.operations import break_glass, everything, meta
from fhirserver.outcome import CANONICAL

if TYPE_CHECKING:
    from fhirserver.context import Interaction, Permission, Result
    from fhirserver.services import Services

    Handler = Callable[[Interaction, Permission, Services], Awaitable[Result]]


@dataclass(frozen=True, slots=True)
class Operation:
    """One line of the table. `levels`: system, type, instance, version. `types`: where offered, empty for all.

    `needs`: letters of scopes on the type, in alternatives ("ur": both; "c", "u": either); empty: any token may call it
    and the handler decides. None: "u" where it changes state, else "r" (without an id "s").
    """

    name: str
    definition: str
    levels: tuple[str, ...]
    methods: tuple[str, ...]
    handler: Handler
    summary: str
    types: tuple[str, ...] = ()
    affects_state: bool = False
    needs: tuple[str, ...] | None = None

    @property
    def letters(self) -> tuple[str, ...]:
        """The letters that a token must have."""
        if self.needs is not None:
            return self.needs
        return ("u",) if self.affects_state else ("r",)

    def offered(self, level: str, type: str | None) -> bool:
        """True when the operation may be called at `level` on `type`."""
        return level in self.levels and (not self.types or type is None or type in self.types)


def _core(name: str) -> str:
    return f"http://hl7.org/fhir/OperationDefinition/{name}"


OPERATIONS: Mapping[str, Operation] = MappingProxyType(
    {
        operation.name: operation
        for operation in (
            Operation(
                "break-glass",
                f"{CANONICAL}/OperationDefinition/break-glass",
                ("system",),
                ("POST",),
                break_glass.handle,
                "Open one patient's record in an emergency, for an hour",
                affects_state=True,
                needs=(),
            ),
            Operation(
                "everything",
                _core("Patient-everything"),
                ("instance",),
                ("GET", "POST"),
                everything.handle,
                "The resource and all that belongs to it, page by page",
                types=("Patient", "Encounter"),
            ),
            Operation(
                "meta",
                _core("Resource-meta"),
                ("system", "type", "instance", "version"),
                ("GET", "POST"),
                meta.handle,
                "Profiles, tags and security labels in use",
            ),
            Operation(
                "meta-add",
                _core("Resource-meta-add"),
                ("instance", "version"),
                ("POST",),
                meta.handle_add,
                "Add profiles, tags or security labels without a new version of the content",
                affects_state=True,
                needs=("ur",),
            ),
            Operation(
                "meta-delete",
                _core("Resource-meta-delete"),
                ("instance", "version"),
                ("POST",),
                meta.handle_delete,
                "Remove profiles, tags or security labels",
                affects_state=True,
                needs=("ur",),
            ),
        )
    }
)
