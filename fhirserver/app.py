"""The composition root: Settings -> Services -> one ASGI application. Nothing else builds parts."""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, MutableMapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime
from functools import partial
from typing import Any, TypeVar

from fhirserver.access.breakglass import BreakGlass
from fhirserver.access.compartments import Compartments
from fhirserver.access.gate import Gate
from fhirserver.access.issuers import Issuers
from fhirserver.access.oauth.assemble import assemble
from fhirserver.access.oauth.minting import mint
from fhirserver.access.oauth.parts import Parts, Visit
from fhirserver.access.plan import Planner
from fhirserver.access.roles import Roles
from fhirserver.access.situation import Situations
from fhirserver.access.tokens import TokenCheck
from fhirserver.access.vocabulary import DefinedVocabulary
from fhirserver.audit.anchor import keep_anchors, to_file, to_mail
from fhirserver.audit.index_check import IndexCheck
from fhirserver.audit.keys import KeyFiles
from fhirserver.audit.parameters import PARAMETERS
from fhirserver.audit.purge import Purge, check_right, plan, remove
from fhirserver.audit.seal import Sealer
from fhirserver.audit.syslog import Feed as SyslogFeed
from fhirserver.audit.syslog import Receiver
from fhirserver.audit.watch import Watch
from fhirserver.audit.worker import AuditWorker, Surroundings
from fhirserver.console.audit import mount_console
from fhirserver.console.pages import Pages, language_of
from fhirserver.context import Agent, Interaction, Kind, Permission, Trace
from fhirserver.engine.capabilities import capability_statement
from fhirserver.engine.routes import Router
from fhirserver.engine.stations import Engine
from fhirserver.engine.terminology import terminology_capabilities
from fhirserver.http import logs
from fhirserver.http.cors import Cors
from fhirserver.http.fhir import FhirApp
from fhirserver.http.logs import AccessLog
from fhirserver.http.metrics import SNAPSHOT_EVERY, Metrics
from fhirserver.http.oauth import SMART_CONFIGURATION
from fhirserver.http.oauth_site import mount_oauth
from fhirserver.http.openapi import openapi_document
from fhirserver.http.peer import networks
from fhirserver.http.render import Renderer, instant
from fhirserver.http.request import RequestReader
from fhirserver.http.site import build_site
from fhirserver.http.stop import bound_stop
from fhirserver.http.tracing import traced
from fhirserver.jobs.ending import end
from fhirserver.jobs.leases import lead
from fhirserver.operations import OPERATIONS, auditalerts
from fhirserver.outcome import OutcomeError
from fhirserver.r4.definitions import Definitions
from fhirserver.r4.elements import Elements
from fhirserver.r4.jsontext import dump_json
from fhirserver.search.index import Indexer
from fhirserver.search.types.reference import Site
from fhirserver.services import Services
from fhirserver.settings import Settings
from fhirserver.store import CannotStart, Store, check, connect
from fhirserver.store.audit_access import audit_home, check_prepared
from fhirserver.store.client import Client
from fhirserver.store.compile import restriction_compiler
from fhirserver.store.emergencies import Emergencies
from fhirserver.store.home import Database, Home
from fhirserver.store.indexes import Collections
from fhirserver.store.keys import instance_id, signing_key
from fhirserver.store.leases import Leases
from fhirserver.store.ledger import Ledger
from fhirserver.store.migrate import migrate
from fhirserver.store.oauth import OAuthStore
from fhirserver.store.packages import own_profiles, profiles_stamp
from fhirserver.store.parameters import OwnParameters, mark_indexed, own_parameters
from fhirserver.store.positions import Positions
from fhirserver.store.reindex import reindex as rebuild
from fhirserver.store.relations import Relations
from fhirserver.store.search import Searcher
from fhirserver.store.terminology import MongoTerminology
from fhirserver.store.terminology_packages import WithPackages
from fhirserver.store.tokens import Tokens
from fhirserver.terminology import Terminology
from fhirserver.terminology.questions import Questions
from fhirserver.terminology.shipped import Shipped
from fhirserver.validation import Validator
from fhirserver.validation.bindings import ValueSets
from fhirserver.validation.profiled import Policy
from fhirserver.validation.profiles import Profiles

