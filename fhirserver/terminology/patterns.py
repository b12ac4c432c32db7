"""Regular expressions that come from a client, bounded before they run.

Only what cannot blow up is taken: literals, classes, groups, alternatives, and repetition that is not inside
another repetition. Source: hl7.org/fhir/R4/valueset-filter-operator.html (regex).
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any

from fhirserver.outcome import NotSupported

LONGEST = 200
_MOST_REPEATS = 3  # of those without bound: the work grows with that power of the text's length
_MOST_OPTIONS = 8  # of all that may take more or less: the work doubles with each
_MOST_TIMES = 1000

_PARSER: Any = re._parser
_REPEATS = ("MAX_REPEAT", "MIN_REPEAT")
_PLAIN = ("LITERAL", "NOT_LITERAL", "ANY", "IN", "AT", "CATEGORY", "RANGE")


@lru_cache(maxsize=256)
def safe_pattern(text: str) -> re.Pattern[str]:
    """The compiled pattern. Raises NotSupported (regex-not-supported) for what is malformed or could be slow."""
    if len(text) > LONGEST:
        raise _refused(f"it is longer than {LONGEST} characters")
    try:
        tree = _PARSER.parse(text)
        compiled = re.compile(text)
    except (re.error, OverflowError, RecursionError):
        raise _refused("it is malformed") from None
    repeats: list[int] = []
    _walk(tree, inside=False, repeats=repeats)
    if len(repeats) > _MOST_OPTIONS or sum(high > _MOST_TIMES for high in repeats) > _MOST_REPEATS:
        raise _refused("it repeats or leaves open too much")
    return compiled


def _walk(items: Any, *, inside: bool, repeats: list[int]) -> None:
    for operation, argument in items:
        name = str(operation)
        if name in _REPEATS:
            low, high, part = argument
            if (inside and low != high) or _MOST_TIMES < high != _PARSER.MAXREPEAT:
                raise _refused("it repeats a repetition")
            repeats += [] if low == high else [int(high)]
            _walk(part, inside=inside or high > 1, repeats=repeats)
        elif name == "SUBPATTERN":
            _walk(argument[-1], inside=inside, repeats=repeats)
        elif name == "BRANCH":
            if inside:
                raise _refused("it repeats alternatives")
            for branch in argument[1]:
                _walk(branch, inside=inside, repeats=repeats)
        elif name not in _PLAIN:
            raise _refused("it uses a construct beyond groups, classes, alternatives and repetition")


def _refused(why: str) -> NotSupported:
    return NotSupported(
        f"The regular expression of a filter cannot be used: {why}.", code="regex-not-supported"
    )
