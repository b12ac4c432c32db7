"""transaction: all entries or none, in the order of the specification, references between them resolved.

Source: hl7.org/fhir/R4/http.html#transaction
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from fhirserver.context import Exchange, Interaction, Kind, Permission, Result
from fhirserver.engine.bundle import at_entry, phases, within
from fhirserver.engine.references import find_conditional, rewrite
from fhirserver.interactions.conditional import lock_key, match_one, parse_criteria, require_criteria
from fhirserver.outcome import BadRequest, OutcomeError, PreconditionFailed

if TYPE_CHECKING:
    from fhirserver.access.gate import Gate
    from fhirserver.engine.stations import Engine
    from fhirserver.services import Services

_BODIES = (Kind.CREATE, Kind.UPDATE)


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
        resolved = await _resolve(plain, wanted, permissions, bound, engine.gate)
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
            raise at_entry(error, number) from error
    return permissions


def _refuse(failures: Sequence[OutcomeError | None]) -> None:
    """Raise one failure that names every bad entry, with the status of the first."""
    first = next((error for error in failures if error is not None), None)
    if first is None:
        return
    issues = [
        within(issue, f"Bundle.entry[{number}].resource")
        for number, error in enumerate(failures)
        if error is not None
        for issue in error.issues
    ]
    raise type(first)(issues=issues[:200]) from first


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
    gate: Gate,
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
                if "id" in interaction.body and (match is None or match.id != interaction.body["id"]):
                    await gate.unmatched(permission.agent, interaction)  # the answer tells what was found
                resolved[number] = _settle_update(interaction, match.id if match else None, services)
        except OutcomeError as error:
            raise at_entry(error, number) from error
        settled = resolved[number]
        if interaction.full_url and settled.id:
            matches[interaction.full_url] = f"{settled.type}/{settled.id}"
    for number, texts in enumerate(wanted):
        for text in texts - matches.keys():
            if resolved[number].kind in _BODIES:
                matches[text] = await _conditional_reference(
                    text, permissions[number], services, gate, number
                )
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


async def _conditional_reference(
    text: str, permission: Permission, services: Services, gate: Gate, number: int
) -> str:
    """`Type/id` for a conditional reference `Type?criteria`. Raises PreconditionFailed unless exactly one matches."""
    type, _, words = text.partition("?")
    try:
        criteria = parse_criteria(words, type)
        asked = Interaction(Kind.SEARCH_TYPE, type, query=tuple(criteria))
        gate.admit(permission.agent, asked)
        match = await match_one(type, criteria, permission, services)
        if match is None:
            await gate.unmatched(permission.agent, asked)
            raise PreconditionFailed(
                "A conditional reference matches no resource.", code="reference-no-match"
            )
    except OutcomeError as error:
        raise at_entry(error, number) from error
    return f"{type}/{match.id}"


async def _run_phases(
    engine: Engine, interactions: Sequence[Interaction], permissions: Sequence[Permission], services: Services
) -> tuple[Result, ...]:
    results: list[Result | None] = [None] * len(interactions)
    failures: list[OutcomeError] = []

    async def run(number: int) -> None:
        try:
            results[number] = await engine.handle(interactions[number], permissions[number], services)
        except OutcomeError as error:
            failures.append(at_entry(error, number))

    for phase in phases(interactions):
        if phase:
            await asyncio.gather(*(run(number) for number in phase))
        if failures:
            raise failures[0]
    return tuple(result for result in results if result is not None)
