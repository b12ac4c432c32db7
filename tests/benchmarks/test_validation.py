"""The benchmark of validation measures what it says."""

from __future__ import annotations

from tests.benchmarks.validation import BASELINES, judged, package, timed


def test_each_subject_is_called_and_compared_with_its_baseline() -> None:
    calls: list[str] = []
    subjects = {
        name: (lambda name=name: calls.append(name))
        for name in ("Patient, type alone", "Patient, fhir.resources")
    }
    rows = timed(subjects, 2, 3)
    assert calls == (["Patient, type alone"] * 3 + ["Patient, fhir.resources"] * 3) * 2
    assert "ratio" not in rows[0]
    assert rows[1]["against"] == BASELINES["Patient, fhir.resources"]


def test_a_package_is_read_and_compiled() -> None:
    assert package(3)["row"] == "package of 3 definitions"


def test_a_target_is_met_or_not() -> None:
    rows = [{"row": "Patient, type alone", "us": 59}, {"row": "Claim, fhir.resources", "us": 1, "ratio": 2.9}]
    assert [target["met"] for target in judged(rows)] == [True, False]
