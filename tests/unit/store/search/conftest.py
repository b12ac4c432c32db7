from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.kit.corpus import Corpus


@pytest.fixture(scope="module")
def make_corpus(mongodb_uri: str) -> Iterator[Callable[..., Corpus]]:
    """Databases of indexed resources, dropped at the end of the module."""
    made: list[Corpus] = []

    def make(*resources: dict[str, Any]) -> Corpus:
        corpus = Corpus(mongodb_uri)
        made.append(corpus)
        corpus.add(*resources)
        return corpus

    yield make
    for corpus in made:
        corpus.close()
