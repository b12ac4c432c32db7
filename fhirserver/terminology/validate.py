"""Whether a code is valid in a value set or a code system, whatever its code system's size.

Source: hl7.org/fhir/R4/valueset-operation-validate-code.html, codesystem-operation-validate-code.html
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from fhirserver.outcome import TooCostly
from fhirserver.terminology.concepts import Concept, folded
from fhirserver.terminology.decide import Hit, Unknown, decide
from fhirserver.terminology.service import Terminology
from fhirserver.terminology.systems import Fetched, Pointwise, System
from fhirserver.terminology.valuesets import MOST_PARTS, Include, ValueSet
from fhirserver.terminology.versions import Versions


@dataclass(frozen=True, slots=True)
class Asked:
    """One code to validate. `version`: of the system, as the source data says."""

    system: str | None
    code: str
    version: str | None = None
    display: str | None = None


@dataclass(frozen=True, slots=True)
class How:
    """How strictly. `abstract`: abstract codes are valid too. `language`: of the display, a BCP 47 tag."""

    abstract: bool = False
    language: str | None = None


@dataclass(frozen=True, slots=True)
class Validity:
    """The answer. `message`: why not, or a hint. `display`: the text to show for the code."""

    result: bool
    message: str | None = None
    display: str | None = None


_WHY = {
    "value-set-unknown": "The value set imports another one that this server does not have.",
    "value-set-circular": "The value set imports itself.",
    "system-unknown": "The server does not have the content of the code system, so that the code cannot be checked.",
    "system-incomplete": "The server has a part of the code system only, and the code is not in it.",
}


async def validate_in_value_set(
    terminology: Terminology, value_set: ValueSet, asked: Sequence[Asked], how: How
) -> Validity:
    """Valid where one of the `asked` (the codings of a concept) is in the value set, with a fitting display."""
    answers = []
    for one in asked:
        versions = Versions(forced={one.system: one.version} if one.system and one.version else {})
        view = await gather(terminology, value_set, [(one.system, one.code)], versions)
        answers.append(_judged(view, value_set, one, how))
    return _best(answers)


def _judged(view: Gathered, value_set: ValueSet, one: Asked, how: How) -> Validity:
    try:
        hit = decide(view, value_set, one.system, one.code)
    except Unknown as reason:
        return Validity(False, _WHY.get(str(reason), "A filter of the value set cannot be evaluated here."))
    if hit is None:
        return Validity(False, "The code is not in the value set.")
    return _checked(hit, one, how)


async def validate_in_system(system: System, asked: Sequence[Asked], how: How) -> Validity:
    """Valid where one of the `asked` is a code of the system, with a fitting display."""
    answers = []
    info = system.info
    for one in asked:
        if one.system is not None and one.system != info.url:
            answers.append(Validity(False, "The coding is of another code system."))
            continue
        concept = (await system.find([one.code])).get(one.code)
        if concept is None:
            why = "The code is not in the code system."
            answers.append(Validity(False, why if info.content == "complete" else _WHY["system-incomplete"]))
        else:
            answers.append(_checked(Hit(info.url, info.version, concept, None), one, how))
    return _best(answers)


def _best(answers: Sequence[Validity]) -> Validity:
    return next((each for each in answers if each.result), answers[0])


def _checked(hit: Hit, one: Asked, how: How) -> Validity:
    """What is to be said of a code that is there: its display, abstract, inactive."""
    display = hit.display(how.language)
    concept = hit.concept
    if concept is not None and concept.abstract and not how.abstract:
        return Validity(
            False, "The code is abstract: it groups others and is not to be used itself.", display
        )
    texts = {folded(text) for text in hit.texts()}
    if one.display is not None and texts and folded(one.display) not in texts:
        return Validity(
            False, "The display is not one of the code's; see `display` for the right one.", display
        )
    if concept is not None and concept.inactive:
        return Validity(True, "The code is inactive.", display)
    return Validity(True, None, display)


@dataclass(slots=True)
class Gathered:
    """The View (see decide.py) of some questions: all that their answer may look at."""

    value_sets: dict[str, ValueSet] = field(default_factory=dict)
    systems: dict[tuple[str, str | None], Fetched] = field(default_factory=dict)

    def value_set(self, canonical: str) -> ValueSet:
        """The value set. Raises Unknown."""
        found = self.value_sets.get(canonical)
        if found is None:
            raise Unknown("value-set-unknown")
        return found

    def system(self, url: str, version: str | None) -> Pointwise:
        """The code system, with the codes in question. Raises Unknown."""
        found = self.systems.get((url, version))
        if found is None:
            raise Unknown("system-unknown")
        return found


async def gather(
    terminology: Terminology,
    value_set: ValueSet,
    questions: Iterable[tuple[str | None, str]],
    versions: Versions | None = None,
) -> Gathered:
    """Fetch what deciding the questions (system, code) needs, from wherever it is."""
    asked = list(questions)
    view = Gathered()
    for part in await _parts(terminology, value_set, view):
        codes = {code for system, code in asked if system in (None, part.system)}
        if part.system is None or not codes:
            continue
        codes |= {f.related for f in part.filters if f.related is not None}
        version = (versions or Versions()).of(part.system, part.version)
        system = await terminology.system(part.system, version)
        if system is None or system.info.content == "not-present":
            continue
        fetched = view.systems.setdefault((part.system, part.version), Fetched(system.info, {}))
        found: dict[str, Concept] = {**fetched.concepts, **await system.find(codes)}
        view.systems[part.system, part.version] = Fetched(system.info, found)
    return view


async def _parts(terminology: Terminology, value_set: ValueSet, view: Gathered) -> list[Include]:
    """All parts of a value set and of those that it imports, which are put into `view`. Raises TooCostly."""
    parts = list(value_set.parts())
    for part in parts:  # which grows on the way
        for canonical in part.value_sets:
            if canonical in view.value_sets:
                continue
            if len(view.value_sets) >= MOST_PARTS:
                raise TooCostly(
                    f"The value set imports more than {MOST_PARTS} others.", code="expansion-too-large"
                )
            imported = await terminology.value_set(canonical)
            if imported is not None:
                view.value_sets[canonical] = imported
                parts += imported.parts()
    return parts
