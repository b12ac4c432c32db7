"""Six months of past appointments, four weeks of slots ahead, and who has booked them."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

from fhirserver.cli.demo.clinic import WEEKS_AHEAD, Clinic, Professional
from fhirserver.cli.demo.people import Person
from fhirserver.cli.demo.record import HL7, Json, Record, at, code, concept, ref

DAYS_BACK = 182
PAST = 1150
STEP = 30
HOURS = tuple(range(8 * 60, 12 * 60, STEP)) + tuple(range(13 * 60, 17 * 60, STEP))  # lunch from 12 to 13
_WEIGHTS = (30, 14, 20, 10, 12, 10, 8, 7, 7, 6)  # how often each professional is sought
_CANCELLED = (("pat", "Patient", "Desmarcada pelo paciente"), ("prov", "Provider", "Desmarcada pela clínica"))


@dataclass(frozen=True, slots=True)
class Visit:
    """A kept appointment of the past: what care and billing start from. `start`: minutes after midnight."""

    person: Person
    professional: Professional
    unit: int
    day: dt.date
    start: int
    appointment: Json


def build_agenda(record: Record, clinic: Clinic, people: list[Person]) -> list[Visit]:
    """Adds Slots, Appointments and reminders; returns the visits that took place, oldest first."""
    visits = _past(record, clinic, people)
    _coming(record, clinic, people)
    return visits


def _works_at(day: dt.date, place: int) -> int:
    return (day.weekday() + place) % 2


def _workdays(first: dt.date, days: int) -> list[dt.date]:
    return [day for day in (first + dt.timedelta(days=n) for n in range(days)) if day.weekday() < 5]


def _choose(record: Record, clinic: Clinic, person: Person, day: dt.date) -> int:
    """A professional who suits the person: children go to the paediatrician, adults do not."""
    if person.age(day) < 15:
        return record.chance.choice((2, 2, 2, 2, 6, 9))
    weights = [0 if place == 2 else weight for place, weight in enumerate(_WEIGHTS)]
    if person.patient["gender"] == "male":
        weights[4] = 0
    return record.chance.choices(range(len(clinic.professionals)), weights=weights)[0]


def _past(record: Record, clinic: Clinic, people: list[Person]) -> list[Visit]:
    days = _workdays(record.today - dt.timedelta(days=DAYS_BACK), DAYS_BACK)
    taken: set[tuple[int, dt.date, int]] = set()
    plan: list[tuple[dt.date, int, int, Person]] = []
    while len(plan) < PAST:
        person, day, start = (
            record.chance.choice(people),
            record.chance.choice(days),
            record.chance.choice(HOURS),
        )
        if day < person.birth or (person.gone and day >= person.gone):
            continue
        place = _choose(record, clinic, person, day)
        if (place, day, start) not in taken:
            taken.add((place, day, start))
            plan.append((day, start, place, person))
    plan.sort(key=lambda row: row[:3])
    visits = []
    for day, start, place, person in plan:
        professional, unit = clinic.professionals[place], _works_at(day, place)
        status = record.chance.choices(("fulfilled", "noshow", "cancelled"), weights=(78, 11, 11))[0]
        slot = _slot(record, professional, unit, day, start, "free" if status == "cancelled" else "busy")
        appointment = _appointment(record, clinic, person, professional, unit, day, start, status, slot)
        if status == "fulfilled":
            visits.append(Visit(person, professional, unit, day, start, appointment))
    return visits


def _coming(record: Record, clinic: Clinic, people: list[Person]) -> None:
    alive = [person for person in people if person.active]
    for nth, day in enumerate(_workdays(record.today, 7 * WEEKS_AHEAD)):
        busy = 0.55 * 0.9**nth  # the near days are the fuller ones
        for place, professional in enumerate(clinic.professionals):
            unit = _works_at(day, place)
            for start in HOURS:
                taken = record.chance.random() < busy
                person = record.chance.choice(alive) if taken else None
                if person and _choose(record, clinic, person, day) != place and record.chance.random() < 0.7:
                    person = None
                slot = _slot(record, professional, unit, day, start, "busy" if person else "free")
                if person:
                    status = record.chance.choices(("booked", "pending"), weights=(9, 1))[0]
                    _appointment(record, clinic, person, professional, unit, day, start, status, slot)


def _slot(
    record: Record, professional: Professional, unit: int, day: dt.date, start: int, status: str
) -> Json:
    return record.add(
        "Slot",
        "horario",
        {
            "serviceType": professional.schedules[unit]["serviceType"],
            "specialty": [{"text": professional.specialty}],
            "schedule": ref(professional.schedules[unit]),
            "status": status,
            "start": at(day, start),
            "end": at(day, start + STEP),
        },
    )


def _appointment(
    record: Record,
    clinic: Clinic,
    person: Person,
    professional: Professional,
    unit: int,
    day: dt.date,
    start: int,
    status: str,
    slot: Json,
) -> Json:
    location = clinic.units[unit].location
    made = min(day, record.today) - dt.timedelta(days=record.chance.randint(1, 30))
    reason = record.chance.choices(_CANCELLED, weights=(4, 1))[0] if status == "cancelled" else None
    participants = [
        (person.patient, person.name),
        (professional.practitioner, professional.name),
        (location, location["name"]),
    ]
    if person.guardian:
        participants.append((person.guardian, person.guardian["name"][0]["text"]))
    appointment = record.add(
        "Appointment",
        "consulta",
        {
            "status": status,
            "cancelationReason": concept(f"{HL7}/appointment-cancellation-reason", *reason)
            if reason
            else None,
            "serviceType": slot["serviceType"],
            "specialty": slot["specialty"],
            "appointmentType": code(
                f"{HL7}/v2-0276", record.chance.choice(("ROUTINE", "ROUTINE", "FOLLOWUP"))
            ),
            "description": f"Consulta de {professional.specialty.lower()}",
            "start": slot["start"],
            "end": slot["end"],
            "minutesDuration": STEP,
            "slot": [ref(slot)],
            "created": at(made, 9 * 60 + start % 240),
            "participant": [
                {
                    "actor": ref(actor, name),
                    "required": "required",
                    "status": "needs-action" if status == "pending" and nth == 0 else "accepted",
                }
                for nth, (actor, name) in enumerate(participants)
            ],
        },
    )
    if day <= record.today + dt.timedelta(days=2) and record.chance.random() < 0.6:
        _reminder(record, clinic, person, unit, appointment, min(day - dt.timedelta(days=1), record.today))
    return appointment


def _reminder(
    record: Record, clinic: Clinic, person: Person, unit: int, appointment: Json, sent: dt.date
) -> None:
    recipient = person.guardian or person.patient
    when = f"{appointment['start'][8:10]}/{appointment['start'][5:7]} às {appointment['start'][11:16]}"
    record.add(
        "Communication",
        "lembrete",
        {
            "status": "completed",
            "category": [code(f"{HL7}/communication-category", "reminder")],
            "medium": [code(f"{HL7}/v3-ParticipationMode", "SMSWRIT")],
            "subject": ref(person.patient),
            "about": [ref(appointment)],
            "sent": at(sent, 10 * 60),
            "recipient": [ref(recipient)],
            "sender": ref(clinic.units[unit].organization),
            "payload": [{"contentString": f"Lembrete: sua consulta está marcada para {when}."}],
        },
    )
