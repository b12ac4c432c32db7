"""The masks of roles: what is shown of a type to those who may not see it whole. Tables, and what becomes of them.

An entry names elements ("name", all of it but extensions), parts of them ("subject.reference"), or Identifiers of which
a part of the value is shown ("identifier:short"). `!name`: hidden, but it is said that there is one. Everything else is
left out. Source: docs/explanation/access.md
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from fhirserver.outcome import CANONICAL
from fhirserver.r4.definitions import Definitions, SearchParameter
from fhirserver.r4.elements import Elements
from fhirserver.r4.paths_resolve import Branch
from fhirserver.search.mask import ABSENT, Cut, Mask, Shape
from fhirserver.search.modifiers import field_of

PSEUDONYMOUS = "pseudonymous"  # opened in emergencies
_SHORT = ":short"
_ALWAYS = "meta.versionId meta.lastUpdated meta.security implicitRules language"
_VISIT = (
    "identifier status class type serviceType priority subject episodeOfCare.reference basedOn.reference "
    "appointment.reference participant period length location serviceProvider partOf.reference"
)
_ORDER = "status intent doNotPerform subject encounter.reference authoredOn occurrence"
_DONE = "status subject encounter.reference performedDateTime performedPeriod"

# mask -> type -> what is shown
TABLES: Mapping[str, Mapping[str, str]] = MappingProxyType(
    {
        "desk": {
            "Encounter": _VISIT,
            "Procedure": f"{_DONE} code performer",
            "ServiceRequest": f"{_ORDER} code performer",
        },
        "billing": {
            "Encounter": f"{_VISIT} account.reference hospitalization.preAdmissionIdentifier "
            "hospitalization.admitSource hospitalization.reAdmission hospitalization.dischargeDisposition",
        },
        "administrative": {
            "Patient": "identifier active name telecom gender birthDate deceased address managingOrganization link",
            "RelatedPerson": "identifier active patient relationship name telecom gender birthDate address period",
            "Encounter": _VISIT,
            "Procedure": f"{_DONE} identifier basedOn.reference partOf.reference category.coding code.coding performer location",
            "ServiceRequest": f"{_ORDER} identifier basedOn.reference requisition priority category.coding code.coding requester "
            "performerType performer locationReference insurance.reference",
        },
        PSEUDONYMOUS: {
            "Patient": "identifier:short active gender birthDate deceased managingOrganization.reference "
            "link.other.reference link.type !name !telecom !address",
            "RelatedPerson": "identifier:short active patient.reference relationship.coding gender period !name !telecom "
            "!address",
            "Appointment": "status cancelationReason.coding serviceCategory.coding serviceType.coding specialty.coding "
            "appointmentType.coding priority start end minutesDuration slot.reference created participant.type.coding "
            "participant.actor.reference participant.required participant.status participant.period",
            "Encounter": "status class type.coding serviceType.coding priority.coding "
            "subject.reference appointment.reference participant.type.coding participant.period "
            "participant.individual.reference period length location.location.reference location.status "
            "location.period serviceProvider.reference partOf.reference",
            "Procedure": "status category.coding code.coding subject.reference encounter.reference performedDateTime "
            "performedPeriod performer.function.coding performer.actor.reference",
            "ServiceRequest": "status intent doNotPerform priority category.coding code.coding subject.reference "
            "encounter.reference authoredOn occurrenceDateTime occurrencePeriod requester.reference "
            "performer.reference",
            "Coverage": "identifier:short status type.coding beneficiary.reference relationship.coding period "
            "payor.reference !subscriberId",
        },
    }
)  # fmt: skip
_ADDRESS_PARTS = (
    "additionalLocator", "buildingNumberSuffix", "careOf", "censusTract", "delimiter", "direction", "houseNumber",
    "houseNumberNumeric", "postBox", "precinct", "streetAddressLine", "streetName", "streetNameBase", "streetNameType",
    "unitID", "unitType",
)  # fmt: skip
_EXTENSIONS = frozenset(
    (
        ABSENT,
        f"{CANONICAL}/br/StructureDefinition/municipio-ibge",
        f"{CANONICAL}/br/StructureDefinition/motivo-sem-documento",
        *(f"http://hl7.org/fhir/StructureDefinition/iso21090-ADXP-{name}" for name in _ADDRESS_PARTS),
    )
)
# of an element that is shown in part, what its plain tokens and references are made of
_CORES = MappingProxyType({"CodeableConcept": "coding", "Reference": "reference"})
_DERIVED = ("~s", "~d", "~text", "~id", "~type")
_Tree = dict[str, Any]


def is_known(mask: str, type: str) -> bool:
    """True where there is a mask of that name for that type."""
    return type in TABLES.get(mask, {})


@dataclass(frozen=True, slots=True)
class MaskBook:
    """Makes Masks of the tables, over the elements and search parameters of this server; each once."""

    definitions: Definitions
    elements: Elements
    _made: dict[tuple[frozenset[str], str], Mask] = field(default_factory=dict)

    def mask(self, names: Iterable[str], type: str) -> Mask:
        """The mask that shows of `type` what any of the named masks shows."""
        key = (frozenset(names), type)
        if key not in self._made:
            tables = [TABLES[name][type] for name in sorted(key[0])]
            extensions = frozenset((ABSENT,)) if key[0] == {PSEUDONYMOUS} else _EXTENSIONS
            self._made[key] = self._make(type, " ".join((_ALWAYS, *tables)), extensions)
        return self._made[key]

    def nothing(self, type: str) -> Mask:
        """The mask that shows of a contained resource that it is there."""
        key = (frozenset[str](), type)
        if key not in self._made:
            self._made[key] = self._make(type, "", frozenset())
        return self._made[key]

    def _make(self, type: str, text: str, extensions: frozenset[str]) -> Mask:
        entries = text.split()
        tree = _tree(entry for entry in entries if not entry.startswith("!"))
        hinted = {entry[1:] for entry in entries if entry.startswith("!")} - tree.keys()
        shape = self._shape(type, tree, hinted)
        return Mask(shape, extensions, frozenset(self._fields(type, shape)))

    def _shape(self, path: str, tree: _Tree, hinted: Iterable[str] = ()) -> Shape:
        """The shape of the element at `path`. Raises KeyError for a table that names what R4 does not have."""
        kept: dict[str, Cut | Shape] = {}
        places: dict[str, bool] = {}
        unknown = set(tree)
        for element in self.elements.children(path):
            for name, code in element.json_names.items():
                part = tree.get(name, tree.get(element.name))
                unknown -= {name, element.name}
                if part is not None:
                    below = element.path or code
                    kept[name] = part if isinstance(part, Cut) else self._shape(below, part)
                partly = isinstance(part, dict) and element.name != "meta"
                if part is not Cut.WHOLE and (element.min > 0 or element.name in hinted or partly):
                    places[name] = self.elements.is_primitive(code)
        if unknown:
            raise KeyError(path, sorted(unknown))
        return Shape(MappingProxyType(kept), MappingProxyType(places))

    def _fields(self, type: str, shape: Shape) -> Iterator[str]:
        """The fields of the index that are made of nothing but what is shown."""
        shown: set[str] = set()
        known = self.definitions.search_parameters(type)
        for code, parameter in known.items():
            cuts = [_cut_of(branch, shape) for branch in _branches(parameter)]
            if cuts and None not in cuts and parameter.type not in ("composite", "special"):
                shown.add(code)
                yield field_of(code)
                if all(cut is Cut.WHOLE for cut in cuts):
                    yield from (field_of(code) + suffix for suffix in _DERIVED)
        for name in self.definitions.compartments:
            members = self.definitions.compartment(name).get(type, ())
            if shown.issuperset(code for code in members if code in known):
                yield f"~{name}"


def _tree(entries: Iterable[str]) -> _Tree:
    """The entries of tables as one tree. What several name is shown as far as any of them shows it."""
    tree: _Tree = {}
    for entry in entries:
        *front, last = entry.removesuffix(_SHORT).split(".")
        at: Any = tree
        for name in front:
            below = at.setdefault(name, {})
            if isinstance(below, Cut):
                break
            at = below
        else:
            cut = Cut.SHORTENED if entry.endswith(_SHORT) else Cut.WHOLE
            if at.get(last) is not Cut.WHOLE:
                at[last] = cut
    return tree


def _branches(parameter: SearchParameter) -> Iterator[Branch]:
    """The ways to the values of a parameter; those of a test, where a value is its outcome."""
    for branch in parameter.branches:
        inner = list(_tested(branch.steps[0])) if branch.steps and branch.steps[0][0] == "test" else []
        yield from inner or [branch]


def _tested(condition: Any) -> Iterator[Branch]:
    if isinstance(condition, Branch):
        yield condition
    elif isinstance(condition, tuple):
        for part in condition:
            yield from _tested(part)


def _cut_of(branch: Branch, shape: Shape) -> Cut | Shape | None:
    """How the values at the end of a branch are shown: whole, in the part that tokens are made of, or None."""
    at: Cut | Shape = shape
    for step in branch.steps:
        if not isinstance(step, str):
            if step[0] != "where":
                return None
        elif step in ("extension", "modifierExtension"):
            return None
        elif isinstance(at, Shape):
            below = Cut.WHOLE if step == "id" else at.kept.get(step)
            if below is None:
                return None
            at = below
        elif at is Cut.SHORTENED:
            return None
    if isinstance(at, Shape):
        return at if at.kept.get(_CORES.get(branch.type, "")) is Cut.WHOLE else None
    return at if at is Cut.WHOLE else None
