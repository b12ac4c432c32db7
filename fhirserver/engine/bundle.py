"""batch and transaction: a Bundle unfolded into interactions, run by the stations, its references resolved.

Source: hl7.org/fhir/R4/http.html#transaction
"""

from __future__ import annotations

import asyncio
import base64
import binascii
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from fhirserver.context import Exchange, Interaction, JsonObject, Kind, Permission, Result
from fhirserver.engine.references import find_conditional, rewrite
from fhirserver.interactions.conditional import lock_key, match_one, parse_criteria, require_criteria
from fhirserver.outcome import BadRequest, Invalid, Issue, OutcomeError, PreconditionFailed, TooLarge
from fhirserver.r4.jsontext import parse_json

if TYPE_CHECKING:
    from fhirserver.engine.routes import Router
    from fhirserver.engine.stations import Engine
    from fhirserver.services import Services

_PHASES = (("DELETE",), ("POST",), ("PUT", "PATCH"), ("GET", "HEAD"))
_BODIES = (Kind.CREATE, Kind.UPDATE)
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
            placed = type(error)(issues=[_within(issue, where) for issue in error.issues])
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

    for phase in _phases(exchange.interactions):
        async with asyncio.TaskGroup() as group:
            for number in phase:
                group.create_task(run(number))
    return tuple(result for result in results if result is not None)


async def run_transaction(engine: Engine, exchange: Exchange) -> tuple[Result, ...]:
    """All entries or none. Refusals and invalid entries are known before the store is touched."""
    services = engine.services
    interactions = tuple(_with_id(interaction, services) for interaction in exchange.interactions)
    _check_identities(interactions)
    permissions = await _admit(engine, exchange, interactions)
    known = _known_urls(interactions)
    plain = tuple(replace(i, body=rewrite(i.body, known)) if known else i for i in interactions)
    wanted = [find_conditional(i.body) if i.kind in _BODIES else set() for i in plain]
    _refuse(await engine.validate_all(tuple(map(_settled_for_now, plain, wanted))))

    async def work(store: Any) -> tuple[Result, ...]:
        bound = services.within(store)
        resolved = await _resolve(plain, wanted, permissions, bound)
        under = [
            permission.matching if found.kind is Kind.READ and asked.kind is Kind.CREATE else permission
            for permission, found, asked in zip(permissions, resolved, plain, strict=True)
        ]
        return await _run_phases(engine, resolved, under, bound)

    written = {i.type for i in plain if i.type and i.method != "GET"}
    return await services.store.transaction(work, types=written)


def _with_id(interaction: Interaction, services: Services) -> Interaction:
    if interaction.kind is Kind.CREATE:
        return replace(interaction, id=services.new_id())
    return interaction


async def _admit(engine: Engine, exchange: Exchange, interactions: Sequence[Interaction]) -> list[Permission]:
    permissions: list[Permission] = []
    for number, interaction in enumerate(interactions):
        try:
            permissions.append(await engine.authorize(exchange.agent, interaction))
        except OutcomeError as error:
            raise _at(error, number) from error
    return permissions


def _refuse(failures: Sequence[OutcomeError | None]) -> None:
    """Raise one failure that names every bad entry, with the status of the first."""
    first = next((error for error in failures if error is not None), None)
    if first is None:
        return
    issues = [
        _within(issue, f"Bundle.entry[{number}].resource")
        for number, error in enumerate(failures)
        if error is not None
        for issue in error.issues
    ]
    raise type(first)(issues=issues[:200]) from first


def _within(issue: Issue, where: str) -> Issue:
    """The issue as seen from the Bundle: `Patient.name` becomes `Bundle.entry[3].resource.name`."""
    inner = [expression.partition(".")[2] for expression in issue.expression]
    return replace(
        issue, expression=tuple(f"{where}.{path}" if path else where for path in inner) or (where,)
    )


def _at(error: OutcomeError, number: int) -> OutcomeError:
    """The error as one of entry `number`. Keeps its cause, by which the store knows what can be run again."""
    issues = [_within(issue, f"Bundle.entry[{number}]") for issue in error.issues]
    placed = type(error)(issues=issues, retry_after=error.retry_after, challenge=error.challenge)
    placed.__cause__ = error
    return placed


def _check_identities(interactions: Sequence[Interaction]) -> None:
    """A transaction may change each resource once. Source: http.html#trules."""
    seen: dict[tuple[str | None, str | None], int] = {}
    urls: set[str] = set()
    for number, interaction in enumerate(interactions):
        if interaction.kind in (Kind.UPDATE, Kind.PATCH, Kind.DELETE) and interaction.id is not None:
            identity = (interaction.type, interaction.id)
            if identity in seen:
                raise BadRequest(
                    "Two entries of the transaction change the same resource; only one may.",
                    code="entry-overlap",
                    expression=(f"Bundle.entry[{seen[identity]}]", f"Bundle.entry[{number}]"),
                )
            seen[identity] = number
        if interaction.full_url and interaction.kind in _BODIES:
            if interaction.full_url in urls:
                raise BadRequest(
                    "Two entries have the same fullUrl; references to it would be ambiguous.",
                    code="entry-full-url-repeated",
                    expression=f"Bundle.entry[{number}].fullUrl",
                )
            urls.add(interaction.full_url)


