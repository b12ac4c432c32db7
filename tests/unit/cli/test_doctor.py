"""What `fhirserver doctor` makes of what it finds in the database."""

from __future__ import annotations

from dataclasses import replace

import pytest

from fhirserver.cli.doctor import Grade, judge
from fhirserver.store.inspect import Inspection

WELL = Inspection("6.0.5", "rs0", (), stale=False, clock_seconds=0.1)


def test_a_database_that_is_well_gives_no_advice() -> None:
    assert {finding.grade for finding in judge(WELL)} == {Grade.OK}
    assert not any(finding.mend for finding in judge(WELL))


@pytest.mark.parametrize(
    ("inspection", "grade", "what", "mend"),
    [
        (replace(WELL, stale=True), Grade.WARNING, "search", "fhirserver reindex"),
        (replace(WELL, missing=("Patient.search",)), Grade.WRONG, "indexes", "start the server"),
        (replace(WELL, secrets="FILE is missing. Put it there"), Grade.WRONG, "secrets", "Put it there"),
        (replace(WELL, clock_seconds=-30.0), Grade.WARNING, "clock", "time service"),
    ],
)
def test_one_thing_that_is_wrong_is_named_with_its_remedy(
    inspection: Inspection, grade: Grade, what: str, mend: str
) -> None:
    found = [finding for finding in judge(inspection) if finding.grade is not Grade.OK]
    assert [(finding.grade, finding.what) for finding in found] == [(grade, what)]
    assert mend in found[0].mend
