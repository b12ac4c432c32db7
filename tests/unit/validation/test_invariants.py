"""The tables of invariants are complete: every constraint of R4 is enforced, or listed with a reason."""

from __future__ import annotations

from fhirserver.r4.elements import Elements
from fhirserver.validation import invariants

ELEMENTS = Elements.load()
DECLARED = {rule.key: rule for rules in ELEMENTS.all_rules().values() for rule in rules}
ENFORCED = {key.partition(" ")[0] for key in invariants.TESTS} | set(invariants.BUILT_IN)


def test_every_invariant_is_enforced_or_listed_as_not_enforced() -> None:
    assert len(DECLARED) > 230
    assert set(DECLARED) == ENFORCED | set(invariants.NOT_ENFORCED)


def test_no_invariant_is_in_both_lists() -> None:
    assert not ENFORCED & set(invariants.NOT_ENFORCED)
    assert not set(invariants.BUILT_IN) & {key.partition(" ")[0] for key in invariants.TESTS}


def test_every_warning_and_nothing_that_protects_data_is_left_out() -> None:
    warnings = {key for key, rule in DECLARED.items() if rule.severity == "warning"}
    assert warnings <= set(invariants.NOT_ENFORCED)
    assert set(invariants.NOT_ENFORCED) - warnings == {"ppc-2", "ppc-3", "ppc-4", "ppc-5", "sdf-19", "sdf-22"}


def test_an_invariant_with_several_meanings_names_its_path() -> None:
    places = {path for path, rules in ELEMENTS.all_rules().items() for rule in rules if rule.key == "inv-1"}
    assert places == {"Parameters.parameter", "Task", "TestReport.setup.action"}
    assert all(invariants.test_of("inv-1", path) is not None for path in places)
    assert invariants.test_of("inv-1", "Patient") is None


def test_every_reason_is_a_sentence() -> None:
    assert all(len(reason) > 20 for reason in invariants.NOT_ENFORCED.values())
