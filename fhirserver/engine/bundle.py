"""batch and transaction: a Bundle unfolded into interactions, and a batch run by the stations.

Source: hl7.org/fhir/R4/http.html#transaction
"""

from __future__ import annotations

import asyncio
import base64
import binascii
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from fhirserver.context import Exchange, Interaction, JsonObject, Kind, Result
from fhirserver.outcome import BadRequest, Invalid, Issue, OutcomeError, TooLarge
from fhirserver.r4.jsontext import parse_json

if TYPE_CHECKING:
    from fhirserver.engine.routes import Router
    from fhirserver.engine.stations import Engine
    from fhirserver.services import Services

_PHASES = (("DELETE",), ("POST",), ("PUT", "PATCH"), ("GET", "HEAD"))
_PARALLEL = 32
_REQUEST_HEADERS = {
    "ifNoneMatch": "if-none-match",
    "ifModifiedSince": "if-modified-since",
    "ifMatch": "if-match",
    "ifNoneExist": "if-none-exist",
}


def unfold(
    bundle: JsonObject, router: Router, services: Services, headers: Mapping[str, str]
) -> tuple[Interaction, ...]:
    """The interactions of a batch or transaction Bundle, in its order.

    What is wrong with an entry of a batch is answered for that entry alone.

    Raises BadRequest naming the entry (transaction), TooLarge over the entry limit, Invalid where the Bundle breaks its definition.
    """
    entries = bundle.get("entry", [])
    if isinstance(entries, list) and len(entries) > services.settings.limits.bundle_entries:
        raise TooLarge(
            f"A Bundle may have {services.settings.limits.bundle_entries} entries; send several.",
            code="bundle-too-large",
        )
    _check_envelope(bundle, services)
    interactions = []
    for number, entry in enumerate(entries):
        where = f"Bundle.entry[{number}]"
        try:
            interactions.append(_unfold_entry(entry, router, services, headers))
        except OutcomeError as error:
            placed = type(error)(issues=[within(issue, where) for issue in error.issues])
            if bundle.get("type") == "transaction":
                raise placed from error
            interactions.append(Interaction(Kind.BATCH, refused=placed))
    return tuple(interactions)


def _check_envelope(bundle: JsonObject, services: Services) -> None:
    """Validate the Bundle without the resources of its entries, which are validated as interactions of their own."""
    envelope = dict(bundle)
    if isinstance(bundle.get("entry"), list):
        envelope["entry"] = [
            {key: value for key, value in entry.items() if key != "resource"}
            if isinstance(entry, dict)
            else entry
            for entry in bundle["entry"]
        ]
    issues = services.validator.validate(envelope, "Bundle", plain=True)
    if issues:
        raise Invalid(issues=issues)


def _unfold_entry(
    entry: JsonObject, router: Router, services: Services, headers: Mapping[str, str]
) -> Interaction:
    request = entry.get("request")
    if not isinstance(request, dict):
        raise BadRequest(
            "Each entry of a batch or transaction needs a request.", code="entry-request-missing"
        )
    url = request.get("url", "").removeprefix(services.settings.fhir_base)
    path, _, query = url.partition("?")
    if "://" in path:
        raise BadRequest(
            "The request's url must lie on this server; give it relative.", code="entry-url-foreign"
        )
    own = {name: request[key] for key, name in _REQUEST_HEADERS.items() if key in request}
    if "prefer" in headers:
        own["prefer"] = headers["prefer"]
    interaction = router.route(
        request.get("method", ""),
        path,
        query,
        body=entry.get("resource"),
        headers=own,
        full_url=entry.get("fullUrl"),
    )
    if interaction.kind in (Kind.BATCH, Kind.CAPABILITIES):
        raise BadRequest(
            "A Bundle cannot hold another batch or transaction, nor metadata.", code="bundle-nested"
        )
    if interaction.kind is Kind.PATCH:
        return replace(interaction, body=patch_body(interaction.body))
    return interaction


def patch_body(resource: Any) -> Any:
    """The patch of an entry: Parameters as they are, a Binary of JSON Patch unpacked. Raises BadRequest."""
    if isinstance(resource, dict) and resource.get("resourceType") == "Binary":
        if resource.get("contentType", "").split(";")[0] != "application/json-patch+json":
            raise BadRequest(
                "A patch in a Binary has contentType application/json-patch+json.", code="patch-type"
            )
        try:
            return parse_json(base64.b64decode(resource.get("data", ""), validate=True))
        except binascii.Error as error:
            raise BadRequest("The Binary's data is not base64.", code="patch-base64") from error
    return resource


async def run_batch(engine: Engine, exchange: Exchange) -> tuple[Result, ...]:
    """Each entry on its own, in the order DELETE, POST, PUT and PATCH, GET; one failing leaves the others alone."""
    results: list[Result | None] = [None] * len(exchange.interactions)
    gate = asyncio.Semaphore(_PARALLEL)

    async def run(number: int) -> None:
        async with gate:
            results[number] = await engine.run_one(exchange, exchange.interactions[number])

    for phase in phases(exchange.interactions):
        async with asyncio.TaskGroup() as group:
            for number in phase:
                group.create_task(run(number))
    return tuple(result for result in results if result is not None)


def phases(interactions: Sequence[Interaction]) -> list[list[int]]:
    """The numbers of the entries, in the order in which the specification has their methods run."""
    return [[n for n, i in enumerate(interactions) if i.method in verbs] for verbs in _PHASES]


def within(issue: Issue, where: str) -> Issue:
    """The issue as seen from the Bundle: `Patient.name` becomes `Bundle.entry[3].resource.name`."""
    inner = [expression.partition(".")[2] for expression in issue.expression]
    return replace(
        issue, expression=tuple(f"{where}.{path}" if path else where for path in inner) or (where,)
    )


def at_entry(error: OutcomeError, number: int) -> OutcomeError:
    """The error as one of entry `number`. Keeps its cause, by which the store knows what can be run again."""
    issues = [within(issue, f"Bundle.entry[{number}]") for issue in error.issues]
    placed = type(error)(issues=issues, retry_after=error.retry_after, challenge=error.challenge)
    placed.__cause__ = error
    return placed
