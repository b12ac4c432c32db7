"""$break-glass: open one patient's record in an emergency. See docs/explanation/access.md."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from fhirserver.context import Interaction, Permission, Result
from fhirserver.outcome import BadRequest
from fhirserver.r4.references import ID

if TYPE_CHECKING:
    from fhirserver.services import Services


async def handle(interaction: Interaction, permission: Permission, services: Services) -> Result:
    """Parameters with the end of the grant. 400 for a short reason, 403 for other roles, 404 for an unknown patient."""
    patient, reason = _given(interaction.body)
    system = Permission(
        permission.agent, "the patient of a break-glass request must exist", trace=permission.trace
    )
    emergency = services.break_glass.prepared(permission.agent, patient, reason)
    await services.store.read("Patient", patient, permission=system)
    await services.break_glass.open(emergency)
    until = datetime.fromtimestamp(emergency.until, UTC).isoformat(timespec="seconds")
    parameters = [
        {"name": "patient", "valueReference": {"reference": f"Patient/{patient}"}},
        {"name": "until", "valueInstant": until},
    ]
    return Result(200, resource={"resourceType": "Parameters", "parameter": parameters})


def _given(body: Any) -> tuple[str, str]:
    """The patient's id and the reason."""
    values: dict[str, str] = {}
    parameters = body.get("parameter") if isinstance(body, dict) else None
    for parameter in parameters if isinstance(parameters, list) else ():
        if isinstance(parameter, dict):
            reference = parameter.get("valueReference")
            text = reference.get("reference") if isinstance(reference, dict) else parameter.get("valueString")
            values[str(parameter.get("name"))] = text if isinstance(text, str) else ""
    patient = values.get("patient", "").removeprefix("Patient/")
    if ID.fullmatch(patient) is None or "reason" not in values:
        raise BadRequest(
            "Send Parameters with patient (valueReference Patient/id) and reason (valueString).",
            code="parameters-invalid",
            expression="Parameters.parameter",
        )
    return patient, values["reason"]