Asgi = Callable[[Any, Any, Any], Awaitable[None]]
T = TypeVar("T")


def now() -> int:
    """Microseconds since 1970 UTC, cut to whole milliseconds."""
    return time.time_ns() // 1_000_000 * 1000


def build_new_id() -> Callable[[], str]:
    """A source of logical ids: UUID version 7, rising within the process. Source: RFC 9562 section 5.7."""
    lock = threading.Lock()
    last = [0]

    def new_id() -> str:
        with lock:
            last[0] = stamp = max(
                time.time_ns() // 1_000_000 << 12 | int.from_bytes(os.urandom(1)), last[0] + 1
            )
        tail = int.from_bytes(os.urandom(8)) >> 2
        value = (stamp >> 12) << 80 | 7 << 76 | (stamp & 0xFFF) << 64 | 2 << 62 | tail
        text = f"{value:032x}"
        return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"

    return new_id


@dataclass(slots=True)
class Application:
    """The running parts: the ASGI callable and what is behind it. `close` ends it cleanly."""

    asgi: Asgi
    services: Services
    close: Callable[[], Awaitable[None]]


@dataclass(slots=True)
class Foundation:
    """What outlives a change of the definitions: connection, counters, elements, keys."""

    settings: Settings
    client: Client
    metrics: Metrics
    access_log: AccessLog
    core: Definitions
    elements: Elements
    terminology: Terminology
    value_sets: ValueSets
    cursor_key: bytes
    break_glass: BreakGlass
    tokens: TokenCheck
    home: Home
    audit: AuditWorker
    issuers: Issuers
    roles: Roles
    instance: str
    started: str
    oauth: OAuthStore
    origins: frozenset[str] = frozenset()

    def validator(self, profiles: Sequence[dict[str, Any]]) -> Validator:
        """The validator by R4's profiles and these."""
        chosen = self.settings.validation
        known = Profiles.of(profiles, elements=self.elements, terminology=self.terminology)
        policy = Policy(
            chosen.mode,
            chosen.modes,
            {type: tuple(canonicals) for type, canonicals in chosen.assigned.items()},
            chosen.unknown_profile,
            chosen.unknown_modifier_extension,
        )
        return Validator(self.elements, self.value_sets, known, policy)

    async def close(self) -> None:
        """Close the connections."""
        if self.home.audit.client is not self.client:
            await self.home.audit.client.close()
        await self.client.close()
        self.oauth.close()

    def services(self, definitions: Definitions, validator: Validator) -> Services:
        """The services over `definitions`."""
        settings = self.settings
        indexer = Indexer(definitions, settings.tenant, settings.fhir_base)
        store = Store.over(
            self.client,
            settings.database,
            tenant=settings.tenant,
            indexer=indexer,
            clock=now,
            compile=restriction_compiler(settings.tenant),
            on_batch=self.metrics.on_batch,
            audit=self.home.audit,
        )
        searcher = Searcher(
            store.home,
            definitions,
            self.cursor_key,
            settings.limits,
            settings.tenant,
            Questions(self.terminology, settings.fhir_base, settings.limits.expansion),
        )
        return Services(
            settings,
            definitions,
            self.elements,
            validator,
            store,
            Ledger(self.home.audit),
            searcher,
            indexer,
            self.audit.pseudonym,
            self.break_glass,
            self.terminology,
            now,
            build_new_id(),
            self.audit.feed,
            self.audit.alerts,
            self.watch(),
        )

    def watch(self) -> Watch:
        """What verifies the audit log."""
        settings, home = self.settings, self.home
        check = IndexCheck(Indexer(self.core, settings.tenant, settings.fhir_base), settings.tenant)
        positions = Positions(home.database)
        return Watch(Ledger(home.audit), positions, KeyFiles.of(settings), check, self.audit.alarm, now)

    def gate(self, definitions: Definitions) -> Gate:
        """What lets requests in, over `definitions`."""
        settings = self.settings
        site = Site(settings.tenant, settings.fhir_base, frozenset(definitions.resource_types))
        planner = Planner(definitions, self.roles, Compartments(definitions, site.key), site, settings.limits)
        return Gate(
            self.tokens,
            self.issuers,
            self.break_glass.situations,
            planner,
            self.break_glass,
            settings.open_mode,
        )

    def fhir(self, services: Services) -> FhirApp:
        """The FHIR API over `services`."""
        statement = dump_json(capability_statement(services, self.instance, self.started))
        return FhirApp(
            RequestReader(
                services,
                Router(frozenset(services.definitions.resource_types)),
                proxies=networks(self.settings.trusted_proxies),
            ),
            Engine(
                services,
                self.gate(services.definitions),
                self.audit.auditor(services.store),
            ),
            Renderer(self.settings.fhir_base, self.elements),
            Cors(frozenset(self.settings.cors_origins), lambda: self.origins),
            self.metrics,
            self.access_log,
            lambda: statement,
            self._terminology_statement,
        )

    async def _terminology_statement(self) -> bytes:
        systems = await self.terminology.systems()
        return dump_json(terminology_capabilities(systems, self.settings, self.instance, self.started))