def _known_urls(interactions: Sequence[Interaction]) -> dict[str, str]:
    """FullUrl -> relative reference, for the entries whose id is settled before the database is asked."""
    return {
        interaction.full_url: f"{interaction.type}/{interaction.id}"
        for interaction in interactions
        if interaction.full_url
        and interaction.id
        and interaction.kind in _BODIES
        and "if-none-exist" not in interaction.headers
    }


def _settled_for_now(interaction: Interaction, wanted: set[str]) -> Interaction:
    """The interaction as validation sees it: a conditional reference counts as one to its type."""
    if not wanted:
        return interaction
    return replace(
        interaction, body=rewrite(interaction.body, {text: f"{text.partition('?')[0]}/0" for text in wanted})
    )


async def _resolve(
    interactions: tuple[Interaction, ...],
    wanted: Sequence[set[str]],
    permissions: Sequence[Permission],
    services: Services,
) -> tuple[Interaction, ...]:
    """Settle conditional entries and conditional references, under locks; rewrite what refers to them."""
    matches: dict[str, str] = {}
    resolved = list(interactions)
    conditional = [n for n, i in enumerate(interactions) if _is_conditional(i)]
    for number in sorted(conditional, key=lambda n: lock_key(*_criteria(interactions[n]))):
        interaction, permission = interactions[number], permissions[number]
        type, criteria = _criteria(interaction)
        try:
            await services.store.lock(lock_key(type, criteria))
            match = await match_one(type, criteria, permission, services)
            if match is not None and interaction.kind is Kind.CREATE:
                resolved[number] = replace(
                    interaction, kind=Kind.READ, id=match.id, body=None, headers={}, query=()
                )
            elif interaction.kind is Kind.UPDATE:
                resolved[number] = _settle_update(interaction, match.id if match else None, services)
        except OutcomeError as error:
            raise _at(error, number) from error
        settled = resolved[number]
        if interaction.full_url and settled.id:
            matches[interaction.full_url] = f"{settled.type}/{settled.id}"
    for number, texts in enumerate(wanted):
        for text in texts - matches.keys():
            if resolved[number].kind in _BODIES:
                matches[text] = await _conditional_reference(text, permissions[number], services, number)
    if not matches:
        return tuple(resolved)
    return tuple(replace(i, body=rewrite(i.body, matches)) if i.kind in _BODIES else i for i in resolved)


def _is_conditional(interaction: Interaction) -> bool:
    if interaction.kind is Kind.CREATE:
        return "if-none-exist" in interaction.headers
    return interaction.kind is Kind.UPDATE and interaction.id is None


def _criteria(interaction: Interaction) -> tuple[str, Sequence[tuple[str, str]]]:
    type = interaction.type or ""
    if interaction.kind is Kind.CREATE:
        return type, parse_criteria(interaction.headers["if-none-exist"], type)
    return type, require_criteria(interaction.query)


def _settle_update(interaction: Interaction, matched: str | None, services: Services) -> Interaction:
    given = interaction.body.get("id")
    if matched is not None and given is not None and given != matched:
        raise BadRequest("The criteria match a resource with another id than the body's.", code="id-mismatch")
    id = matched or given or services.new_id()
    return replace(interaction, id=id, query=(), body={**interaction.body, "id": id})


async def _conditional_reference(text: str, permission: Permission, services: Services, number: int) -> str:
    """`Type/id` for a conditional reference `Type?criteria`. Raises PreconditionFailed unless exactly one matches."""
    type, _, criteria = text.partition("?")
    try:
        match = await match_one(type, parse_criteria(criteria, type), permission, services)
        if match is None:
            raise PreconditionFailed(
                "A conditional reference matches no resource.", code="reference-no-match"
            )
    except OutcomeError as error:
        raise _at(error, number) from error
    return f"{type}/{match.id}"


def _phases(interactions: Sequence[Interaction]) -> list[list[int]]:
    return [[n for n, i in enumerate(interactions) if i.method in verbs] for verbs in _PHASES]


async def _run_phases(
    engine: Engine, interactions: Sequence[Interaction], permissions: Sequence[Permission], services: Services
) -> tuple[Result, ...]:
    results: list[Result | None] = [None] * len(interactions)
    failures: list[OutcomeError] = []

    async def run(number: int) -> None:
        try:
            results[number] = await engine.handle(interactions[number], permissions[number], services)
        except OutcomeError as error:
            failures.append(_at(error, number))

    for phase in _phases(interactions):
        if phase:
            await asyncio.gather(*(run(number) for number in phase))
        if failures:
            raise failures[0]
    return tuple(result for result in results if result is not None)
