"""Brazilian identifiers: canonical systems and values, check digits; telephone numbers, CEP and municipalities.

Many systems in use name the same thing (RNDS naming systems, OIDs, http for https), and values come with and
without their mask. `canonical` gives the one pair that search goes by. All of it is pure and cheap: a system that
is no known one costs a lookup. Sources: IN RFB 2.229/2024 (CNPJ with letters), DATASUS (CNS), BR Core and RNDS
(systems), IBGE (municipalities); docs/explanation/brazilian-identifiers.md.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import lru_cache

SID = "https://saude.gov.br/fhir/sid/"

_NAMED = re.compile(
    r"https?://(?:rnds-fhir\.saude\.gov\.br/NamingSystem|rnds\.saude\.gov\.br/fhir/r4/NamingSystem"
    r"|(?:www\.)?saude\.gov\.br/fhir/r4/NamingSystem|saude\.gov\.br/fhir/sid)/([A-Za-z]{3,10}(?:-[A-Za-z]{2}){0,8})"
)
_OIDS = {
    "urn:oid:2.16.840.1.113883.13.237": "cpf",
    "urn:oid:2.16.840.1.113883.13.236": "cns",
}
_RG = "urn:oid:2.16.840.1.113883.13.243"
_COUNCILS = frozenset(
    "crm coren cro crf crp cress crefito crefono crfa crn crbio crbm cref crmv crtr".split()  # noqa: SIM905
)
_MASK = str.maketrans("", "", ".-/ ")
_BLANKS = str.maketrans("", "", ". ")
# What a search without a system must look like to be read as a masked CPF, CNPJ or CNS.
_MASKED = re.compile(
    r"\d{3}\.\d{3}\.\d{3}-\d{2}|[0-9A-Za-z]{2}\.[0-9A-Za-z]{3}\.[0-9A-Za-z]{3}/[0-9A-Za-z]{4}-\d{2}"
    r"|\d{3} \d{4} \d{4} \d{4}",
    re.ASCII,
)
_CNPJ = re.compile(r"[0-9A-Z]{12}[0-9]{2}", re.ASCII)
_CNPJ_WEIGHTS = (6, 5, 4, 3, 2, 9, 8, 7, 6, 5, 4, 3, 2)


@dataclass(frozen=True, slots=True)
class Kind:
    """What a system identifies. `unmask`: canonical form of a value. `is_right`: None where nothing is checked."""

    name: str
    system: str
    unmask: Callable[[str], str]
    is_right: Callable[[str], bool] | None = None


def kind_of(system: str) -> Kind | None:
    """The kind of identifier that a system, or an alias of it, stands for; None for any other system."""
    return _kind_of(system) if len(system) <= 120 else None


def canonical(system: str, value: str) -> tuple[str, str] | None:
    """The canonical system and value of an identifier, None where the system is no Brazilian one."""
    kind = kind_of(system)
    return None if kind is None else (kind.system, kind.unmask(value))


def unmasked(text: str) -> str | None:
    """A text that has the mask of a CPF, CNPJ or CNS, without it; None for any other."""
    return text.translate(_MASK).upper() if _MASKED.fullmatch(text) else None


def shortened(system: str, value: str) -> str | None:
    """A CPF or CNS of which only a part is shown, "***.982.247-**", "*** **** **** 0018"; None for any other."""
    kind = kind_of(system)
    digits = kind.unmask(value) if kind is not None else ""
    if kind is not None and kind.name == "CPF" and _digits(digits, 11):
        return f"***.{digits[3:6]}.{digits[6:9]}-**"
    if kind is not None and kind.name == "CNS" and _digits(digits, 15):
        return f"*** **** **** {digits[11:]}"
    return None


def is_cpf(text: str) -> bool:
    """Whether a CPF, masked or not, has 11 digits with right check digits."""
    digits = text.translate(_MASK)
    if not _digits(digits, 11) or digits == digits[0] * 11:
        return False
    return digits[9:] == _cpf_digits(digits)


def is_cnpj(text: str) -> bool:
    """Whether a CNPJ, masked or not, numeric or alphanumeric, has 14 characters with right check digits."""
    code = text.translate(_MASK).upper()
    if not _CNPJ.fullmatch(code) or code == code[0] * 14:
        return False
    values = [ord(character) - 48 for character in code]
    first = _modulo_11(zip(values, _CNPJ_WEIGHTS[1:], strict=False))
    second = _modulo_11(zip(values, _CNPJ_WEIGHTS, strict=False))
    return values[12:] == [first, second]


def is_cns(text: str) -> bool:
    """Whether a CNS has 15 digits that fit: provisional ones by their sum, definitive ones by their structure."""
    digits = text.translate(_MASK)
    if not _digits(digits, 15):
        return False
    if digits[0] in "789":
        return _cns_sum(digits) % 11 == 0
    return digits[0] in "12" and digits == _definitive(digits[:11])


# The codes of the states, which the codes of their municipalities start with.
_STATES = frozenset(
    map(str, (*range(11, 18), *range(21, 30), *range(31, 34), 35, *range(41, 44), *range(50, 54)))
)
# Codes in use that break the rule of the check digit.
_IRREGULAR = frozenset(
    {"2201919", "2201988", "2202251", "2611533", "3117836", "3152131", "4305871", "5203939", "5203962"}
)


def is_municipality(code: str) -> bool:
    """Whether a code may be IBGE's of a municipality: 7 digits, a state's number first, a right check digit."""
    if not _digits(code, 7) or code[:2] not in _STATES:
        return False
    if code in _IRREGULAR:
        return True
    total = 0
    for place, digit in enumerate(code[:6]):
        product = int(digit) * (1 + place % 2)
        total += product // 10 + product % 10
    return int(code[6]) == (10 - total % 10) % 10


_PHONE_MARKS = str.maketrans("", "", " ()-./\u00a0")


def phone_number(text: str) -> str | None:
    """A telephone number in E.164 form, None for what is none.

    A number without a country is read as Brazilian: area code and 8 digits, or 9 digits that start with 9.
    """
    plain = text.removeprefix("tel:").translate(_PHONE_MARKS)
    international = plain.startswith("+")
    digits = plain[1:] if international else plain
    if not digits.isascii() or not digits.isdigit():
        return None
    if not international and digits.startswith("00"):
        digits, international = digits[2:], True
    if international:
        return f"+{digits}" if 8 <= len(digits) <= 15 else None
    if digits.startswith("55") and len(digits) in (12, 13) and _is_national(digits[2:]):
        return f"+{digits}"
    national = digits[1:] if digits.startswith("0") else digits
    return f"+55{national}" if _is_national(national) else None


_CEP = re.compile(r"(\d{5})-(\d{0,3})", re.ASCII)


def postal_digits(text: str) -> str | None:
    """A CEP, or the beginning of one, without its hyphen; None where there is none to take away."""
    match = _CEP.fullmatch(text)
    return match[1] + match[2] if match else None


@lru_cache(maxsize=4096)
def _kind_of(system: str) -> Kind | None:
    name = _OIDS.get(system)
    if name is None:
        if system == _RG:
            return Kind("RG", _RG, _compact)
        match = _NAMED.fullmatch(system)
        if match is None:
            return None
        name = match[1].lower()
    known = _KINDS.get(name)
    if known is not None:
        return Kind(name.upper(), SID + name, *known)
    council, _, states = name.partition("-")
    return Kind(council.upper(), SID + name, _registration) if states and council in _COUNCILS else None


def _compact(value: str) -> str:
    return value if value.isdecimal() else value.translate(_MASK).upper()


def _registration(value: str) -> str:
    """The number in a council: a hyphen may separate a category, as in COREN's."""
    return value if value.isdecimal() else value.translate(_BLANKS).upper()


