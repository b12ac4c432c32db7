"""What can go wrong, as a tree of errors that each become one OperationOutcome.

OutcomeError
├── BadRequest 400            InvalidSearchValue, UnknownParameter, TooCostly, NotSupported
├── NotAuthenticated 401
├── Forbidden 403
├── NotFound 404
├── NotAllowed 405
├── NotAcceptable 406
├── Conflict 409
├── Gone 410
├── PreconditionFailed 412    MultipleMatches
├── TooLarge 413
├── UriTooLong 414
├── UnsupportedMedia 415
├── Unprocessable 422         Invalid
├── Throttled 429
├── Internal 500
└── Unavailable 503

A class fixes the HTTP status and the default R4 issue code; each raise adds our stable code (kebab-case, kept in
`details.coding` under ERROR_SYSTEM), the FHIRPath `expression` and words that help the caller to fix the request.
Sources: hl7.org/fhir/R4/http.html, hl7.org/fhir/R4/operationoutcome.html, hl7.org/fhir/R4/codesystem-issue-type.html
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, ClassVar

CANONICAL = "https://fhirserver.example"
INSUFFICIENT = 'Bearer realm="fhir", error="insufficient_scope"'  # RFC 6750 section 3.1
ERROR_SYSTEM = f"{CANONICAL}/CodeSystem/error"
RULE_SYSTEM = f"{CANONICAL}/br/CodeSystem/regra"


class IssueCode(StrEnum):
    """The issue types of R4. Source: hl7.org/fhir/R4/codesystem-issue-type.html."""

    INVALID = "invalid"
    STRUCTURE = "structure"
    REQUIRED = "required"
    VALUE = "value"
    INVARIANT = "invariant"
    SECURITY = "security"
    LOGIN = "login"
    UNKNOWN = "unknown"
    EXPIRED = "expired"
    FORBIDDEN = "forbidden"
    SUPPRESSED = "suppressed"
    PROCESSING = "processing"
    NOT_SUPPORTED = "not-supported"
    DUPLICATE = "duplicate"
    MULTIPLE_MATCHES = "multiple-matches"
    NOT_FOUND = "not-found"
    DELETED = "deleted"
    TOO_LONG = "too-long"
    CODE_INVALID = "code-invalid"
    EXTENSION = "extension"
    TOO_COSTLY = "too-costly"
    BUSINESS_RULE = "business-rule"
    CONFLICT = "conflict"
    TRANSIENT = "transient"
    LOCK_ERROR = "lock-error"
    NO_STORE = "no-store"
    EXCEPTION = "exception"
    TIMEOUT = "timeout"
    INCOMPLETE = "incomplete"
    THROTTLED = "throttled"
    INFORMATIONAL = "informational"


@dataclass(frozen=True, slots=True)
class Issue:
    """One issue of an OperationOutcome.

    `issue_code`: R4 issue type. `code`: our stable code. `text`: what is wrong and how to fix it, without values
    from the request that may identify a person. `expression`: FHIRPath of the element, empty when not about one.
    `system`: whose code it is, where a rule has a code system of its own.
    """

    issue_code: IssueCode
    code: str
    text: str
    expression: tuple[str, ...] = ()
    severity: str = "error"
    system: str = ERROR_SYSTEM

    def to_json(self) -> dict[str, Any]:
        """The issue as the JSON of OperationOutcome.issue."""
        issue: dict[str, Any] = {
            "severity": self.severity,
            "code": self.issue_code.value,
            "details": {"coding": [{"system": self.system, "code": self.code}], "text": self.text},
        }
        if self.expression:
            issue["expression"] = list(self.expression)
        return issue


def operation_outcome(issues: Iterable[Issue]) -> dict[str, Any]:
    """An OperationOutcome resource (JSON object) that holds `issues` in order."""
    return {"resourceType": "OperationOutcome", "issue": [issue.to_json() for issue in issues]}


class OutcomeError(Exception):
    """A failure that is answered with `status` and one OperationOutcome.

    `text`: one sentence for the caller. `code`: stable code. `expression`: FHIRPath of the culprit.
    `issues`: when there is more than one problem (then text/code are ignored). `retry_after`: seconds. `challenge`: for
    WWW-Authenticate.
    """

    status: ClassVar[int] = 500
    issue_code: ClassVar[IssueCode] = IssueCode.EXCEPTION

    def __init__(
        self,
        text: str = "",
        *,
        code: str = "internal",
        expression: Sequence[str] | str = (),
        issue_code: IssueCode | None = None,
        issues: Sequence[Issue] = (),
        retry_after: int | None = None,
        challenge: str | None = None,
    ) -> None:
        if isinstance(expression, str):
            expression = (expression,)
        self.issues: tuple[Issue, ...] = tuple(issues) or (
            Issue(issue_code or self.issue_code, code, text, tuple(expression)),
        )
        self.retry_after = retry_after
        self.challenge = challenge
        super().__init__(self.issues[0].text)

    def to_json(self) -> dict[str, Any]:
        """The OperationOutcome that answers this failure."""
        return operation_outcome(self.issues)


class BadRequest(OutcomeError):
    """The request cannot be understood as it stands."""

    status = 400
    issue_code = IssueCode.INVALID


class InvalidSearchValue(BadRequest):
    """A search parameter's value does not fit its type."""

    issue_code = IssueCode.VALUE