async def lay(settings: Settings) -> Foundation:
    """Connect, check and migrate. Raises CannotStart where the database cannot be used."""
    if settings.mongodb_uri is None:
        raise CannotStart("No MongoDB is configured; `fhirserver serve` starts the embedded one.")
    metrics = Metrics(settings.metrics_dir)
    uri = settings.mongodb_uri.get_secret_value()
    client = connect(uri, on_pool=metrics.on_pool, on_state=metrics.on_mongod)
    await check(client)
    database = client[settings.database]
    await migrate(database)
    home = await audit_home(settings, client)
    await check_prepared(home)
    await Collections(home).prepare()
    core, elements = Definitions.load().with_parameters(PARAMETERS), Elements.load()
    vocabulary = DefinedVocabulary(core)
    try:
        roles = Roles(vocabulary, settings.roles)
        issuers = Issuers(settings.issuers, vocabulary, settings.fhir_base, insecure=settings.insecure_jwks)
    except ValueError as problem:
        raise CannotStart(f"A setting is wrong: {problem}") from problem
    emergencies = Emergencies(database, settings.tenant)
    situations = Situations.over(
        Relations(database, settings.tenant),
        emergencies,
        roles,
        (settings.link_past_months, settings.link_future_months),
    )
    shipped = Shipped()
    source = MongoTerminology(database, settings.tenant, shipped, settings.limits.search_ms)
    audit = AuditWorker(
        settings,
        Surroundings(
            home,
            Leases(database, secrets.token_hex(8)),
            core,
            KeyFiles.of(settings).ingest_key(),
            now,
            build_new_id(),
            metrics.on_batch,
        ),
    )
    break_glass = BreakGlass(emergencies, situations, audit.security.record)
    return Foundation(
        settings,
        client,
        metrics,
        AccessLog(),
        core,
        elements,
        Terminology(shipped, WithPackages(source, database, settings.tenant)),
        ValueSets.load(),
        await signing_key(database, settings),
        break_glass,
        TokenCheck(Tokens(database, settings.tenant), vocabulary, settings.fhir_base),
        home,
        audit,
        issuers,
        roles,
        await instance_id(database, settings),
        instant(now()),
        OAuthStore.of(settings),
    )