_KINDS: dict[str, tuple[Callable[[str], str], Callable[[str], bool] | None]] = {
    "cpf": (_compact, is_cpf),
    "cns": (_compact, is_cns),
    "cnpj": (_compact, is_cnpj),
    "cnes": (_compact, None),
    "rne": (_compact, None),
}


def _digits(text: str, count: int) -> bool:
    return len(text) == count and text.isascii() and text.isdigit()


def _modulo_11(pairs: Iterable[tuple[int, int]]) -> int:
    rest = sum(value * weight for value, weight in pairs) % 11
    return 0 if rest < 2 else 11 - rest


def _cpf_digits(digits: str) -> str:
    values = [int(digit) for digit in digits]
    first = _modulo_11(zip(values[:9], range(10, 1, -1), strict=True))
    return f"{first}{_modulo_11(zip([*values[:9], first], range(11, 1, -1), strict=True))}"


def _cns_sum(digits: str) -> int:
    return sum(int(digit) * (15 - place) for place, digit in enumerate(digits))


def _definitive(base: str) -> str:
    """The definitive CNS that starts with these 11 digits."""
    total = _cns_sum(base)
    check = 11 - total % 11
    if check == 10:
        return f"{base}001{11 - (total + 2) % 11}"
    return f"{base}000{check % 11}"


def _is_national(digits: str) -> bool:
    """Area code without zeros, then 8 digits, or 9 that start with 9; 800 numbers have 10 digits as well."""
    if digits.startswith("800"):
        return len(digits) == 10
    return "0" not in digits[:2] and (len(digits) == 10 or (len(digits) == 11 and digits[2] == "9"))
