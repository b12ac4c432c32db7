"""The audit worker, and what verifies its log."""

from __future__ import annotations

import secrets

from fhirserver.app.clock import build_new_id, now
from fhirserver.audit.index_check import IndexCheck
from fhirserver.audit.keys import KeyFiles
from fhirserver.audit.watch import Watch
from fhirserver.audit.worker import AuditWorker, Surroundings
from fhirserver.http.metrics import Metrics
from fhirserver.r4.definitions import Definitions
from fhirserver.search.index import Indexer
from fhirserver.settings import Settings
from fhirserver.store.home import Home
from fhirserver.store.leases import Leases
from fhirserver.store.ledger import Ledger
from fhirserver.store.positions import Positions


def audit_worker(settings: Settings, home: Home, core: Definitions, metrics: Metrics) -> AuditWorker:
    """What records, not started yet."""
    surroundings = Surroundings(
        home,
        Leases(home.database, secrets.token_hex(8)),
        core,
        KeyFiles.of(settings).ingest_key(),
        now,
        build_new_id(),
        metrics.on_batch,
    )
    return AuditWorker(settings, surroundings)


def watch(settings: Settings, home: Home, core: Definitions, audit: AuditWorker) -> Watch:
    """What verifies the audit log."""
    check = IndexCheck(Indexer(core, settings.tenant, settings.fhir_base), settings.tenant)
    positions = Positions(home.database)
    return Watch(Ledger(home.audit), positions, KeyFiles.of(settings), check, audit.alarm, now)