async def build(settings: Settings) -> Application:
    """Build the parts and connect to the database.

    Raises CannotStart where the database cannot be used or has a schema of a newer server.
    """
    base = await lay(settings)
    database = base.client[settings.database]
    own = await own_parameters(database, settings.tenant, base.core)
    profiles = await own_profiles(database, settings.tenant)
    await base.terminology.refresh()
    services = base.services(with_own(base.core, own), base.validator(profiles.resources))
    front = Front(base.fhir(services))

    async def ready() -> list[str]:
        try:
            async with asyncio.timeout(_READY_SECONDS):
                missing = await front.fhir.engine.services.store.collections.missing()
        except (OutcomeError, TimeoutError):
            return ["the database does not answer"]
        return [f"index missing: {name}" for name in missing] + base.audit.reasons()

    front.site = build_site(
        ready, base.metrics, lambda: openapi_document(settings, services.definitions), docs=settings.docs
    )
    parts = assemble(settings, base.core, base.oauth)
    mount_oauth(
        front.site,
        settings,
        parts,
        Pages(),
        language_of,
        lambda: front.fhir.engine,
        lambda: base.origins,
        base.audit.security.record,
    )
    await mount_console(front.site, parts, lambda: front.fhir.engine, base.audit.security.record)
    await _follow_origins(base)
    tasks = [asyncio.create_task(_follow(base, front, own, profiles.stamp))]
    if settings.metrics_dir:
        tasks.append(asyncio.create_task(_snapshots(base.metrics)))
    await base.audit.start()
    tasks += [asyncio.create_task(base.audit.run())]
    tasks += await guardians(settings, base)
    tasks.append(_led(base, "audit-alerts", partial(auditalerts.watch, lambda: front.fhir.engine.services)))
    application = Application(front, services, _nothing)

    async def close() -> None:
        await end(tasks)
        if settings.metrics_dir:
            base.metrics.snapshot()
        base.access_log.flush()
        await front.fhir.engine.services.store.close()
        await base.audit.stop()
        await base.close()

    application.close = close
    return application


async def guardians(settings: Settings, base: Foundation) -> list[asyncio.Task[None]]:
    """The leased work on the audit log, begun."""
    ledger, positions, chosen = Ledger(base.home.audit), Positions(base.home.database), settings.audit
    keys, alarm = KeyFiles.of(settings), base.audit.alarm
    state = settings.data_dir / "audit" / "state.json"
    sealer = Sealer(
        ledger, keys, state, alarm, now, chosen.seal_interval, on_rotation=base.audit.note_rotation
    )
    work: dict[str, Callable[[], Awaitable[None]]] = {
        "audit-seal": sealer.run,
        "audit-sweep": base.audit.sweeper.run,
        "audit-verify": base.watch().run,
    }
    sinks = [to_file(chosen.anchor.file)] if chosen.anchor.file else []
    if chosen.anchor.email:
        mail = (chosen.anchor.email, chosen.anchor.smtp, chosen.anchor.sender, chosen.origin)
        sinks.append(to_mail(*mail))
    if sinks:
        work["audit-anchor"] = partial(keep_anchors, ledger, positions, sinks, now, alarm)
    if chosen.syslog.host:
        receiver = Receiver(**chosen.syslog.model_dump())
        work["audit-syslog"] = SyslogFeed(ledger, positions, receiver, alarm).run
    return [_led(base, name, job) for name, job in work.items()]


def _led(base: Foundation, name: str, work: Callable[[], Awaitable[None]]) -> asyncio.Task[None]:
    """`work`, begun wherever this worker holds its lease."""
    holder = f"{base.audit.recorder.chain.writer.hex()}/{name}"
    return asyncio.create_task(lead(Leases(base.home.database, holder), name, work))


async def audit_report(settings: Settings, given: Mapping[str, str]) -> bytes:
    """A report on the audit log for the command line. `given`: parameters of $report.

    Raises OutcomeError, CannotStart.
    """
    base = await lay(settings)
    try:
        await base.audit.start()
        services = base.services(base.core, base.validator(()))
        trace = Trace({"k": "operation", "n": "command line"}, services.new_id)
        permission = Permission(Agent("command line"), "report of the command line", trace=trace)
        asked = Interaction(Kind.OPERATION, "AuditEvent", query=tuple(given.items()), operation="report")
        result = await OPERATIONS["report"].handler(asked, permission, services)
        await base.audit.alerts.note_use("report", list(given.items()))
        await base.audit.stop()
        await services.store.close()
        return result.content.body if result.content is not None else b""
    finally:
        await base.close()


