"""$validate-code of a ValueSet or a CodeSystem.

Source: hl7.org/fhir/R4/valueset-operation-validate-code.html, hl7.org/fhir/R4/codesystem-operation-validate-code.html
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from fhirserver.context import Interaction, Permission, Result
from fhirserver.operations.parameters import Given, Parameter, answer, read_parameters
from fhirserver.operations.terms import asked, system_of, value_set_of
from fhirserver.outcome import BadRequest
from fhirserver.terminology.validate import How, validate_in_system, validate_in_value_set

if TYPE_CHECKING:
    from fhirserver.services import Services
    from fhirserver.terminology.validate import Validity

_COMMON = (
    Parameter("url", "uri"),
    Parameter("code", "code"),
    Parameter("display", "string"),
    Parameter("coding", "Coding"),
    Parameter("codeableConcept", "CodeableConcept"),
    Parameter("date", "dateTime", refused=True),
    Parameter("abstract", "boolean"),
    Parameter("displayLanguage", "code"),
)
IN_VALUE_SET = (
    *_COMMON,
    Parameter("context", "uri", refused=True),
    Parameter("valueSet", "ValueSet"),
    Parameter("valueSetVersion", "string"),
    Parameter("system", "uri"),
    Parameter("systemVersion", "string"),
)
IN_SYSTEM = (*_COMMON, Parameter("codeSystem", "CodeSystem"), Parameter("version", "string"))


async def handle(interaction: Interaction, permission: Permission, services: Services) -> Result:
    """Whether the code is valid: `result`, and with it `message` and `display`."""
    if interaction.type == "CodeSystem":
        return _answer(await _in_system(interaction, permission, services))
    given = read_parameters(interaction, services, IN_VALUE_SET)
    value_set = await value_set_of(interaction, permission, services, given)
    _displayed(given)
    codes = asked(given, given.text("system"))
    if any(one.system is None for one in codes):
        raise BadRequest("A code to validate comes with its system.", code="parameter-missing")
    return _answer(await validate_in_value_set(services.terminology, value_set, codes, _how(given)))


async def _in_system(interaction: Interaction, permission: Permission, services: Services) -> Validity:
    given = read_parameters(interaction, services, IN_SYSTEM)
    _displayed(given)
    codes = asked(given, None)
    coded = next((one.system for one in codes if one.system is not None), None)
    system = await system_of(interaction, permission, services, given, ("url", "version"), coded)
    return await validate_in_system(system, codes, _how(given))


def _displayed(given: Given) -> None:
    if "display" in given and "code" not in given:
        raise BadRequest("A display is given with a code.", code="parameter-missing")


def _how(given: Given) -> How:
    return How(given.flag("abstract"), given.text("displayLanguage"))


def _answer(validity: Validity) -> Result:
    return Result(
        200,
        resource=answer(
            {"name": "result", "valueBoolean": validity.result},
            {"name": "message", "valueString": validity.message} if validity.message else None,
            {"name": "display", "valueString": validity.display} if validity.display else None,
        ),
    )
