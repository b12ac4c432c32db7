"""Which version of a code system an operation uses."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from fhirserver.outcome import Unprocessable
from fhirserver.terminology.canonical import split_canonical


@dataclass(frozen=True, slots=True)
class Versions:
    """Which version of a system to use: `forced` over what the value set says, `default` where it says nothing.

    `checked`: a value set that says another one is refused. Each maps a system's url to a version.
    """

    default: Mapping[str, str] = field(default_factory=dict)
    checked: Mapping[str, str] = field(default_factory=dict)
    forced: Mapping[str, str] = field(default_factory=dict)

    def of(self, system: str, version: str | None) -> str | None:
        """The version to use where a value set says `version`. Raises Unprocessable."""
        checked = self.checked.get(system)
        if checked is not None and version not in (None, checked):
            raise Unprocessable(
                "The value set names another version of a code system than check-system-version allows.",
                code="system-version-mismatch",
            )
        return self.forced.get(system) or version or checked or self.default.get(system)


def canonical_pairs(texts: Iterable[str]) -> dict[str, str]:
    """`url|version` texts as url -> version. Raises Unprocessable for one without a version."""
    pairs = {}
    for text in texts:
        url, version = split_canonical(text)
        if version is None:
            raise Unprocessable(
                "A code system is named with its version, as url|version.", code="version-missing"
            )
        pairs[url] = version
    return pairs
