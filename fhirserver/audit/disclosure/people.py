"""What tells that two resources are of one person, or of people who live together. Pure.

Only the answer leaves this module: no address and no identifier is kept. Source: docs/how-to/audit-alerts.md.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from fhirserver.r4.identifiers import canonical
from fhirserver.search.fold import fold

Resource = Mapping[str, Any]
_PERSONAL = frozenset(("cpf", "cns"))
_NOT_HOME = frozenset(("work", "old", "billing"))
_WORD = re.compile(r"[a-z0-9]+")
_SHORT = {
    "r": "rua", "av": "avenida", "aven": "avenida", "al": "alameda", "pc": "praca", "pca": "praca", "tv": "travessa",
    "trav": "travessa", "rod": "rodovia", "estr": "estrada", "ap": "apartamento", "apt": "apartamento",
    "apto": "apartamento", "bl": "bloco", "cj": "conjunto", "conj": "conjunto", "ave": "avenida",
    "dr": "doutor", "prof": "professor", "cel": "coronel", "sta": "santa", "sto": "santo",
}  # fmt: skip
_EMPTY = frozenset(
    ("n", "no", "nr", "num", "numero", "de", "da", "do", "das", "dos", "e", "the", "of", "cep")
)


def homes(resource: Resource) -> frozenset[str]:
    """The canonical forms of the addresses at which a person lives; those that are too vague to compare are left out.

    Two are the same where the words of their lines are, whatever their order, case, accents and usual abbreviations, and
    the postal code is (the city, where there is none). A line without a number names no home.
    """
    found = set()
    for address in resource.get("address") or ():
        if (
            address.get("use") in _NOT_HOME
            or address.get("type") == "postal"
            or "end" in address.get("period", {})
        ):
            continue
        words = sorted(_words(address.get("line") or [address.get("text", "")]))
        code = "".join(_WORD.findall(fold(address.get("postalCode", ""))))
        place = code or " ".join(_words([address.get("city", "")]))
        if place and any(word[0].isdigit() for word in words):
            found.add(f"{place}|{' '.join(words)}")
    return frozenset(found)


def _words(lines: Iterable[str]) -> list[str]:
    words = _WORD.findall(fold(" ".join(lines)))
    return [_SHORT.get(word, word) for word in words if word not in _EMPTY]


def identities(resource: Resource) -> frozenset[tuple[str, str]]:
    """The identifiers of a resource that belong to a person (CPF, CNS), in canonical form."""
    found = set()
    for identifier in resource.get("identifier") or ():
        pair = canonical(identifier.get("system", ""), identifier.get("value", ""))
        if (
            pair is not None
            and pair[1]
            and pair[0].rpartition("/")[2] in _PERSONAL
            and identifier.get("use") != "old"
        ):
            found.add(pair)
    return frozenset(found)


def linked(person: Resource) -> frozenset[str]:
    """The references that a Person says to be of one human."""
    targets = (link.get("target", {}).get("reference", "") for link in person.get("link") or ())
    return frozenset(target.partition("/_history/")[0] for target in targets if target)


def meeting(user: Iterable[Resource], own: frozenset[str], patient: Resource) -> str:
    """The rule that a member of staff and a patient meet: own-record, same-address, or none ("").

    `user`: the resources of the member of staff. `own`: references of records that are known to be theirs.
    """
    user = list(user)
    if f"Patient/{patient.get('id')}" in own or any(identities(one) & identities(patient) for one in user):
        return "own-record"
    at_home = homes(patient)
    return "same-address" if any(homes(one) & at_home for one in user) else ""