async def audit_purge(settings: Settings, before: date, approvers: Sequence[str]) -> tuple[Purge, int]:
    """Purge the audit log: what was planned, and how many events went. Raises PurgeRefused, OutcomeError, CannotStart."""
    base = await lay(settings)
    try:
        ledger, chosen = Ledger(base.home.audit), settings.audit
        today = datetime.fromtimestamp(now() / 1_000_000, UTC).date()
        planned = await plan(
            ledger,
            before,
            years=chosen.retention_years,
            approvers=approvers,
            today=today,
            hold=chosen.legal_hold,
        )
        async with _purging(settings, base) as purging:
            await check_right(purging)
            await base.audit.start()
            await base.audit.alerts.note_purge(planned)
            removed = await remove(purging, planned)
            await base.audit.stop()
        return planned, removed
    finally:
        await base.close()


@asynccontextmanager
async def _purging(settings: Settings, base: Foundation) -> AsyncIterator[Ledger]:
    """The ledger as the user of `purge_uri` has it, where there is one."""
    uri = settings.audit.purge_uri
    if uri is None:
        yield Ledger(base.home.audit)
        return
    async with connect(uri.get_secret_value()) as client:
        yield Ledger(client[base.home.audit.name])


async def _nothing() -> None:
    """Nothing to close."""


def with_own(core: Definitions, own: OwnParameters) -> Definitions:
    """R4's definitions and the clinic's own parameters; one that cannot be used is left out and logged."""
    definitions = core
    for resource in own.resources:
        try:
            definitions = definitions.with_parameters([resource], pending=own.pending)
        except OutcomeError as error:
            _LOG.warning("search parameter left out", extra={"code": error.issues[0].code})
    return definitions


async def _follow(base: Foundation, front: Front, own: OwnParameters, stamp: object) -> None:
    """Take up changes of terminology, search parameters and profiles, also those that other workers received.

    `stamp`: of the profiles that are in effect.
    """
    settings = base.settings
    database = base.client[settings.database]
    await asyncio.sleep(FOLLOW_SECONDS)
    await asyncio.to_thread(base.terminology.warm)
    while True:
        await asyncio.sleep(FOLLOW_SECONDS)
        validator = front.fhir.engine.services.validator
        try:
            await _follow_origins(base)
            await base.terminology.refresh()
            new = await own_parameters(database, settings.tenant, base.core)
            seen = await profiles_stamp(database, settings.tenant)
            if seen != stamp:
                profiles = await own_profiles(database, settings.tenant)
                validator, seen = base.validator(profiles.resources), profiles.stamp
        except OutcomeError:
            continue
        if (new.stamp, new.pending, seen) != (own.stamp, own.pending, stamp):
            own, stamp = new, seen
            retired = front.fhir.engine.services.store
            front.fhir = base.fhir(base.services(with_own(base.core, own), validator))
            await retired.close()


@asynccontextmanager
async def conformance(settings: Settings) -> AsyncIterator[tuple[Foundation, Database]]:
    """The parts and the database, for commands that manage definitions. Raises OutcomeError, CannotStart."""
    base = await lay(settings)
    try:
        yield base, base.client[settings.database]
    finally:
        await base.close()


async def _follow_origins(base: Foundation) -> None:
    """Take up the origins of registered apps."""
    base.origins = await asyncio.to_thread(base.oauth.clients.origins)


