"""The parts of the authorization server, put together for the server and for the command line."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fhirserver.access.compartments import Compartments
from fhirserver.access.oauth.jwks import JwksCache
from fhirserver.access.oauth.keys import SigningKeys
from fhirserver.access.oauth.parts import Parts
from fhirserver.access.roles import Roles
from fhirserver.access.vocabulary import DefinedVocabulary
from fhirserver.search.types.reference import Site

if TYPE_CHECKING:
    from fhirserver.r4.definitions import Definitions
    from fhirserver.settings import Settings
    from fhirserver.store.oauth import OAuthStore


def assemble(settings: Settings, definitions: Definitions, store: OAuthStore) -> Parts:
    """The parts over `store`."""
    vocabulary = DefinedVocabulary(definitions)
    site = Site(settings.tenant, settings.fhir_base, frozenset(definitions.resource_types))
    return Parts(
        settings.oauth,
        settings.root_url,
        settings.fhir_base,
        store,
        SigningKeys(store.keys),
        JwksCache(),
        vocabulary,
        Roles(vocabulary, settings.roles),
        Compartments(definitions, site.key),
    )
