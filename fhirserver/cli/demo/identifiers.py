"""Brazilian identifiers with right check digits. Algorithms: Receita Federal (CPF, CNPJ), DATASUS (CNS)."""

from __future__ import annotations

from collections.abc import Iterable

CPF = "https://saude.gov.br/fhir/sid/cpf"
CNS = "https://saude.gov.br/fhir/sid/cns"
CNPJ = "https://saude.gov.br/fhir/sid/cnpj"
CNES = "https://saude.gov.br/fhir/sid/cnes"


def _digit(digits: str, weights: Iterable[int]) -> str:
    rest = sum(int(digit) * weight for digit, weight in zip(digits, weights, strict=True)) % 11
    return "0" if rest < 2 else str(11 - rest)


def cpf(number: int) -> str:
    """The CPF of 11 digits that starts with 999 and continues with `number` (0-999999)."""
    digits = f"999{number:06d}"
    digits += _digit(digits, range(10, 1, -1))
    return digits + _digit(digits, range(11, 1, -1))


def cnpj(root: int, branch: int = 1) -> str:
    """The CNPJ of 14 digits of `root` (8 digits) and `branch` (4 digits)."""
    digits = f"{root:08d}{branch:04d}"
    digits += _digit(digits, (5, 4, 3, 2, 9, 8, 7, 6, 5, 4, 3, 2))
    return digits + _digit(digits, (6, 5, 4, 3, 2, 9, 8, 7, 6, 5, 4, 3, 2))


def cns(number: int) -> str:
    """The provisional CNS of 15 digits: 700, `number` (10 digits), and two digits that make the sum fit."""
    for filler in range(10):
        digits = f"700{number:010d}{filler}"
        last = -sum(int(digit) * (15 - place) for place, digit in enumerate(digits)) % 11
        if last < 10:
            return f"{digits}{last}"
    raise ValueError(number)
