"""AuditEvent/$disclose: whoever hands on data that it reads here says so, before it does.

Called twice: to begin, with recipient, address and purpose; and when everything is read, with the disclosure's id and the
files. What is given of whom is not taken from the caller: it is what the log says was read under the id, which goes with
each request as X-Request-Id. Source: docs/how-to/audit-reports.md
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from fhirserver.access.gate import PURPOSES
from fhirserver.audit.disclosed import Disclosure, File, counted
from fhirserver.audit.disclosure.facts import BEGUN, Fact, fact_of
from fhirserver.context import Interaction, JsonObject, Permission, Result
from fhirserver.operations.auditdata import on_behalf
from fhirserver.operations.parameters import Given, Parameter, answer, read_parameters
from fhirserver.outcome import BadRequest, Conflict, NotFound
from fhirserver.r4.jsontext import parse_json
from fhirserver.store.documents import instant

if TYPE_CHECKING:
    from fhirserver.services import Services

_TABLE = (
    Parameter("recipient", "string"),
    Parameter("address", "uri"),
    Parameter("purpose", "code"),
    Parameter("disclosure", "string"),
    Parameter("file", "parts", repeats=True),
)
_PAGE = 1000
_LONGEST, _LONGEST_ADDRESS = 200, 1000  # characters
_PREFIX = "disclosure-"
_DIGEST = re.compile(r"[0-9a-f]{64}")
_DAY = 86_400_000_000
MOST_DAYS = 7
"""How long after its begin a disclosure may still be told."""


async def handle(interaction: Interaction, permission: Permission, services: Services) -> Result:
    """Parameters with `disclosure`, the id; when all is read with the number of `patients` and the `event` of the files.

    400 for what is missing or malformed, 404 where the caller has begun no such disclosure, 409 where it was told before.
    """
    given = read_parameters(interaction, services, _TABLE)
    record = permission.trace.record if permission.trace is not None else {}
    if "disclosure" in given:
        if other := [name for name in ("recipient", "address", "purpose") if name in given]:
            raise BadRequest(
                f"{', '.join(other)} was said at the begin of the disclosure.", code="parameter-value"
            )
        return await _finish(given, record, permission, services)
    if "file" in given:
        raise BadRequest("Files are of a disclosure that was begun.", code="parameter-value")
    disclosure = _begun(given, f"{_PREFIX}{services.new_id()}", record)
    await services.disclosures.begin(disclosure)
    return Result(200, resource=answer({"name": "disclosure", "valueString": disclosure.id}))


async def _finish(
    given: Given, record: Mapping[str, Any], permission: Permission, services: Services
) -> Result:
    files = [_file(parts, services) for parts in given.all("file")]
    account = await _account(given.text("disclosure") or "", record, permission, services)
    if account.done:
        raise Conflict("This disclosure was told before; begin another.", code="disclosure-told")
    disclosure = replace(account.disclosure, record=record)
    left = {
        patient: counted({type: len(found) for type, found in types.items()})
        for patient, types in account.given.items()
        if patient not in account.told
    }
    await services.disclosures.of_patients(disclosure, left)
    event = await services.disclosures.of_files(disclosure, files)
    return Result(
        200,
        resource=answer(
            {"name": "disclosure", "valueString": disclosure.id},
            {"name": "patients", "valueInteger": len(account.given)},
            {"name": "event", "valueReference": {"reference": f"AuditEvent/{event}"}},
        ),
    )


@dataclass(slots=True)
class _Account:
    """What the log says of a disclosure. `given`: patient -> type -> references. `told`: patients of earlier tries."""

    disclosure: Disclosure
    given: dict[str, dict[str, set[str]]] = field(default_factory=lambda: defaultdict(_sets))
    told: set[str] = field(default_factory=set)
    done: bool = False

    def take(self, fact: Fact) -> None:
        """One event of the disclosure after its begin."""
        patient = fact.patient.removeprefix("Patient/")
        if fact.disclosed:
            self.told.add(patient)
            self.done = self.done or not patient
        elif patient and not fact.failed:
            for reference in fact.resources:
                type, _, rest = reference.partition("/")
                self.given[patient][type].add(rest.partition("/")[0])


def _sets() -> dict[str, set[str]]:
    return defaultdict(set)


async def _account(
    id: str, record: Mapping[str, Any], permission: Permission, services: Services
) -> _Account:
    """What the log says of the disclosure `id`, as far as its own client is concerned. Raises NotFound."""
    account: _Account | None = None
    caller = _actor(record)
    query = services.query(
        "AuditEvent",
        [
            ("entity:identifier", f"|{id}"),
            ("date", f"ge{instant(services.clock() - MOST_DAYS * _DAY)}"),
            ("_sort", "date"),
            ("_count", str(_PAGE)),
        ],
    )
    while id.startswith(_PREFIX):
        page = await services.search(query, on_behalf(permission, "what was read for a disclosure"))
        for version in page.matches:
            fact = fact_of(parse_json(version.raw or b"{}"))
            if (fact.user, fact.client) != caller:
                continue
            if fact.action == BEGUN:
                account = _Account(_of_fact(id, fact))
            elif account is not None:
                account.take(fact)
        if page.next is None:
            break
        query = replace(query, cursor=page.next)
    if account is None:
        raise NotFound(
            f"You have begun no disclosure of this id within {MOST_DAYS} days.", code="disclosure-unknown"
        )
    return account


def _actor(record: Mapping[str, Any]) -> tuple[str, str]:
    """User and client of a record, as the facts of its events name them."""
    client, issuer = record.get("c"), record.get("i")
    known = f"{issuer}|{client}" if client and issuer else client or record.get("n")
    return record.get("f") or record.get("u") or "", known or ""


def _of_fact(id: str, fact: Fact) -> Disclosure:
    return Disclosure(id, fact.recipient, fact.sent_to, fact.purposes[0], {})


def _begun(given: Given, id: str, record: Mapping[str, Any]) -> Disclosure:
    recipient, address = (given.text(name) or "" for name in ("recipient", "address"))
    if not recipient.strip() or len(recipient) > _LONGEST or not recipient.isprintable():
        raise BadRequest(
            f"recipient says who gets the data, a reference or a name of at most {_LONGEST} characters.",
            code="parameter-value",
        )
    if not address.strip() or len(address) > _LONGEST_ADDRESS or not address.isprintable():
        raise BadRequest(
            "address says where the data goes, a URI, an IP address or the name of a machine.",
            code="parameter-value",
        )
    purpose = given.text("purpose")
    if purpose not in PURPOSES:
        raise BadRequest(f"purpose is one of {', '.join(sorted(PURPOSES))}.", code="purpose-unknown")
    return Disclosure(id, recipient, address, purpose, record)


def _file(parts: JsonObject, services: Services) -> File:
    name, type, count, digest = (parts.get(key) for key in ("name", "type", "count", "sha256"))
    if (
        isinstance(name, str)
        and 0 < len(name) <= _LONGEST
        and name.isprintable()
        and type in services.definitions.resource_types
        and isinstance(count, int)
        and not isinstance(count, bool)
        and isinstance(digest, str)
        and _DIGEST.fullmatch(digest)
    ):
        return File(name, type, count, digest)
    raise BadRequest(
        "file has the parts name (string), type (of resources), count (integer) and sha256 (hexadecimal).",
        code="parameter-value",
        expression="Parameters.parameter",
    )
