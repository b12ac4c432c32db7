"""What belongs to a patient, and what of it a patient's own token or app reaches.

Membership is R4's CompartmentDefinition, which the index keeps as `~Patient`: the references of exactly its parameters.
What is not named here is out of reach. Source: hl7.org/fhir/R4/compartmentdefinition-patient.html
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from types import MappingProxyType

from fhirserver.access.scopes import ALL, Scope
from fhirserver.r4.definitions import Definitions
from fhirserver.search.expression import EVERYTHING, Equals, Expression, Ids, Missing, Only, Or, either

MEMBER = "~Patient"  # the field of the index with the patients in whose compartment a resource is
DIRECTORY = (
    "Practitioner", "PractitionerRole", "Organization", "OrganizationAffiliation", "Location", "HealthcareService",
    "Endpoint",
)  # fmt: skip
KNOWLEDGE = (
    "Medication", "MedicationKnowledge", "Substance", "Questionnaire", "InsurancePlan", "PlanDefinition",
    "ActivityDefinition", "ObservationDefinition", "SpecimenDefinition",
)  # fmt: skip
DEFINITIONAL = (
    "CapabilityStatement", "CodeSystem", "CompartmentDefinition", "ConceptMap", "GraphDefinition",
    "ImplementationGuide", "Library", "Measure", "MessageDefinition", "NamingSystem", "OperationDefinition",
    "SearchParameter", "StructureDefinition", "StructureMap", "TerminologyCapabilities", "TestScript", "ValueSet",
)  # fmt: skip
SHARED = frozenset((*DIRECTORY, *KNOWLEDGE, *DEFINITIONAL, "Slot"))
BEHIND = "Binary"  # reached through its securityContext only
_LISTS_OTHERS = frozenset(("Group", "Person"))  # name other patients beside the one
_READ = frozenset("rs")
_LETTERS = MappingProxyType(
    {
        "Patient": frozenset("rsu"),
        "Schedule": _READ,
        "Device": _READ,
        "AuditEvent": _READ,
        "Provenance": _READ,
        "Consent": frozenset("crus"),
        BEHIND: frozenset("r"),
    }
)
KEPT = frozenset(("link", "identifier", "active"))  # of a Patient, when the patient or an app for it writes


@dataclass(frozen=True, slots=True)
class Compartments:
    """The rows of patients. `key`: the index's entry for (type, id)."""

    definitions: Definitions
    key: Callable[[str, str], str]

    def is_member(self, type: str) -> bool:
        """True for a type whose resources can be in a patient's compartment, the Patient itself included."""
        return type == "Patient" or bool(self.definitions.compartment("Patient").get(type))

    def letters(self, type: str) -> frozenset[str]:
        """What can be done at most with `type` inside of patients' compartments."""
        if type in SHARED:
            return _READ
        if type in _LETTERS:
            return _LETTERS[type]
        if type in _LISTS_OTHERS or not self.is_member(type):
            return frozenset()
        return frozenset("cruds")

    def rows(self, type: str, letter: str, patients: Collection[str]) -> Expression | None:
        """The resources of `type` that the patients (ids) themselves, or apps for them, reach with `letter`.

        What they write may belong to no one else. None where nothing is reached.
        """
        if letter not in self.letters(type) or not patients:
            return None
        if type in SHARED:
            return EVERYTHING
        found = self.linked(type, patients)
        if letter in _READ or type in ("Patient", BEHIND) or not isinstance(found, Equals):
            return found
        return either(tuple(Only(MEMBER, key) for key in found.values))

    def linked(self, type: str, patients: Collection[str]) -> Expression | None:
        """The resources of `type` that belong to `patients` (ids) among others; None where none ever can."""
        ids = tuple(sorted(patients))
        keys = tuple(self.key("Patient", id) for id in ids)
        if type == BEHIND:
            return EVERYTHING
        if type in _LISTS_OTHERS:
            return None
        if type == "Patient":
            return Ids(ids)
        if type == "Schedule":
            return Or((Missing(MEMBER), Equals(MEMBER, keys)))
        if type == "Device":
            return Or((Missing("patient"), Equals("patient", keys)))
        return Equals(MEMBER, keys) if self.is_member(type) else None

    def within_patient_level(self, scope: Scope) -> Scope | None:
        """What is left of a patient/ scope: the authorization server grants no more. None where nothing."""
        if scope.level != "patient" or scope.type == ALL:
            return scope
        letters = "".join(letter for letter in scope.letters if letter in self.letters(scope.type))
        if not letters:
            return None
        return (
            scope if letters == scope.letters else Scope(scope.level, scope.type, letters, scope.constraint)
        )
