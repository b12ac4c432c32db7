"""How two codes of one system relate, and the codes above and below one. Source: codesystem-operation-subsumes.html."""

from __future__ import annotations

from fhirserver.outcome import IssueCode, TooCostly, Unprocessable
from fhirserver.terminology.filters import Filter
from fhirserver.terminology.systems import Branch, Selection, System


async def subsumption(system: System, first: str, second: str) -> str:
    """equivalent, subsumes (`first` is above `second`), subsumed-by or not-subsumed.

    Raises Unprocessable for a code that the system does not have.
    """
    found = await system.find([first, second])
    if first not in found or second not in found:
        raise Unprocessable(
            "One of the codes is not in the code system, so that they cannot be compared.",
            code="code-unknown",
            issue_code=IssueCode.CODE_INVALID,
        )
    one, other = found[first], found[second]
    if one.code == other.code:
        return "equivalent"
    if one.code in other.ancestors:
        return "subsumes"
    return "subsumed-by" if other.code in one.ancestors else "not-subsumed"


async def codes_above(system: System, code: str) -> list[str]:
    """`code` and all codes above it; empty where the system does not have it."""
    concept = (await system.find([code])).get(code)
    return [] if concept is None else [concept.code, *sorted(concept.ancestors)]


async def codes_below(system: System, code: str, most: int) -> list[str]:
    """`code` and all codes below it. Raises TooCostly beyond `most`."""
    selection = Selection((Branch(None, (Filter("concept", "is-a", code),)),))
    found = await system.select(selection, 0, most + 1)
    if len(found.concepts) > most:
        raise TooCostly(
            f"More than {most} codes are below this one; narrow it down.", code="hierarchy-too-large"
        )
    return [concept.code for concept in found.concepts]
