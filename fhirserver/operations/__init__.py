"""Operations, one file each, and the table that names them. Source: hl7.org/fhir/R4/operations.html."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING

from fhirserver.operations import (
    auditdesk,
    auditreports,
    break_glass,
    disclose,
    everything,
    expand,
    ledger,
    lookup,
    meta,
    subsumes,
    translate,
    validate,
    validate_code,
)
from fhirserver.outcome import CANONICAL

if TYPE_CHECKING:
    from fhirserver.context import Interaction, Permission, Result
    from fhirserver.services import Services

    Handler = Callable[[Interaction, Permission, Services], Awaitable[Result]]


@dataclass(frozen=True, slots=True)
class Operation:
    """One line of the table. `levels`: system, type, instance, version. `types`: where offered, empty for all.

    `definition`: canonical, where "{type}" stands for the resource type.
    `counts_for`: roles to which it gives figures although no row of the type is open to them, if the token names the type.
    `judges_body`: a body that cannot be parsed is handed over as the OutcomeError that says why.
    `native`: media types of its own in which it answers, which Accept and _format may then name.
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
    counts_for: tuple[str, ...] = ()
    judges_body: bool = False
    native: tuple[str, ...] = ()

    @property
    def letters(self) -> tuple[str, ...]:
        """The letters that a token must have."""
        if self.needs is not None:
            return self.needs
        return ("u",) if self.affects_state else ("r",)

    def offered(self, level: str, type: str | None) -> bool:
        """True when the operation may be called at `level` on `type`."""
        return level in self.levels and (not self.types or type is None or type in self.types)

    def defined(self, type: str | None) -> str:
        """The canonical of its definition for a resource type."""
        return self.definition.replace("{type}", type or "Resource")


def _own(name: str) -> str:
    return f"{CANONICAL}/OperationDefinition/{name}"


def _core(name: str) -> str:
    return f"http://hl7.org/fhir/OperationDefinition/{name}"


_TERMINOLOGY = ("r", "s")

_TEXT = ("text/plain",)
_REPORT = ("application/json", "text/csv", "application/x-ndjson", "text/html")
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
                _core("{type}-everything"),
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
            Operation(
                "validate",
                _core("Resource-validate"),
                ("type", "instance"),
                ("GET", "POST"),
                validate.handle,
                "What is wrong with a resource, by its type and by profiles, and what could be better",
                judges_body=True,
                needs=("c", "u"),
            ),
            Operation(
                "proof",
                _own("AuditEvent-proof"),
                ("instance",),
                ("GET",),
                ledger.handle_proof,
                "Proof that the event is in the sealed log, as text",
                types=("AuditEvent",),
                native=_TEXT,
            ),
            Operation(
                "checkpoint",
                _own("AuditEvent-checkpoint"),
                ("type",),
                ("GET",),
                ledger.handle_checkpoint,
                "The newest signed checkpoint of the audit log, as text",
                types=("AuditEvent",),
                native=_TEXT,
            ),
            Operation(
                "consistency",
                _own("AuditEvent-consistency"),
                ("type",),
                ("GET",),
                ledger.handle_consistency,
                "Proof that the log of one checkpoint begins with that of another, as text",
                types=("AuditEvent",),
                native=_TEXT,
            ),
            Operation(
                "alerts",
                _own("AuditEvent-alerts"),
                ("type",),
                ("GET",),
                auditdesk.handle_alerts,
                "The alerts on the audit log, and who has acknowledged each",
                types=("AuditEvent",),
                native=("application/json",),
            ),
            Operation(
                "review",
                _own("AuditEvent-review"),
                ("instance",),
                ("POST",),
                auditdesk.handle_review,
                "Record that an alert or an emergency access was looked into",
                types=("AuditEvent",),
                native=("application/json",),
            ),
            Operation(
                "verify",
                _own("AuditEvent-verify"),
                ("type",),
                ("POST",),
                auditdesk.handle_verify,
                "Verify the whole audit log now: what was checked and found",
                types=("AuditEvent",),
                native=("application/json",),
            ),
            Operation(
                "report",
                _own("AuditEvent-report"),
                ("type",),
                ("GET",),
                auditreports.handle_report,
                "A report on the audit log, as JSON, CSV, NDJSON or a page to print",
                types=("AuditEvent",),
                counts_for=tuple(auditreports.FIGURES),
                native=_REPORT,
            ),
            Operation(
                "access-report",
                _own("Patient-access-report"),
                ("instance",),
                ("GET",),
                auditreports.handle_access_report,
                "Who has seen the data of this patient",
                types=("Patient",),
                native=_REPORT,
            ),
            Operation(
                "incident-report",
                _own("AuditEvent-incident-report"),
                ("type",),
                ("POST",),
                auditreports.handle_incident_report,
                "Affected persons, deadlines and drafts for an incident",
                types=("AuditEvent",),
                native=_REPORT,
            ),
            Operation(
                "disclose",
                _own("AuditEvent-disclose"),
                ("type",),
                ("POST",),
                disclose.handle,
                "Tell to whom data is handed on that is read here, before it is",
                types=("AuditEvent",),
                needs=("c",),
            ),
            Operation(
                "expand",
                _core("{type}-expand"),
                ("type", "instance"),
                ("GET", "POST"),
                expand.handle,
                "The codes of a value set, all or page by page",
                types=("ValueSet",),
                needs=_TERMINOLOGY,
            ),
            Operation(
                "validate-code",
                _core("{type}-validate-code"),
                ("type", "instance"),
                ("GET", "POST"),
                validate_code.handle,
                "Whether a code is in a value set or a code system, and its display right",
                types=("ValueSet", "CodeSystem"),
                needs=_TERMINOLOGY,
            ),
            Operation(
                "lookup",
                _core("{type}-lookup"),
                ("type",),
                ("GET", "POST"),
                lookup.handle,
                "Display, designations and properties of a code",
                types=("CodeSystem",),
                needs=_TERMINOLOGY,
            ),
            Operation(
                "subsumes",
                _core("{type}-subsumes"),
                ("type", "instance"),
                ("GET", "POST"),
                subsumes.handle,
                "How two codes of a code system relate",
                types=("CodeSystem",),
                needs=_TERMINOLOGY,
            ),
            Operation(
                "translate",
                _core("{type}-translate"),
                ("type", "instance"),
                ("GET", "POST"),
                translate.handle,
                "Translations of a code by concept maps",
                types=("ConceptMap",),
                needs=_TERMINOLOGY,
            ),
        )
    }
)
