"""Regular expressions from a client: those that are taken, and those that could be slow."""

from __future__ import annotations

import pytest

from fhirserver.outcome import NotSupported
from fhirserver.terminology.patterns import LONGEST, safe_pattern


@pytest.mark.parametrize(
    ("pattern", "matches", "misses"),
    [
        ("[A-Z]{3}", "BRL", "BR"),
        ("[0-9]{3}", "076", "x76"),
        ("A0[0-9](\\.[0-9])?", "A00.1", "A001"),
        ("(abc|def)x*", "defxx", "abdx"),
        ("([A-Z]{3})+", "ABCDEF", "ABCD"),
        ("(a|b)+", "abba", "abc"),
        ("a.*b.*", "axxbxx", "ba"),
    ],
)
def test_a_pattern_is_taken(pattern: str, matches: str, misses: str) -> None:
    assert safe_pattern(pattern).fullmatch(matches)
    assert not safe_pattern(pattern).fullmatch(misses)


@pytest.mark.parametrize(
    "pattern",
    [
        "(a+)+", "(a*)*b", "(ab|a)+", "(a?){30}", "a?" * 9, ".*" * 4, "(?=a)", "(?<!a)b", "(a)\\1", "(?P<n>a)(?P=n)",
        "(", "[", "a{1,5000}", "x" * (LONGEST + 1), "(?i:a+)+", "(" * 150,
    ],
)  # fmt: skip
def test_a_pattern_is_refused(pattern: str) -> None:
    with pytest.raises(NotSupported) as refused:
        safe_pattern(pattern)
    assert refused.value.issues[0].code == "regex-not-supported"