async def reindex(
    settings: Settings,
    *,
    types: Sequence[str] | None = None,
    progress: Callable[[int], None] = lambda done: None,
) -> int:
    """Index everything (or `types`) again, for `fhirserver reindex`; the number of resources done.

    Waits first until every running worker has taken up the present parameters. Raises OutcomeError,
    CannotStart.
    """
    base = await lay(settings)
    database = base.client[settings.database]
    try:
        own = await own_parameters(database, settings.tenant, base.core)
        if own.pending:
            await asyncio.sleep(2 * FOLLOW_SECONDS)
        indexer = Indexer(with_own(base.core, own), settings.tenant, settings.fhir_base)
        await base.audit.start()
        done = await rebuild(database, settings.tenant, indexer, own.stamp, types=types, progress=progress)
        if types is None:
            await mark_indexed(database, settings.tenant, own.stamp)
        await base.audit.recorder.record([base.audit.system.work("reindex", done)])
        await base.audit.stop()
        return done
    finally:
        await base.close()


async def _snapshots(metrics: Metrics) -> None:
    while True:
        metrics.snapshot()
        await asyncio.sleep(SNAPSHOT_EVERY)


async def with_oauth(settings: Settings, work: Callable[[Parts, Visit], T]) -> T:
    """What `work` makes of the authorization server's parts, for the command line: in a thread, audited at the end.

    Raises CannotStart and what `work` raises.
    """
    base = await lay(settings)
    visit = Visit("command line")
    try:
        return await asyncio.to_thread(work, assemble(settings, base.core, base.oauth), visit)
    finally:
        if visit.events:
            await base.audit.start()
            for event in visit.events:
                await base.audit.security.record(event)
            await base.audit.stop()
        await base.close()


async def mint_token(
    settings: Settings, *, scope: str, ttl: int, user: str | None = None, patient: str | None = None
) -> str:
    """A new access token, for `fhirserver token`. Raises CannotMint."""
    return await with_oauth(
        settings, lambda parts, visit: mint(parts, visit, scope=scope, ttl=ttl, user=user, patient=patient)
    )


class Front:
    """The FHIR API below /fhir, everything else on the site. `fhir` may be exchanged between requests."""

    def __init__(self, fhir: FhirApp) -> None:
        self.fhir = fhir
        self.site: Any = fhir

    async def __call__(self, scope: MutableMapping[str, Any], receive: Any, send: Any) -> None:
        """Answer one HTTP request."""
        path: str = scope.get("path", "")
        if path == SMART_CONFIGURATION:
            await self.site(scope, receive, send)
        elif path.startswith("/fhir") and (len(path) == _PREFIX or path[_PREFIX] == "/"):
            await self.fhir(scope, receive, send)
        else:
            await self.site(scope, receive, send)


_PREFIX = len("/fhir")
_READY_SECONDS = 3
FOLLOW_SECONDS = 2.0
_LOG = logging.getLogger("fhirserver.app")


class Served:
    """The ASGI application as the server process runs it: builds its parts at start-up, closes them at the end."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._application: Application | None = None

    async def __call__(self, scope: MutableMapping[str, Any], receive: Any, send: Any) -> None:
        """Serve a request, or the lifespan of the process."""
        if scope["type"] == "http" and self._application is not None:
            await self._application.asgi(scope, receive, send)
        elif scope["type"] == "lifespan":
            await self._lifespan(receive, send)

    async def _lifespan(self, receive: Any, send: Any) -> None:
        await receive()
        try:
            self._application = await build(self._settings)
        except (CannotStart, OutcomeError) as error:
            _LOG.error("cannot start: %s", error)
            await send({"type": "lifespan.startup.failed", "message": str(error)})
            return
        self._application.asgi = traced(self._application.asgi, on=self._settings.tracing)
        in_time = bound_stop(self._settings.stop_seconds, self._application.close)
        await send({"type": "lifespan.startup.complete"})
        await receive()
        in_time()
        await self._application.close()
        await send({"type": "lifespan.shutdown.complete"})


def create() -> Asgi:
    """The application of a worker process; its settings come from environment and file."""
    settings = Settings()
    logs.configure(settings.log_level)
    return Served(settings)
