"""Services: the built parts that a handler may use. Made once by app/, passed by hand, never global."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from fhirserver.search.query import parse_query

if TYPE_CHECKING:
    from fhirserver.access.breakglass import BreakGlass
    from fhirserver.audit.alertbook import AlertBook
    from fhirserver.audit.feed import Feed
    from fhirserver.audit.watch import Watch
    from fhirserver.context import Permission, Version
    from fhirserver.r4.definitions import Definitions
    from fhirserver.r4.elements import Elements
    from fhirserver.search.index import Indexer
    from fhirserver.search.query import SearchQuery
    from fhirserver.settings import Settings
    from fhirserver.store import Store
    from fhirserver.store.ledger import Ledger
    from fhirserver.store.search import FoundPage, Searcher
    from fhirserver.terminology import Terminology
    from fhirserver.validation import Validator


@dataclass(frozen=True, slots=True)
class Services:
    """What handlers work with.

    `clock`: microseconds since 1970 UTC, whole milliseconds. `new_id`: a fresh logical id, time-ordered. Inside a
    transaction `store` is bound to it, and searches made through here see its writes. `feed`: takes AuditEvents of other
    systems. `pseudonym`: what recorded queries hold for a value of a search parameter that identifies people. `watch`:
    verifies the audit log.
    """

    settings: Settings
    definitions: Definitions
    elements: Elements
    validator: Validator
    store: Store
    ledger: Ledger
    searcher: Searcher
    indexer: Indexer
    pseudonym: Callable[[str, str], str]
    break_glass: BreakGlass
    terminology: Terminology
    clock: Callable[[], int]
    new_id: Callable[[], str]
    feed: Feed
    alerts: AlertBook
    watch: Watch

    def within(self, store: Store) -> Services:
        """The same services on a store that is bound to a transaction."""
        return replace(self, store=store)

    def query(
        self,
        type: str | None,
        pairs: Sequence[tuple[str, str]],
        *,
        lenient: bool = False,
        compartment: tuple[str, str] | None = None,
    ) -> SearchQuery:
        """The parsed search; raises BadRequest and its kinds. `type` None: system level."""
        return parse_query(
            self.definitions,
            type,
            pairs,
            limits=self.settings.limits,
            tenant=self.settings.tenant,
            base_url=self.settings.fhir_base,
            lenient=lenient,
            compartment=compartment,
        )

    async def search(self, query: SearchQuery, permission: Permission) -> FoundPage:
        """One page of matches, inside the transaction that these services are bound to, if any."""
        store = self.store
        if store.session is None:
            return await self.searcher.search(query, permission)
        return await store.alone(lambda: self.searcher.search(query, permission, session=store.session))

    async def find(
        self, type: str, pairs: Sequence[tuple[str, str]], permission: Permission, *, limit: int = 2
    ) -> list[Version]:
        """At most `limit` current versions that match conditional criteria (never lenient)."""
        query = self.query(type, pairs)
        store = self.store
        return await store.alone(
            lambda: self.searcher.find(type, query, permission, limit=limit, session=store.session)
        )