class UnknownParameter(BadRequest):
    """A parameter that this server does not know for the type (handling=strict)."""

    issue_code = IssueCode.NOT_SUPPORTED


class TooCostly(BadRequest):
    """The search would need more work than the limits allow."""

    issue_code = IssueCode.TOO_COSTLY


class NotSupported(BadRequest):
    """Valid FHIR that this server does not offer."""

    issue_code = IssueCode.NOT_SUPPORTED


class NotAuthenticated(OutcomeError):
    """No or no valid credentials."""

    status = 401
    issue_code = IssueCode.LOGIN


class Forbidden(OutcomeError):
    """The agent may not do this."""

    status = 403
    issue_code = IssueCode.FORBIDDEN


class NotFound(OutcomeError):
    """No such resource, version, type or route (or none that the agent may know of)."""

    status = 404
    issue_code = IssueCode.NOT_FOUND


class NotAllowed(OutcomeError):
    """The HTTP method is not offered here; `allow` are those that are, for the header that RFC 9110 asks for."""

    status = 405
    issue_code = IssueCode.NOT_SUPPORTED

    def __init__(self, text: str = "", *, allow: Iterable[str] = (), **rest: Any) -> None:
        super().__init__(text, **rest)
        self.allow = tuple(allow)


class NotAcceptable(OutcomeError):
    """None of the accepted formats is offered."""

    status = 406
    issue_code = IssueCode.NOT_SUPPORTED


class TooSlow(OutcomeError):
    """The request did not arrive in time."""

    status = 408
    issue_code = IssueCode.TIMEOUT


class Conflict(OutcomeError):
    """The resource changed meanwhile, or another rule of state forbids the write."""

    status = 409
    issue_code = IssueCode.CONFLICT


class Gone(OutcomeError):
    """The resource was deleted."""

    status = 410
    issue_code = IssueCode.DELETED


class PreconditionFailed(OutcomeError):
    """If-Match, If-None-Match or conditional criteria do not hold."""

    status = 412
    issue_code = IssueCode.CONFLICT


class MultipleMatches(PreconditionFailed):
    """Conditional criteria match more than one resource."""

    issue_code = IssueCode.MULTIPLE_MATCHES


class TooLarge(OutcomeError):
    """A body, Bundle or stored resource over its limit."""

    status = 413
    issue_code = IssueCode.TOO_LONG


class UriTooLong(OutcomeError):
    """The request target is over its limit."""

    status = 414
    issue_code = IssueCode.TOO_LONG


class UnsupportedMedia(OutcomeError):
    """A Content-Type or Content-Encoding that is not offered."""

    status = 415
    issue_code = IssueCode.NOT_SUPPORTED


class Unprocessable(OutcomeError):
    """Understood, but against the rules of the resource or of the server."""

    status = 422
    issue_code = IssueCode.PROCESSING


class Invalid(Unprocessable):
    """The resource breaks its definition; `issues` names every problem."""

    issue_code = IssueCode.INVALID


class Throttled(OutcomeError):
    """Too many requests; `retry_after` says when to come back."""

    status = 429
    issue_code = IssueCode.THROTTLED


class Internal(OutcomeError):
    """A fault of the server. The text never carries a trace or a library's words."""

    status = 500
    issue_code = IssueCode.EXCEPTION


class Unavailable(OutcomeError):
    """A needed part (the database) does not answer now; retry."""

    status = 503
    issue_code = IssueCode.TRANSIENT
