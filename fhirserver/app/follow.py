"""Definitions that change while the server runs: the clinic's search parameters, profiles, terminology, apps."""

from __future__ import annotations

import asyncio
import logging

from fhirserver.app.api import Front, fhir_api
from fhirserver.app.foundation import Foundation
from fhirserver.outcome import OutcomeError
from fhirserver.r4.definitions import Definitions
from fhirserver.store.packages import own_profiles, profiles_stamp
from fhirserver.store.parameters import OwnParameters, own_parameters

FOLLOW_SECONDS = 2.0
_LOG = logging.getLogger("fhirserver.app")


def with_own(core: Definitions, own: OwnParameters) -> Definitions:
    """R4's definitions and the clinic's own parameters; one that cannot be used is left out and logged."""
    definitions = core
    for resource in own.resources:
        try:
            definitions = definitions.with_parameters([resource], pending=own.pending)
        except OutcomeError as error:
            _LOG.warning("search parameter left out", extra={"code": error.issues[0].code})
    return definitions


async def follow(base: Foundation, front: Front, own: OwnParameters, stamp: object) -> None:
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
            await follow_origins(base)
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
            front.fhir = fhir_api(base, base.services(with_own(base.core, own), validator))
            await retired.close()


async def follow_origins(base: Foundation) -> None:
    """Take up the origins of registered apps."""
    base.origins = await asyncio.to_thread(base.oauth.clients.origins)
