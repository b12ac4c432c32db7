"""What outlives a change of the definitions, and the Services over it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from fhirserver.app.access import Access
from fhirserver.app.audit import audit_worker, watch
from fhirserver.app.clock import build_new_id, now
from fhirserver.app.storage import open_storage
from fhirserver.audit.parameters import PARAMETERS
from fhirserver.audit.worker import AuditWorker
from fhirserver.http.logs import AccessLog
from fhirserver.http.metrics import Metrics
from fhirserver.http.render import instant
from fhirserver.r4.definitions import Definitions
from fhirserver.r4.elements import Elements
from fhirserver.search.index import Indexer
from fhirserver.services import Services
from fhirserver.settings import Settings
from fhirserver.store import Store
from fhirserver.store.client import Client
from fhirserver.store.compile import restriction_compiler
from fhirserver.store.home import Home
from fhirserver.store.keys import instance_id, signing_key
from fhirserver.store.ledger import Ledger
from fhirserver.store.oauth import OAuthStore
from fhirserver.store.search import Searcher
from fhirserver.store.terminology import MongoTerminology
from fhirserver.store.terminology_packages import WithPackages
from fhirserver.terminology import Terminology
from fhirserver.terminology.questions import Questions
from fhirserver.terminology.shipped import Shipped
from fhirserver.validation import Validator
from fhirserver.validation.bindings import ValueSets
from fhirserver.validation.profiled import Policy
from fhirserver.validation.profiles import Profiles


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
    access: Access
    home: Home
    audit: AuditWorker
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
            self.access.break_glass,
            self.terminology,
            now,
            build_new_id(),
            self.audit.feed,
            self.audit.alerts,
            watch(settings, self.home, self.core, self.audit),
        )


async def lay(settings: Settings) -> Foundation:
    """Connect, check and migrate. Raises CannotStart where the database cannot be used."""
    metrics = Metrics(settings.metrics_dir)
    client, home = await open_storage(settings, metrics)
    database = home.database
    core, elements = Definitions.load().with_parameters(PARAMETERS), Elements.load()
    shipped = Shipped()
    source = MongoTerminology(database, settings.tenant, shipped, settings.limits.search_ms)
    audit = audit_worker(settings, home, core, metrics)
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
        Access.over(settings, core, database, audit),
        home,
        audit,
        await instance_id(database, settings),
        instant(now()),
        OAuthStore.of(settings),
    )
