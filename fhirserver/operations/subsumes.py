"""$subsumes of a CodeSystem: how two codes relate. Source: hl7.org/fhir/R4/codesystem-operation-subsumes.html."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fhirserver.context import Interaction, Permission, Result
from fhirserver.operations.parameters import Parameter, answer, read_parameters
from fhirserver.operations.terms import coding_of, system_of
from fhirserver.outcome import BadRequest, Unprocessable
from fhirserver.terminology.subsume import subsumption
from fhirserver.terminology.validate import Asked

if TYPE_CHECKING:
    from fhirserver.operations.parameters import Given
    from fhirserver.services import Services

PARAMETERS = (
    Parameter("codeA", "code"),
    Parameter("codeB", "code"),
    Parameter("system", "uri"),
    Parameter("version", "string"),
    Parameter("codingA", "Coding"),
    Parameter("codingB", "Coding"),
)


async def handle(interaction: Interaction, permission: Permission, services: Services) -> Result:
    """`outcome`: equivalent, subsumes, subsumed-by or not-subsumed.

    Raises NotFound (code-system-unknown), Unprocessable (code-unknown, or codings of different systems).
    """
    given = read_parameters(interaction, services, PARAMETERS)
    first, second = _one(given, "A"), _one(given, "B")
    coded = {one.system for one in (first, second) if one.system is not None}
    if "system" in given:
        coded.add(given.one("system"))
    if len(coded) > 1:
        raise Unprocessable("The codes are of different code systems.", code="code-systems-differ")
    url = next(iter(coded), None)
    system = await system_of(interaction, permission, services, given, ("system", "version"), url)
    if url is not None and url != system.info.url:
        raise Unprocessable("The codings are of another code system than this.", code="code-systems-differ")
    outcome = await subsumption(system, first.code, second.code)
    return Result(200, resource=answer({"name": "outcome", "valueCode": outcome}))


def _one(given: Given, letter: str) -> Asked:
    code, coding = f"code{letter}", f"coding{letter}"
    if (code in given) is (coding in given):
        raise BadRequest(f"Give either {code} or {coding}.", code="parameter-missing")
    return coding_of(given.one(coding), coding) if coding in given else Asked(None, given.one(code))
