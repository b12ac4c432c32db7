"""Brazilian identifiers: the vectors of brazil.md 1.3, and formulas of their own.

Source: IN RFB 2.229/2024, DATASUS (CNS), IBGE, E.164
"""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fhirserver.r4.identifiers import (
    SID,
    canonical,
    is_cnpj,
    is_cns,
    is_cpf,
    is_municipality,
    kind_of,
    phone_number,
    postal_digits,
    unmasked,
)

RIGHT = [
    (is_cpf, "52998224725 111.444.777-35 39053344705 00000000191"),
    (is_cnpj, "11222333000181 12.ABC.345/01DE-35 12abc34501de35 A1B2C3D4000193 ZZZZZZZZ000191"),
    (
        is_cns,
        "123456789010000 200000000000003 200000000030018 710433218196009 840265423511613 959310341316479",
    ),
    (is_municipality, "3550308 3304557 5300108 5101837 2201919"),
]
WRONG = [
    (is_cpf, "52998224724 11111111111 5299822472 529982247250 5299822472A ٥٢٩٩٨٢٢٤٧٢٥"),
    (is_cnpj, "11222333000182 12ABC34501DE36 12ABC34501DE3A 1122233300018 00000000000000"),
    (is_cns, "200000000030008 123456789101112 164835030564131 340265423511610 12345678901000"),
    (is_municipality, "3550307 9950308 355030 35503O8"),
]


def spread(rows: list[tuple[object, str]]) -> list[tuple[object, str]]:
    return [(check, text) for check, texts in rows for text in texts.split()]


@pytest.mark.parametrize(("check", "text"), spread(RIGHT))
def test_a_right_one_is_right(check: object, text: str) -> None:
    assert callable(check)
    assert check(text) is True


@pytest.mark.parametrize(("check", "text"), spread(WRONG))
def test_a_wrong_one_is_wrong(check: object, text: str) -> None:
    assert callable(check)
    assert check(text) is False


@given(st.text(alphabet="0123456789", min_size=11, max_size=11))
def test_a_cpf_follows_the_receita_s_formula(digits: str) -> None:
    numbers = [int(digit) for digit in digits]
    first = sum((10 - i) * numbers[i] for i in range(9)) * 10 % 11 % 10
    second = sum((11 - i) * numbers[i] for i in range(10)) * 10 % 11 % 10
    assert is_cpf(digits) is (numbers[9:] == [first, second] and len(set(digits)) > 1)


@given(st.lists(st.integers(0, 9), min_size=9, max_size=9))
def test_each_nine_digits_have_one_pair_of_check_digits(start: list[int]) -> None:
    text = "".join(map(str, start))
    found = [f"{text}{pair:02}" for pair in range(100) if is_cpf(f"{text}{pair:02}")]
    assert len(found) == (0 if len(set(text)) == 1 else 1)


@given(st.text(alphabet="0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ", min_size=12, max_size=12))
def test_a_cnpj_follows_the_formula_by_position(base: str) -> None:
    def digit(text: str) -> int:
        total = sum((ord(c) - 48) * (2 + i % 8) for i, c in enumerate(reversed(text)))
        return 0 if total % 11 < 2 else 11 - total % 11

    first = digit(base)
    whole = f"{base}{first}{digit(f'{base}{first}')}"
    assert is_cnpj(whole) is (len(set(whole)) > 1)
    assert is_cnpj(f"{whole[:2]}.{whole[2:5]}.{whole[5:8]}/{whole[8:12]}-{whole[12:]}".lower()) is is_cnpj(
        whole
    )
    for place in (13, 12):
        other = whole[:place] + str((int(whole[place]) + 1) % 10) + whole[place + 1 :]
        assert is_cnpj(other) is False


@given(st.sampled_from("789"), st.text(alphabet="0123456789", min_size=14, max_size=14))
def test_a_provisional_cns_is_a_multiple_of_11(first: str, rest: str) -> None:
    digits = first + rest
    total = 0
    for weight, digit in zip(range(15, 0, -1), digits, strict=True):
        total += weight * int(digit)
    assert is_cns(digits) is (total % 11 == 0)


@settings(max_examples=8)
@given(st.sampled_from("12"), st.text(alphabet="0123456789", min_size=10, max_size=10))
def test_each_eleven_digits_have_one_definitive_cns(first: str, rest: str) -> None:
    base = first + rest
    found = [number for tail in range(10_000) if is_cns(number := f"{base}{tail:04}")]
    assert len(found) == 1
    assert found[0][11:14] in ("000", "001")
    assert sum((15 - i) * int(d) for i, d in enumerate(found[0])) % 11 == 0


