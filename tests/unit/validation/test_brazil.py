"""CAD-01: which time counts, whose code it is, and that no value is told.

Source: docs/explanation/brazilian-identifiers.md
"""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from fhirserver.outcome import RULE_SYSTEM
from fhirserver.validation import Validator
from tests.unit.validation.cases_brazil import SID, WRONG, one

NOON = Validator(clock=lambda: datetime(2026, 3, 10, 12, 0, tzinfo=UTC))


@pytest.mark.parametrize(
    ("end", "refused"),
    [
        ("2026-02", False),
        ("2026-03-08", False),
        ("2026-03-10", True),
        ("2026-03", True),
        ("2026-03-10T11:59:00Z", False),
        ("2026-03-10T12:01:00Z", True),
        ("2026-03-10T09:01:00-03:00", True),
    ],
)
def test_a_period_has_ended_by_the_servers_clock(end: str, refused: bool) -> None:
    patient = {"resourceType": "Patient"} | one(SID + "cpf", WRONG, period={"end": end})
    assert bool(NOON.validate(patient)) is refused


def test_the_issue_names_the_rule_and_not_the_number() -> None:
    issue = NOON.validate({"resourceType": "Patient"} | one(SID + "cpf", WRONG))[0].to_json()
    assert issue["details"]["coding"] == [{"system": RULE_SYSTEM, "code": "CAD-01"}]
    assert issue["expression"] == ["Patient.identifier[0].value"]
    assert WRONG not in str(issue)
    assert "52998224724" not in str(issue)
