"""Rule: a stored value set or concept map that the agent may not see is not there for the operations either."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from pydantic import SecretStr

from fhirserver.app import Application, build
from fhirserver.context import Interaction, Kind, Permission
from fhirserver.operations import OPERATIONS
from fhirserver.outcome import NotFound
from fhirserver.search.expression import Equals
from fhirserver.settings import Settings
from tests.api.terminology.test_translate import a_concept_map
from tests.kit.teardown import ended
from tests.kit.terminology import a_code_system, a_value_set
from tests.kit.trace import permitted

pytestmark = pytest.mark.anyio

ALL = permitted("test")
TAGGED = Equals("_tag", ("open",))
RESTRICTED = permitted("test", restrictions={"ValueSet": TAGGED, "ConceptMap": TAGGED, "CodeSystem": TAGGED})
HIDDEN = {"ValueSet": "urn:vs:hidden", "ConceptMap": "urn:map:hidden", "CodeSystem": "urn:cs:hidden"}
OPEN = {type: url.replace("hidden", "open") for type, url in HIDDEN.items()}


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
async def application(mongodb_uri: str, database_name: str, anyio_backend: str) -> AsyncIterator[Application]:
    application = await build(Settings(mongodb_uri=SecretStr(mongodb_uri), database=database_name))
    yield application
    await ended(application.close())


async def store(application: Application) -> None:
    """A value set, concept map and code system with the tag, and the same without it."""
    for urls, meta in ((HIDDEN, {}), (OPEN, {"meta": {"tag": [{"code": "open"}]}})):
        for number, resource in enumerate(
            (
                a_value_set(urls["ValueSet"], {"system": urls["CodeSystem"]}),
                a_concept_map(urls["ConceptMap"]),
                a_code_system(urls["CodeSystem"]),
            )
        ):
            id = f"{'open' if meta else 'hidden'}-{number}"
            await application.services.store.create(
                resource["resourceType"], id, resource | meta, permission=ALL
            )


async def called(application: Application, permission: Permission, type: str, name: str, **query: str) -> str:
    """The first error code of an operation, or "" where it was answered."""
    interaction = Interaction(Kind.OPERATION, type=type, operation=name, query=tuple(query.items()))
    try:
        await OPERATIONS[name].handler(interaction, permission, application.services)
    except NotFound as error:
        return error.issues[0].code
    return ""


async def test_what_is_hidden_cannot_be_asked(application: Application) -> None:
    await store(application)
    calls = [
        ("ValueSet", "expand", {"url": "{}"}),
        ("ValueSet", "validate-code", {"url": "{}", "system": "urn:cs:open", "code": "cat"}),
        ("CodeSystem", "validate-code", {"url": "{}", "code": "cat"}),
        ("CodeSystem", "lookup", {"system": "{}", "code": "cat"}),
        ("CodeSystem", "subsumes", {"system": "{}", "codeA": "dog", "codeB": "cat"}),
        ("ConceptMap", "translate", {"url": "{}", "system": "urn:test:here", "code": "a"}),
    ]
    for type, name, query in calls:
        for urls, permission, expected in (
            (HIDDEN, RESTRICTED, "resource-unknown"),
            (OPEN, RESTRICTED, ""),
            (HIDDEN, ALL, ""),
        ):
            asked = {key: value.replace("{}", urls[type]) for key, value in query.items()}
            assert await called(application, permission, type, name, **asked) == expected, (name, asked)


async def test_a_translation_without_a_map_uses_the_visible_ones(application: Application) -> None:
    await store(application)
    interaction = Interaction(
        Kind.OPERATION,
        type="ConceptMap",
        operation="translate",
        query=(("system", "urn:test:here"), ("code", "a")),
    )
    sources = []
    for permission in (RESTRICTED, ALL):
        result = await OPERATIONS["translate"].handler(interaction, permission, application.services)
        assert result.resource is not None
        parts = [part for each in result.resource["parameter"] for part in each.get("part", ())]
        sources.append({part["valueUri"] for part in parts if part["name"] == "source"})
    assert sources == [{OPEN["ConceptMap"]}, {OPEN["ConceptMap"], HIDDEN["ConceptMap"]}]
