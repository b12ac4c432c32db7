"""What roles may do at most: data, which settings may replace role by role.

A role names types and letters in the notation of scopes, in four kinds of rows: `all` resources, those `linked` (of
patients that a practitioner has to do with), one's `own` (in one's Practitioner compartment), and those of the
`patients` that a patient or related person acts for. Where specifications differ the stricter holds
(docs/decisions/0021). Nobody deletes. Of some types a role sees a part only: its masks (docs/decisions/0025).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal, TypeAlias

from fhirserver.access.compartments import DEFINITIONAL, DIRECTORY, KNOWLEDGE
from fhirserver.access.masks import PSEUDONYMOUS, is_known
from fhirserver.access.scopes import ALL, Scope, Vocabulary, parse, united
from fhirserver.settings import RoleSettings

Rows: TypeAlias = Literal["all", "linked", "own", "patients"]
ROWS: tuple[Rows, ...] = ("all", "linked", "own", "patients")
ANY_LABEL = "*"


def _each(letters: str, *types: str) -> str:
    return " ".join(f"{type}.{letters}" for type in types)


_REFERENCE = _each("rs", *DIRECTORY, *KNOWLEDGE, *DEFINITIONAL)
_CLINICAL = (
    "AdverseEvent", "AllergyIntolerance", "BodyStructure", "CarePlan", "CareTeam", "ClinicalImpression", "Composition",
    "Condition", "DetectedIssue", "DeviceRequest", "DeviceUseStatement", "DiagnosticReport", "DocumentManifest",
    "DocumentReference", "Encounter", "EpisodeOfCare", "FamilyMemberHistory", "Flag", "Goal", "ImagingStudy",
    "Immunization", "ImmunizationEvaluation", "ImmunizationRecommendation", "List", "Media",
    "MedicationAdministration", "MedicationDispense", "MedicationRequest", "MedicationStatement", "MolecularSequence",
    "NutritionOrder", "Observation", "Procedure", "QuestionnaireResponse", "RequestGroup", "RiskAssessment",
    "ServiceRequest", "Specimen", "VisionPrescription",
)  # fmt: skip
_OF_PATIENTS = (
    "Account", "Appointment", "AppointmentResponse", "Basic", "ChargeItem", "Claim", "ClaimResponse", "Communication",
    "CommunicationRequest", "Consent", "Coverage", "CoverageEligibilityRequest", "CoverageEligibilityResponse",
    "EnrollmentRequest", "ExplanationOfBenefit", "Invoice", "Patient", "Provenance", "RelatedPerson",
    "ResearchSubject", "Schedule", "SupplyDelivery", "SupplyRequest", "Device",
)  # fmt: skip
_MANAGED = ("Patient", "RelatedPerson", "Encounter", "Procedure", "ServiceRequest")

DEFAULT: Mapping[str, RoleSettings] = MappingProxyType(
    {
        "practitioner": RoleSettings(
            all=f"{_REFERENCE} {_each('rs', 'Schedule', 'Slot')}",
            linked=f"{_each('crus', *_CLINICAL)} Binary.cru Device.rs Claim.rs "
            f"{_each('rus', 'Patient', 'RelatedPerson', 'Appointment', 'AppointmentResponse')}",
            own="Schedule.u",
            clearance=["R"],
        ),
        "reception": RoleSettings(
            all=f"{_REFERENCE} {_each('crus', 'Patient', 'Coverage', 'Appointment')} "
            f"{_each('rs', 'Schedule', 'Slot')} Encounter.crs",
            masks={"Encounter": "desk"},
        ),
        "billing": RoleSettings(
            all=f"{_REFERENCE} {_each('crus', 'Claim', 'ClaimResponse', 'Invoice')} Coverage.rus "
            f"{_each('rs', 'Patient', 'Encounter')}",
            masks={"Patient": "administrative", "Encounter": "billing"},
        ),
        "manager": RoleSettings(
            all=f"{_each('crus', *DIRECTORY)} {_each('rs', *KNOWLEDGE, *DEFINITIONAL)} "
            f"{_each('crus', 'Schedule', 'Slot')} MeasureReport.rs "
            + _each(
                "rs", "Appointment", "AppointmentResponse", "Coverage", "CoverageEligibilityRequest",
                "CoverageEligibilityResponse", "Claim", "ClaimResponse", "Invoice", "PaymentReconciliation",
                "Communication", "Consent", *_MANAGED,
            ),
            masks=dict.fromkeys(_MANAGED, "administrative"),
            figures="AuditEvent.s",
        ),
        "auditor": RoleSettings(all="AuditEvent.rs Provenance.rs"),
        "custodian": RoleSettings(figures="AuditEvent.s"),
        "admin": RoleSettings(all=f"{_each('crus', *DIRECTORY, *KNOWLEDGE, *DEFINITIONAL)}"),
        "patient": RoleSettings(
            patients=f"{_REFERENCE} {_each('rs', *_CLINICAL, *_OF_PATIENTS)} Slot.rs?status=free Appointment.cu "
            "AuditEvent.rs Binary.r",
            clearance=[ANY_LABEL],
        ),
    }
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Role:
    """A role. `grants`: what it may do with each kind of rows. `clearance`: labels it may see, or ANY_LABEL.

    `by_type`: (letter, type) -> the rows and the grant. `masks`: type -> the mask under which it sees all of that type.
    `figures`: what it may be granted for the sake of operations that give it figures; it opens no resource.
    """

    grants: Mapping[Rows, tuple[Scope, ...]]
    clearance: frozenset[str]
    by_type: Mapping[tuple[str, str], tuple[tuple[Rows, Scope], ...]]
    masks: Mapping[str, str]
    figures: tuple[Scope, ...] = ()

    @property
    def is_pseudonymous(self) -> bool:
        """True where the role sees people under pseudonyms, which an emergency lifts."""
        return PSEUDONYMOUS in self.masks.values()


class Roles:
    """The roles of this server, by the code that users carry."""

    def __init__(self, vocabulary: Vocabulary, settings: Mapping[str, RoleSettings]) -> None:
        """Raises ValueError naming the role whose setting is not understood."""
        self._roles = {
            name: _role(name, setting, vocabulary) for name, setting in {**DEFAULT, **settings}.items()
        }

    def __getitem__(self, name: str) -> Role:
        """The role of that code. Raises KeyError."""
        return self._roles[name]

    def known(self, names: Iterable[str]) -> tuple[Role, ...]:
        """The roles of those codes; unknown ones give nothing."""
        return tuple(self._roles[name] for name in sorted(names) if name in self._roles)

    def ceiling(self, names: Iterable[str]) -> tuple[Scope, ...]:
        """The widest scopes, of the levels user and patient, that a user with these roles can be granted."""
        roles = self.known(names)
        scopes = [s for role in roles for rows in ROWS for s in role.grants[rows]]
        found = [
            Scope(level, s.type, s.letters, s.constraint) for level in ("user", "patient") for s in scopes
        ]
        found += [figure for role in roles for figure in role.figures]
        if any(role.grants["linked"] or role.grants["patients"] for role in roles):
            found.append(
                Scope("patient", ALL, "rs")
            )  # for short: what is read is narrowed to the role's types again
        return united(found)

    def service_ceiling(self, name: str) -> tuple[Scope, ...]:
        """The widest `system/` scopes of a backend service whose policy is this role."""
        return united(
            Scope("system", s.type, s.letters, s.constraint)
            for role in self.known((name,))
            for s in role.grants["all"]
        )


def _role(name: str, setting: RoleSettings, vocabulary: Vocabulary) -> Role:
    if not all(is_known(mask, type) for type, mask in setting.masks.items()):
        raise ValueError(f"roles.{name}.masks")
    grants: dict[Rows, tuple[Scope, ...]] = {}
    for rows in ROWS:
        grants[rows] = _scopes(getattr(setting, rows), f"roles.{name}.{rows}", vocabulary)
    figures = _scopes(setting.figures, f"roles.{name}.figures", vocabulary)
    by_type: dict[tuple[str, str], list[tuple[Rows, Scope]]] = {}
    for rows in ROWS:
        for scope in grants[rows]:
            for letter in scope.letters:
                by_type.setdefault((letter, scope.type), []).append((rows, scope))
    fixed = MappingProxyType({key: tuple(each) for key, each in by_type.items()})
    masks = MappingProxyType(dict(setting.masks))
    return Role(MappingProxyType(grants), frozenset(setting.clearance), fixed, masks, figures)


def _scopes(text: str, name: str, vocabulary: Vocabulary) -> tuple[Scope, ...]:
    """Types and letters of the setting `name` as scopes of a user. Raises ValueError."""
    # parsed in pieces: a role may name more types than a token may hold scopes
    found = [parse(f"user/{token}", vocabulary) for token in text.split()]
    if any(each.dropped for each in found) or any(s.type == ALL for each in found for s in each.resources):
        raise ValueError(name)
    return united(scope for each in found for scope in each.resources)
