"""AuditEvent/$alerts, AuditEvent/{id}/$review, AuditEvent/$verify: the compliance officer's work on the log.

All are for who may see the whole log. Source: docs/how-to/audit-pages.md.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from fhirserver.audit.disclosure import alertwords
from fhirserver.audit.disclosure.alertwords import LANGUAGES
from fhirserver.audit.disclosure.facts import BREAK_GLASS_START, fact_of
from fhirserver.audit.verify_report import summary
from fhirserver.context import Content, Interaction, Permission, Request, Result
from fhirserver.operations import auditalerts
from fhirserver.operations.auditdata import on_behalf
from fhirserver.operations.auditreports import require_auditor
from fhirserver.outcome import BadRequest, Conflict, Forbidden, Internal, NotFound
from fhirserver.paging import parse_moment
from fhirserver.r4.jsontext import dump_json, parse_json

if TYPE_CHECKING:
    from fhirserver.services import Services

LONGEST = 500  # characters of what a reviewer writes
_DAYS_90 = 90 * 86_400_000_000
_JSON = "application/json; charset=utf-8"


async def handle_alerts(interaction: Interaction, permission: Permission, services: Services) -> Result:
    """The alerts since `start` (default: of 90 days), newest first, in `language`, and who has acknowledged each."""
    given = dict(interaction.query)
    if given.keys() - {"start", "language", "_format"}:
        raise BadRequest("$alerts takes start and language.", code="parameter-unknown")
    language = given.get("language", LANGUAGES[0])
    if language not in LANGUAGES:
        raise BadRequest(f"language is one of {', '.join(LANGUAGES)}.", code="parameter-value")
    end = services.clock() + 1000
    start = parse_moment("start", given["start"])[0] if "start" in given else end - _DAYS_90
    raised = await auditalerts.alerts_between(services, start, end, permission)
    rows = [
        {
            "event": alert.fact.id,
            "when": alert.fact.at.astimezone(UTC).isoformat(timespec="milliseconds"),
            "rule": alert.fact.alert,
            "title": alertwords.title(alert.fact.alert, language),
            "text": alertwords.told(
                alert.fact.alert, dict(alert.fact.figures), language, otherwise=alert.fact.text
            ),
            "figures": dict(alert.fact.figures),
            "subject": alert.fact.subject,
            "patient": alert.fact.patient,
            "acknowledged": alert.acknowledged_by,
        }
        for alert in reversed(raised)
    ]
    return _json({"rows": rows})


async def handle_review(interaction: Interaction, permission: Permission, services: Services) -> Result:
    """Record that the caller has looked into an alert or an emergency access. The body: Parameters with `note`.

    403 for who has opened the emergency access, 404 where the event is neither.
    """
    require_auditor(permission)
    id, agent = interaction.id or "", permission.agent
    note = _note(interaction.body)
    request = Request("", address=agent.address)
    version = await services.store.read("AuditEvent", id, permission=on_behalf(permission, "review"))
    fact = fact_of(parse_json(version.raw or b"{}"))
    if fact.alert:
        made = await auditalerts.acknowledge(services, id, permission, request, note)
    elif fact.action == BREAK_GLASS_START and fact.grant:
        if {fact.user, fact.account} & {agent.fhir_user, agent.user}:
            raise Forbidden("An emergency access is reviewed by somebody else.", code="review-own")
        if not note:
            raise BadRequest("Say in note what was found.", code="parameters-invalid")
        made = await services.alerts.review(id, fact.grant, agent, request, note)
    else:
        raise NotFound("There is no alert and no emergency access with that id.", code="alert-unknown")
    return _json({"event": made})


async def handle_verify(interaction: Interaction, permission: Permission, services: Services) -> Result:
    """Verify the whole log now; what was checked and found, and when checkpoints were last anchored elsewhere."""
    require_auditor(permission)
    if services.watch.running.locked():
        raise Conflict(
            "The log is being verified; ask again in a moment.", code="verification-running", retry_after=10
        )
    async with services.watch.running:
        verification = await services.watch.verify()
    if verification.size == 0 and await services.ledger.newest() is not None:
        raise Internal("The ledger is damaged; run fhirserver audit verify.", code="ledger-damaged")
    newest = await services.ledger.newest()
    anchored = await services.watch.positions.get("anchor")
    anchor = services.settings.audit.anchor
    return _json(
        {
            **summary(verification),
            "findings": [
                {"kind": finding.kind.value, "text": finding.text, "where": dict(finding.where)}
                for finding in verification.findings.shown
            ],
            "origin": services.settings.audit.origin,
            "checkpoint": newest.note if newest is not None else "",
            "anchors": [
                *([str(anchor.file)] if anchor.file else []),
                *([anchor.email] if anchor.email else []),
            ],
            "anchored": datetime.fromtimestamp(anchored / 1_000_000, UTC).isoformat() if anchored else "",
        }
    )


def _note(body: Any) -> str:
    parameters = body.get("parameter") if isinstance(body, dict) else None
    if body is not None and not isinstance(parameters, list):
        raise BadRequest("Send Parameters with note (valueString).", code="parameters-invalid")
    notes = [
        p.get("valueString") for p in parameters or () if isinstance(p, dict) and p.get("name") == "note"
    ]
    note = notes[0] if notes else ""
    if len(notes) > 1 or not isinstance(note, str) or len(note) > LONGEST:
        raise BadRequest(f"note is one text of up to {LONGEST} characters.", code="parameters-invalid")
    return note.strip()


def _json(body: dict[str, Any]) -> Result:
    return Result(200, content=Content(_JSON, dump_json(body)))
