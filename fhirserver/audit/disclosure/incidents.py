"""The incident helper: who was affected, by what, and by when it must be told. Pure.

Source: LGPD art. 48; Resolução CD/ANPD 15/2024 (notice within 3 business days from knowledge, completed within 20
business days, a register of every incident kept for 5 years also where nobody is told).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime

from fhirserver.audit.disclosure.calendar import after_business_days
from fhirserver.audit.disclosure.facts import Fact
from fhirserver.audit.disclosure.reports import Known
from fhirserver.audit.disclosure.tables import Cell, Table

NOTICE_DAYS, COMPLEMENT_DAYS, REGISTER_YEARS = 3, 20, 5
_FINANCIAL = frozenset(
    {"Account", "Claim", "ClaimResponse", "Coverage", "ExplanationOfBenefit", "Invoice", "PaymentNotice"}
)
_PERSONAL = frozenset(
    {"Patient", "Person", "RelatedPerson", "Appointment", "Schedule", "Slot", "Communication"}
)
_WORDS: Mapping[str, tuple[str, str]] = {
    "summary": ("Resumo", "Summary"),
    "subjects": ("Titulares afetados", "Affected subjects"),
    "timeline": ("Linha do tempo", "Timeline"),
    "deadlines": ("Prazos", "Deadlines"),
    "anpd": ("Minuta da comunicação à ANPD", "Draft of the notice to the ANPD"),
    "holders": ("Minuta da comunicação aos titulares", "Draft of the notice to the subjects"),
    "known": ("Conhecimento do incidente", "Incident known"),
    "notice": ("Comunicação à ANPD e aos titulares até", "Notice to the ANPD and the subjects by"),
    "complement": ("Informações complementares até", "Further information by"),
    "register": ("Registro do incidente guardado até", "Register kept until"),
    "accesses": ("Acessos no período", "Accesses in the period"),
    "refused": ("Tentativas recusadas", "Refused attempts"),
    "affected": ("Titulares afetados", "Affected subjects"),
    "minors": ("Crianças e adolescentes", "Children and adolescents"),
    "sensitive": ("Com dados de saúde (sensíveis)", "With health data (sensitive)"),
    "financial": ("Com dados financeiros", "With financial data"),
    "unknown-kind": ("Com tipo de dados desconhecido", "With an unknown kind of data"),
}


@dataclass(frozen=True, slots=True)
class Subject:
    """A person in the contact list. `minor`: under 18 when it happened, None where no birth date is known."""

    name: str
    contact: str = ""
    minor: bool | None = None


@dataclass(frozen=True, slots=True)
class Incident:
    """What the incident is about. `known`: when the controller came to know of it, in the clinic's timezone."""

    known: datetime
    description: str
    measures: str
    holidays: Collection[date] = ()

    @property
    def notice_by(self) -> date:
        """The last day for the notice to the ANPD and to the subjects."""
        return after_business_days(self.known.date(), NOTICE_DAYS, self.holidays)

    @property
    def complement_by(self) -> date:
        """The last day for what was not known yet."""
        return after_business_days(self.known.date(), COMPLEMENT_DAYS, self.holidays)

    @property
    def register_until(self) -> date:
        """Until when the register of the incident is kept at least."""
        day = self.known.date()
        leap = day.month == 2 and day.day == 29
        return day.replace(year=day.year + REGISTER_YEARS, day=28 if leap else day.day)


def incident_report(
    facts: Sequence[Fact], incident: Incident, subjects: Mapping[str, Subject], known: Known, language: str
) -> list[Table]:
    """The parts of the report: figures, deadlines, subjects, timeline, drafts.

    `subjects`: of the references of the patients. An access that was refused affects nobody.
    """
    by_patient: dict[str, list[Fact]] = defaultdict(list)
    for fact in facts:
        if fact.patient and not fact.failed:
            by_patient[fact.patient].append(fact)
    kinds = {patient: _kinds(mine) for patient, mine in by_patient.items()}
    figures = _figures(facts, kinds, subjects)
    rows = tuple(
        (
            subjects.get(patient, Subject(patient)).name,
            subjects.get(patient, Subject(patient)).contact,
            len(mine), tuple(sorted({type for fact in mine for type in fact.types})), mine[0].at, mine[-1].at,
        )
        for patient, mine in sorted(by_patient.items())
    )  # fmt: skip
    timeline = tuple(
        (fact.at, known.name(fact.user), known.name(fact.client), fact.action, known.name(fact.patient), fact.outcome, fact.id)
        for fact in facts
    )  # fmt: skip
    word = _word(language)
    return [
        Table(
            "incident",
            ("item", "value"),
            tuple((word(name), value) for name, value in figures),
            word("summary"),
        ),
        Table("incident", ("item", "value"), _deadlines(incident, word), word("deadlines")),
        Table("incident", ("patient", "contact", "events", "data", "first", "last"), rows, word("subjects")),
        Table(
            "incident",
            ("when", "who", "app", "action", "patient", "outcome", "event"),
            timeline,
            word("timeline"),
        ),
        Table("incident", (), (), word("anpd"), _draft_anpd(incident, dict(figures), language)),
        Table("incident", (), (), word("holders"), _draft_subjects(incident, kinds, language)),
    ]


