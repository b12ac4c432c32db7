"""What decides who may do what: roles, issuers, tokens, break-glass, and the gate over them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from fhirserver.access.breakglass import BreakGlass
from fhirserver.access.compartments import Compartments
from fhirserver.access.gate import Gate
from fhirserver.access.issuers import Issuers
from fhirserver.access.masks import MaskBook
from fhirserver.access.plan import Planner
from fhirserver.access.roles import Roles
from fhirserver.access.situation import Situations
from fhirserver.access.tokens import TokenCheck
from fhirserver.access.vocabulary import DefinedVocabulary
from fhirserver.audit.worker import AuditWorker
from fhirserver.r4.definitions import Definitions
from fhirserver.r4.elements import Elements
from fhirserver.search.types.reference import Site
from fhirserver.settings import Settings
from fhirserver.store import CannotStart
from fhirserver.store.emergencies import Emergencies
from fhirserver.store.home import Database
from fhirserver.store.relations import Relations
from fhirserver.store.tokens import Tokens


@dataclass(frozen=True, slots=True)
class Access:
    """The parts of access control that outlive a change of the definitions."""

    settings: Settings
    tokens: TokenCheck
    issuers: Issuers
    roles: Roles
    break_glass: BreakGlass

    @classmethod
    def over(cls, settings: Settings, core: Definitions, database: Database, audit: AuditWorker) -> Self:
        """The parts by the settings. Raises CannotStart where a role or an issuer is written wrong."""
        vocabulary = DefinedVocabulary(core)
        try:
            roles = Roles(vocabulary, settings.roles)
            issuers = Issuers(
                settings.issuers, vocabulary, settings.fhir_base, insecure=settings.insecure_jwks
            )
        except ValueError as problem:
            raise CannotStart(f"A setting is wrong: {problem}") from problem
        emergencies = Emergencies(database, settings.tenant)
        situations = Situations.over(
            Relations(database, settings.tenant),
            emergencies,
            roles,
            (settings.link_past_months, settings.link_future_months),
        )
        break_glass = BreakGlass(emergencies, situations, audit.security.record)
        tokens = TokenCheck(Tokens(database, settings.tenant), vocabulary, settings.fhir_base)
        return cls(settings, tokens, issuers, roles, break_glass)

    def gate(self, definitions: Definitions, elements: Elements) -> Gate:
        """What lets requests in, over `definitions`. `elements`: of which masks are made."""
        settings = self.settings
        site = Site(settings.tenant, settings.fhir_base, frozenset(definitions.resource_types))
        planner = Planner(
            definitions,
            self.roles,
            Compartments(definitions, site.key),
            site,
            settings.limits,
            MaskBook(definitions, elements),
            by_organization=settings.by_organization,
        )
        return Gate(
            self.tokens,
            self.issuers,
            self.break_glass.situations,
            planner,
            self.break_glass,
            settings.open_mode,
        )
