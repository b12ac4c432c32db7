"""Token parameters: codes, identifiers, booleans; compared as written, never folded.

Stored: `ix.<code>` = "code", "system|code", "system|" (with a system) or "|code" (without);
`ix["<code>~text"]` folded displays and texts; `ix["<code>~type"]` = "typeSystem|typeCode|value" of
identifiers. A Brazilian identifier is stored in its canonical form besides as written, a telephone number in
E.164, and searches are read the same way. Source: hl7.org/fhir/R4/search.html#token
"""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, TypeAlias

from fhirserver.outcome import InvalidSearchValue
from fhirserver.r4 import identifiers
from fhirserver.search.fold import fold
from fhirserver.search.types.escapes import split, unescape

# (tokens, folded texts, typed values) of one element.
Tokens: TypeAlias = tuple[list[str], list[str], list[str]]


@dataclass(frozen=True, slots=True)
class TokenValue:
    """One value.

    `key`: the entry to look for in ix. `system`: None when not given, "" for "|code". `code`: "" for any.

    `present`: every value of the parameter matches (the system that its binding implies, without a code).
    `others`: further entries that mean the same (an identifier or telephone number in canonical form).
    """

    key: str
    system: str | None
    code: str
    present: bool = False
    others: tuple[str, ...] = ()

    @property
    def keys(self) -> tuple[str, ...]:
        """The entries to look for in ix, any of them."""
        return (self.key, *self.others)


@dataclass(frozen=True, slots=True)
class TypedValue:
    """The value of :of-type. `keys`: the entries to look for in ix["<code>~type"], any of them."""

    keys: tuple[str, ...]
    system: str
    code: str
    value: str


def parse(text: str, systems: frozenset[str] = frozenset(), types: Container[str] = ()) -> TokenValue:
    """A search text: `code`, `system|code`, `system|` or `|code`.

    `systems`: SearchParameter.systems; plain codes are stored without the system that their binding implies,
    so a search that names it is rewritten. `types`: FHIR types of the parameter's values; for Identifier and
    ContactPoint the canonical form is looked for, too. Raises InvalidSearchValue (search-value-token).
    """
    parts = split(text, "|")
    if len(parts) > 2 or not any(parts):
        raise InvalidSearchValue(
            "A token is code, system|code, system| or |code; a | inside it is written \\|.",
            code="search-value-token",
        )
    code = unescape(parts[-1])
    if len(parts) == 1:
        return TokenValue(code, None, code, others=_other_codes(code, types))
    system = unescape(parts[0])
    if system and system in systems:
        return TokenValue(f"|{code}" if code else "", system, code, present=not code)
    key = f"{system}|{code}"
    return TokenValue(key, system, code, others=_other_pairs(key, system, code, types))


def _other_codes(code: str, types: Container[str]) -> tuple[str, ...]:
    found = [identifiers.unmasked(code)] if "Identifier" in types else []
    if "ContactPoint" in types:
        found.append(identifiers.phone_number(code))
    return tuple(other for other in found if other is not None and other != code)


def _other_pairs(key: str, system: str, code: str, types: Container[str]) -> tuple[str, ...]:
    pair = identifiers.canonical(system, code) if "Identifier" in types else None
    if pair is not None and (other := "|".join(pair)) != key:
        return (other,)
    if not system and "ContactPoint" in types and (number := identifiers.phone_number(code)):
        return (f"|{number}",)
    return ()


def parse_of_type(text: str) -> TypedValue:
    """The text of :of-type, `system|code|value`, all three given.

    Raises InvalidSearchValue (search-value-token).
    """
    parts = [unescape(part) for part in split(text, "|")]
    if len(parts) != 3 or not all(parts):
        raise InvalidSearchValue(
            ":of-type takes system|code|value: the type of the identifier, then its value.",
            code="search-value-token",
        )
    system, code, value = parts
    plain = identifiers.unmasked(value)
    keys = (f"{system}|{code}|{value}",) + ((f"{system}|{code}|{plain}",) if plain else ())
    return TypedValue(keys, system, code, value)


