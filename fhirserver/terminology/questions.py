"""The questions of search (see search/terms.py), answered by Terminology."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from fhirserver.outcome import BadRequest, IssueCode
from fhirserver.terminology.expand import Options, expand
from fhirserver.terminology.service import Terminology
from fhirserver.terminology.subsume import codes_above, codes_below
from fhirserver.terminology.systems import System


@dataclass(frozen=True, slots=True)
class Questions:
    """`base`: FHIR base URL, whose ValueSet/id may be named too. `most`: bound on the codes of an answer."""

    terminology: Terminology
    base: str
    most: int

    async def members(self, value_set: str) -> Sequence[tuple[str, str]]:
        """All (system, code) of a value set. Raises BadRequest where it is unknown, TooCostly."""
        name = value_set.removeprefix(f"{self.base}/")
        if name.startswith("ValueSet/"):
            found = await self.terminology.value_set_at(name.removeprefix("ValueSet/"))
        else:
            found = await self.terminology.value_set(name)
        if found is None:
            raise BadRequest(
                "The value set of :in or :not-in is unknown here; name it by its canonical url or as ValueSet/id.",
                code="value-set-unknown",
                issue_code=IssueCode.NOT_FOUND,
            )
        expansion = await expand(self.terminology, found, Options(most=self.most))
        return [(entry.system, entry.concept.code) for entry in expansion.entries]

    async def above(self, system: str, code: str) -> Sequence[str]:
        """`code` and the codes above it. Raises BadRequest where the code system is unknown."""
        return await codes_above(await self._system(system), code)

    async def below(self, system: str, code: str) -> Sequence[str]:
        """`code` and the codes below it. Raises BadRequest where the code system is unknown, TooCostly."""
        return await codes_below(await self._system(system), code, self.most)

    async def _system(self, url: str) -> System:
        found = await self.terminology.system(url)
        if found is None or found.info.content == "not-present":
            raise BadRequest(
                "The server does not have the content of the code system of :above or :below.",
                code="code-system-unknown",
                issue_code=IssueCode.NOT_FOUND,
            )
        return found