def _word(language: str) -> _Word:
    return _Word(0 if language == "pt-BR" else 1)


@dataclass(frozen=True, slots=True)
class _Word:
    at: int

    def __call__(self, name: str) -> str:
        return _WORDS[name][self.at]


def _kinds(facts: Sequence[Fact]) -> frozenset[str]:
    types = {type for fact in facts for type in fact.types} - {"OperationOutcome"}
    found = set()
    if types & _FINANCIAL:
        found.add("financial")
    if types - _FINANCIAL - _PERSONAL:
        found.add("sensitive")
    if not types:
        found.add("unknown-kind")
    return frozenset(found)


def _figures(
    facts: Sequence[Fact], kinds: Mapping[str, frozenset[str]], subjects: Mapping[str, Subject]
) -> list[tuple[str, int]]:
    def of(kind: str) -> int:
        return sum(kind in found for found in kinds.values())

    return [
        ("affected", len(kinds)),
        ("minors", sum(bool(subjects[patient].minor) for patient in kinds if patient in subjects)),
        ("sensitive", of("sensitive")),
        ("financial", of("financial")),
        ("unknown-kind", of("unknown-kind")),
        ("accesses", len(facts)),
        ("refused", sum(fact.failed for fact in facts)),
    ]


def _deadlines(incident: Incident, word: _Word) -> tuple[tuple[Cell, ...], ...]:
    return (
        (word("known"), incident.known),
        (word("notice"), incident.notice_by),
        (word("complement"), incident.complement_by),
        (word("register"), incident.register_until),
    )


def _draft_anpd(incident: Incident, figures: Mapping[str, int], language: str) -> str:
    count, health, money, minors = (
        figures[name] for name in ("affected", "sensitive", "financial", "minors")
    )
    if language == "pt-BR":
        return (
            "Comunicação de incidente de segurança (LGPD, art. 48)\n"
            f"Conhecimento do incidente: {incident.known:%d/%m/%Y %H:%M}\n"
            f"Descrição: {incident.description}\n"
            f"Titulares afetados: {count}, dos quais {minors} crianças ou adolescentes\n"
            f"Natureza dos dados: {health} titulares com dados de saúde, {money} com dados financeiros\n"
            f"Medidas adotadas e propostas: {incident.measures or '(a informar)'}\n"
            f"Informações complementares serão enviadas até {incident.complement_by:%d/%m/%Y}."
        )
    return (
        "Notice of a security incident (LGPD art. 48)\n"
        f"Incident known: {incident.known:%Y-%m-%d %H:%M}\n"
        f"Description: {incident.description}\n"
        f"Affected subjects: {count}, of these {minors} children or adolescents\n"
        f"Nature of the data: {health} subjects with health data, {money} with financial data\n"
        f"Measures taken and planned: {incident.measures or '(to be stated)'}\n"
        f"Further information will follow by {incident.complement_by}."
    )


def _draft_subjects(incident: Incident, kinds: Mapping[str, frozenset[str]], language: str) -> str:
    health = any("sensitive" in found for found in kinds.values())
    money = any("financial" in found for found in kinds.values())
    if language == "pt-BR":
        data = ["dados cadastrais", *["dados de saúde"] * health, *["dados financeiros"] * money]
        return (
            f"Informamos que em {incident.known:%d/%m/%Y} tomamos conhecimento de um incidente de segurança que "
            f"pode ter exposto seus dados ({', '.join(data)}).\n"
            f"O que aconteceu: {incident.description}\n"
            f"O que fizemos: {incident.measures or '(a informar)'}\n"
            "Você pode pedir a lista completa de quem acessou os seus dados e falar com o encarregado pelo "
            "tratamento de dados pessoais da clínica."
        )
    data = ["personal data", *["health data"] * health, *["financial data"] * money]
    return (
        f"On {incident.known:%Y-%m-%d} we learned of a security incident that may have exposed your data "
        f"({', '.join(data)}).\n"
        f"What happened: {incident.description}\n"
        f"What we did: {incident.measures or '(to be stated)'}\n"
        "You may ask for the complete list of who has seen your data, and speak to the clinic's data protection "
        "officer."
    )
