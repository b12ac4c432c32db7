"""What of a resource the caller asked to see: `_summary`, `_elements`. Source: hl7.org/fhir/R4/search.html#summary."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fhirserver.context import Interaction, Result, Version
from fhirserver.outcome import BadRequest, UnknownParameter
from fhirserver.r4.jsontext import parse_json
from fhirserver.search.summary import SUMMARY_MODES, subset

if TYPE_CHECKING:
    from fhirserver.services import Services

_GENERAL = ("_format", "_pretty", "_summary", "_elements")


def view(version: Version, interaction: Interaction, services: Services) -> Result:
    """The version as `_summary` or `_elements` ask for it; the other general parameters do not concern the content."""
    summary, elements = None, None
    for name, value in interaction.query:
        if name == "_summary":
            summary = value
        elif name == "_elements":
            elements = tuple(part.strip() for part in value.split(",") if part.strip())
        elif name not in _GENERAL and not interaction.lenient:
            raise UnknownParameter(
                f"A read takes {', '.join(_GENERAL)}; with Prefer: handling=lenient others are ignored.",
                code="parameter-unknown",
            )
    if summary is not None and (summary not in SUMMARY_MODES or summary == "count"):
        raise BadRequest("_summary of a read is true, false, text or data.", code="parameter-value")
    if version.raw is None or (summary in (None, "false") and not elements):
        return Result(200, version=version)
    resource = subset(
        parse_json(version.raw), summary=summary, elements=elements, definitions=services.elements
    )
    return Result(200, version=version, resource=resource)
