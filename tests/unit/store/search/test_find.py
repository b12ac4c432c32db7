"""The matches of conditional criteria, also inside a transaction; limits of time."""

from __future__ import annotations

from typing import Any

import pytest

from fhirserver.context import Permission
from fhirserver.outcome import TooCostly
from fhirserver.search.expression import Equals
from fhirserver.store import resolve
from tests.kit.corpus import ALL, Corpus
from tests.kit.trace import permitted


@pytest.fixture(scope="module")
def corpus(make_corpus: Any) -> Corpus:
    made: Corpus = make_corpus(
        *({"resourceType": "Patient", "id": f"p{n}", "identifier": [{"system": "s", "value": str(n % 3)}]} for n in range(9)),
        {"resourceType": "Observation", "id": "o", "status": "final", "code": {"text": "x"},
         "subject": {"reference": "Patient/p4"}},
    )  # fmt: skip
    return made


def find(corpus: Corpus, url: str, limit: int = 2, permission: Permission = ALL, session: Any = None) -> Any:
    return corpus.searcher().find("Patient", corpus.query(url), permission, limit=limit, session=session)


def test_at_most_the_limit_is_found(corpus: Corpus) -> None:
    assert len(corpus.run(find(corpus, "Patient?identifier=s|1"))) == 2
    assert len(corpus.run(find(corpus, "Patient?identifier=s|1", limit=10))) == 3
    assert corpus.run(find(corpus, "Patient?identifier=s|7")) == []
    (found,) = corpus.run(find(corpus, "Patient?_has:Observation:patient:status=final"))
    assert (found.type, found.id, found.vid) == ("Patient", "p4", 1)
    assert found.raw is not None


def test_what_the_agent_may_not_see_is_no_match(corpus: Corpus) -> None:
    nobody = permitted("x", restrictions={"Patient": Equals("identifier", ("s|0",))})
    assert corpus.run(find(corpus, "Patient?identifier=s|1", permission=nobody)) == []
    assert corpus.run(find(corpus, "Patient", permission=permitted("x", denied=frozenset(["Patient"])))) == []


@pytest.mark.parametrize("keys", [2000, 0])
def test_a_transaction_sees_its_own_writes(
    corpus: Corpus, keys: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resolve, "MOST_KEYS", keys)

    async def work() -> tuple[list[str], list[str], int]:
        async with corpus.client.start_session() as session, await session.start_transaction():
            document = await corpus.database["Patient"].find_one(
                {"_id": "default/Patient/p8"}, session=session
            )
            document |= {"_id": "default/Patient/new", "ix": {"identifier": ["s|new"]}}
            await corpus.database["Patient"].insert_one(document, session=session)
            chained = "Patient?_has:Observation:patient:status=final"
            inside = [v.id for v in await find(corpus, "Patient?identifier=s|new", session=session)]
            inside += [v.id for v in await find(corpus, chained, session=session)]
            page = await corpus.searcher().search(
                corpus.query(f"{chained}&_revinclude=*"), ALL, session=session
            )
            outside = [v.id for v in await find(corpus, "Patient?identifier=s|new")]
            await session.abort_transaction()
            return inside, outside, len(page.included)

    assert corpus.run(work()) == (["new", "p4"], [], 1)


def test_a_search_that_takes_too_long_is_refused(corpus: Corpus) -> None:
    command = {"configureFailPoint": "maxTimeAlwaysTimeOut"}
    corpus.run(corpus.client.admin.command({**command, "mode": "alwaysOn"}))
    try:
        with pytest.raises(TooCostly):
            corpus.find("Patient?identifier=s|1")
    finally:
        corpus.run(corpus.client.admin.command({**command, "mode": "off"}))
