"""The TerminologyCapabilities, derived from the operations' own tables and the code systems that are there.

Source: hl7.org/fhir/R4/terminologycapabilities.html
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from fhirserver import __version__
from fhirserver.operations import expand
from fhirserver.outcome import CANONICAL

if TYPE_CHECKING:
    from fhirserver.settings import Settings
    from fhirserver.terminology.concepts import SystemInfo


def terminology_capabilities(
    systems: Iterable[SystemInfo], settings: Settings, instance: str, started: str
) -> dict[str, Any]:
    """The statement as a resource. `instance`, `started`: as in the CapabilityStatement."""
    by_url: dict[str, list[SystemInfo]] = {}
    for info in systems:
        if info.url and info.content not in ("not-present", "supplement"):
            by_url.setdefault(info.url, []).append(info)
    return {
        "resourceType": "TerminologyCapabilities",
        "id": instance,
        "url": f"{CANONICAL}/TerminologyCapabilities/fhirserver",
        "version": __version__,
        "name": "FhirServerTerminology",
        "title": "fhirserver, terminology",
        "status": "active",
        "date": started,
        "kind": "instance",
        "software": {"name": "fhirserver", "version": __version__},
        "implementation": {"description": "FHIR R4 server for clinics", "url": settings.fhir_base},
        "lockedDate": False,
        "codeSystem": [_system(url, versions) for url, versions in sorted(by_url.items())],
        "expansion": {
            "hierarchical": True,
            "paging": True,
            "incomplete": False,
            "parameter": [{"name": line.name} for line in expand.PARAMETERS if not line.refused],
            "textFilter": "Each word of the filter begins a word of the code, its display or a designation, "
            "without regard to case and accents.",
        },
        "codeSearch": "explicit",
        "validateCode": {"translations": True},
        "translation": {"needsMap": False},
        "closure": {"translation": False},
    }


def _system(url: str, versions: list[SystemInfo]) -> dict[str, Any]:
    told = [{"code": info.version, "compositional": False} for info in versions if info.version]
    return {"uri": url} | ({"version": told} if told else {})
