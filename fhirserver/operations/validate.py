"""$validate at type and instance level. Source: hl7.org/fhir/R4/resource-operation-validate.html.

The answer is 200 with an OperationOutcome, whatever it says of the resource; another status means that the question
itself cannot be answered.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fhirserver.context import Interaction, JsonObject, Permission, Result
from fhirserver.outcome import BadRequest, Issue, IssueCode, NotFound, OutcomeError, operation_outcome
from fhirserver.r4.jsontext import parse_json

if TYPE_CHECKING:
    from fhirserver.services import Services

MODES = ("create", "update", "delete", "profile")
ALL_OK = Issue(IssueCode.INFORMATIONAL, "valid", "All OK", (), "information")
_VALUES = ("valueCode", "valueUri", "valueCanonical", "valueString", "valueBoolean")


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked. `resource`: None where the stored one is meant, or none is needed."""

    resource: Any
    mode: str
    profiles: tuple[str, ...]
    must_support: bool


async def handle(interaction: Interaction, permission: Permission, services: Services) -> Result:
    """200 with the issues; 400 for an unknown mode or profile, or where there is nothing to validate."""
    if isinstance(interaction.body, OutcomeError):
        return _answer(interaction.body.issues)
    question = _question(interaction)
    _check_profiles(question.profiles, services)
    if question.mode == "delete":
        await services.store.read(*interaction.instance, permission=permission)
        return _answer([])
    resource = question.resource
    if resource is None:
        version = await services.store.read(*interaction.instance, permission=permission)
        resource = parse_json(version.raw or b"{}")
    issues = services.validator.validate(
        resource, interaction.type, profiles=question.profiles, thorough=True
    )
    issues += _of_mode(question.mode, interaction, resource)
    if question.must_support:
        issues += services.validator.left_out(resource, question.profiles)
    return _answer(issues)


def _answer(issues: Any) -> Result:
    order = {"fatal": 0, "error": 1, "warning": 2}
    sorted_ = sorted(issues, key=lambda issue: order.get(issue.severity, 3))
    return Result(200, resource=operation_outcome(sorted_ or [ALL_OK]))


def _question(interaction: Interaction) -> Question:
    """From the query, and from Parameters or the bare resource in the body."""
    given: dict[str, list[Any]] = {}
    for name, value in interaction.query:
        given.setdefault(name, []).append(value)
    resource, body = None, interaction.body
    wrapped = isinstance(body, dict) and body.get("resourceType") == "Parameters"
    if wrapped and (interaction.type != "Parameters" or _asks(body)):
        for parameter in _parameters(body):
            if parameter.get("name") == "resource":
                resource = parameter.get("resource")
            for typed in _VALUES:
                if typed in parameter:
                    given.setdefault(str(parameter.get("name")), []).append(parameter[typed])
    else:
        resource = body
    mode = str(given.get("mode", ["profile" if "profile" in given else ""])[0])
    if mode and mode not in MODES:
        raise BadRequest(
            f"mode is one of {', '.join(MODES)}.", code="validate-mode", issue_code=IssueCode.NOT_SUPPORTED
        )
    if resource is None and interaction.id is None:
        raise BadRequest(
            "Send the resource to validate, as the body or in the parameter 'resource'.", code="body-missing"
        )
    if mode in ("update", "delete") and interaction.id is None:
        raise BadRequest(
            f"mode {mode} asks about a stored resource: call /{interaction.type}/[id]/$validate.",
            code="validate-mode",
        )
    wants = str(given.get("mustSupport", ["false"])[0]).lower() == "true"
    return Question(resource, mode, tuple(str(p) for p in given.get("profile", ())), wants)


def _asks(body: JsonObject) -> bool:
    """Whether a Parameters resource is the call itself, and not what is to be validated."""
    return any(parameter.get("name") == "resource" for parameter in _parameters(body))


def _parameters(body: JsonObject) -> list[JsonObject]:
    found = body.get("parameter")
    return [p for p in found if isinstance(p, dict)] if isinstance(found, list) else []


def _check_profiles(profiles: tuple[str, ...], services: Services) -> None:
    for profile in profiles:
        if not services.validator.knows(profile):
            raise NotFound(
                f"The profile {profile} is not known here; `fhirserver package add` makes it known.",
                code="profile-unknown",
            )


def _of_mode(mode: str, interaction: Interaction, resource: Any) -> list[Issue]:
    """What a create or an update would refuse besides the content."""
    if not isinstance(resource, dict) or mode not in ("create", "update"):
        return []
    id_ = resource.get("id")
    if mode == "update" and id_ != interaction.id:
        text = "An update carries the id of its URL in the resource."
        return [Issue(IssueCode.VALUE, "id-mismatch", text, (f"{interaction.type}.id",))]
    if mode == "create" and id_ is not None:
        text = "The id is ignored: the server assigns one at a create."
        return [
            Issue(IssueCode.INFORMATIONAL, "id-ignored", text, (f"{interaction.type}.id",), "information")
        ]
    return []