@given(st.sampled_from(["11", "35", "53", "42"]), st.text(alphabet="0123456789", min_size=4, max_size=4))
def test_a_municipality_has_a_luhn_digit(state: str, rest: str) -> None:
    digits = [int(d) for d in state + rest]
    doubled = [d if i % 2 == 0 else (2 * d - 9 if d > 4 else 2 * d) for i, d in enumerate(digits)]
    wanted = -sum(doubled) % 10
    found = [code for last in range(10) if is_municipality(code := f"{state}{rest}{last}")]
    assert f"{state}{rest}{wanted}" in found
    assert len(found) <= 2


@pytest.mark.parametrize(
    ("system", "value", "pair"),
    [
        (f"{SID}cpf", "529.982.247-25", ("cpf", "52998224725")),
        ("http://rnds-fhir.saude.gov.br/NamingSystem/cpf", "52998224725", ("cpf", "52998224725")),
        ("https://rnds-fhir.saude.gov.br/NamingSystem/CPF", "52998224725", ("cpf", "52998224725")),
        (
            "https://rnds.saude.gov.br/fhir/r4/NamingSystem/cns",
            "898 0014 6000 0001",
            ("cns", "898001460000001"),
        ),
        ("http://www.saude.gov.br/fhir/r4/NamingSystem/cnes", "2077485", ("cnes", "2077485")),
        ("http://saude.gov.br/fhir/sid/cnpj", "12.abc.345/01de-35", ("cnpj", "12ABC34501DE35")),
        ("urn:oid:2.16.840.1.113883.13.237", "529.982.247-25", ("cpf", "52998224725")),
        ("urn:oid:2.16.840.1.113883.13.236", "710433218196009", ("cns", "710433218196009")),
        (f"{SID}crm-SP", "12.345", ("crm-sp", "12345")),
        (f"{SID}coren-sp", "123456-ENF", ("coren-sp", "123456-ENF")),
        (f"{SID}crp-ac-ro", "123", ("crp-ac-ro", "123")),
        (f"{SID}rne", "v123456-7", ("rne", "V1234567")),
    ],
)
def test_aliases_and_masks_have_one_canonical_pair(system: str, value: str, pair: tuple[str, str]) -> None:
    assert canonical(system, value) == (SID + pair[0], pair[1])


@pytest.mark.parametrize(
    "system",
    [
        "http://example.org/cpf",
        f"{SID}xyz",
        f"{SID}crm",
        f"{SID}abc-sp",
        "urn:oid:2.16.840.1",
        "",
        f"{SID}cpf" + "x" * 500,
    ],
)
def test_another_system_is_left_alone(system: str) -> None:
    assert kind_of(system) is None
    assert canonical(system, "529.982.247-25") is None


def test_an_rg_keeps_the_system_that_does_not_name_its_issuer() -> None:
    system = "urn:oid:2.16.840.1.113883.13.243"
    assert canonical(system, "12.345.678-x") == (system, "12345678X")


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("529.982.247-25", "52998224725"),
        ("12.abc.345/01de-35", "12ABC34501DE35"),
        ("898 0014 6000 0001", "898001460000001"),
        ("52998224725", None),
        ("1.2.3", None),
        ("ABC-123", None),
    ],
)
def test_only_a_whole_mask_is_taken_away(text: str, plain: str | None) -> None:
    assert unmasked(text) == plain


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("(11) 98765-4321", "+5511987654321"),
        ("11987654321", "+5511987654321"),
        ("+5511987654321", "+5511987654321"),
        ("+55 (11) 98765-4321", "+5511987654321"),
        ("5511987654321", "+5511987654321"),
        ("011 98765-4321", "+5511987654321"),
        ("tel:+55-11-3999-0001", "+551139990001"),
        ("1139990001", "+551139990001"),
        ("0800 999 0001", "+558009990001"),
        ("0049 30 1234567", "+49301234567"),
        ("(03) 5555 6473", None),
        ("11 88765-4321", None),
        ("98765-4321", None),
        ("ana@correio.example", None),
        ("+1", None),
        ("", None),
    ],
)
def test_a_telephone_number_in_e164(text: str, number: str | None) -> None:
    assert phone_number(text) == number


@pytest.mark.parametrize(
    ("text", "digits"),
    [
        ("01310-100", "01310100"),
        ("01310-1", "013101"),
        ("01310-", "01310"),
        ("01310100", None),
        ("1310-100", None),
    ],
)
def test_a_cep_loses_its_hyphen(text: str, digits: str | None) -> None:
    assert postal_digits(text) == digits
