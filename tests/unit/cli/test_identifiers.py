"""Check digits of Brazilian identifiers, against values that are known to be right and wrong."""

import pytest

from fhirserver.cli.demo.identifiers import cnpj, cns, cpf


def cpf_is_valid(text: str) -> bool:
    """The rule in its other form: weighted sums with the check digits themselves, modulo 11 and 10."""
    digits = [int(digit) for digit in text]
    if len(digits) != 11 or len(set(digits)) == 1:
        return False
    for place in (9, 10):
        total = sum(digit * (place + 1 - nth) for nth, digit in enumerate(digits[:place]))
        if total * 10 % 11 % 10 != digits[place]:
            return False
    return True


def cns_is_valid(text: str) -> bool:
    return len(text) == 15 and sum(int(digit) * (15 - nth) for nth, digit in enumerate(text)) % 11 == 0


@pytest.mark.parametrize("text", ["52998224725", "11144477735", "39053344705", "00000000191"])
def test_the_rule_used_here_accepts_known_numbers(text: str) -> None:
    assert cpf_is_valid(text)


@pytest.mark.parametrize("text", ["52998224724", "11111111111", "5299822472"])
def test_the_rule_used_here_refuses_known_wrong_numbers(text: str) -> None:
    assert not cpf_is_valid(text)


def test_made_cpf_have_right_check_digits_and_start_with_999() -> None:
    made = {cpf(number) for number in range(0, 1_000_000, 3571)}
    assert all(cpf_is_valid(text) and text.startswith("999") for text in made)
    assert len(made) == len(range(0, 1_000_000, 3571))


def test_made_cns_have_a_right_sum_and_start_with_700() -> None:
    made = {cns(1_000_000_007 + number * 7919) for number in range(300)}
    assert all(cns_is_valid(text) and text.startswith("700") for text in made)
    assert len(made) == 300
    assert not cns_is_valid("164835030564132")


def test_a_known_cnpj_is_made_from_its_root() -> None:
    assert cnpj(11222333) == "11222333000181"