def _coded(tokens: list[str], system: Any, code: Any) -> None:
    if type(code) is str:
        tokens.append(code)
        if type(system) is str:
            tokens.append(f"{system}|{code}")
            tokens.append(f"{system}|")
        else:
            tokens.append(f"|{code}")
    elif type(system) is str:
        tokens.append(f"{system}|")


def _coding(value: Any) -> Tokens:
    tokens: list[str] = []
    if type(value) is not dict:
        return tokens, [], []
    _coded(tokens, value.get("system"), value.get("code"))
    display = value.get("display")
    return tokens, [fold(display)] if type(display) is str else [], []


def _concept(value: Any) -> Tokens:
    tokens: list[str] = []
    texts: list[str] = []
    if type(value) is not dict:
        return tokens, texts, []
    codings = value.get("coding", ())
    for coding in codings:
        if type(coding) is dict:
            _coded(tokens, coding.get("system"), coding.get("code"))
            display = coding.get("display")
            if type(display) is str:
                texts.append(fold(display))
    text = value.get("text")
    if type(text) is str:
        text = fold(text)
        if text not in texts:
            texts.append(text)
    return list(dict.fromkeys(tokens)) if len(codings) > 1 else tokens, texts, []


def _identifier(value: Any) -> Tokens:
    tokens: list[str] = []
    if type(value) is not dict:
        return tokens, [], []
    content, system = value.get("value"), value.get("system")
    _coded(tokens, system, content)
    contents = []
    if type(content) is str:
        contents.append(content)
        pair = identifiers.canonical(system, content) if type(system) is str else None
        if pair is not None and pair != (system, content):
            _coded(tokens, *pair)
            tokens = list(dict.fromkeys(tokens))
            contents = list(dict.fromkeys((content, pair[1])))
    kind = value.get("type")
    if type(kind) is not dict:
        return tokens, [], []
    text = kind.get("text")
    typed = [
        f"{coding['system']}|{coding['code']}|{one}"
        for coding in kind.get("coding", ())
        if "system" in coding and "code" in coding
        for one in contents
    ]
    return tokens, [fold(text)] if type(text) is str else [], typed


_NUMBERED = ("phone", "fax", "sms", "pager")


def _contact(value: Any) -> Tokens:
    content = value.get("value") if type(value) is dict else None
    if type(content) is not str:
        return [], [], []
    tokens = [content, f"|{content}"]
    if value.get("system") in _NUMBERED:
        number = identifiers.phone_number(content)
        if number is not None and number != content:
            tokens += [number, f"|{number}"]
    return tokens, [], []


def _plain(value: Any) -> Tokens:
    return ([value, f"|{value}"], [], []) if type(value) is str else ([], [], [])


def _boolean(value: Any) -> Tokens:
    if value is True:
        return ["true", "|true"], [], []
    return (["false", "|false"], [], []) if value is False else ([], [], [])


def _integer(value: Any) -> Tokens:
    return _plain(str(value)) if isinstance(value, int) else ([], [], [])


_PLAIN = ("code", "uri", "canonical", "url", "oid", "uuid", "id", "string", "markdown")
TOKENS: Mapping[str, Callable[[Any], Tokens]] = MappingProxyType(
    {
        **dict.fromkeys(_PLAIN, _plain),
        **dict.fromkeys(("integer", "positiveInt", "unsignedInt"), _integer),
        "boolean": _boolean,
        "Coding": _coding,
        "CodeableConcept": _concept,
        "Identifier": _identifier,
        "ContactPoint": _contact,
    }
)


def index(type: str, value: Any) -> Tokens:
    """The tokens, folded texts and typed values of one value of a FHIR type."""
    return TOKENS[type](value)
