"""Folding of strings. Covers hl7.org/fhir/R4/search.html#string."""

import unicodedata

import pytest

from fhirserver.search.fold import fold, plain_text, words


@pytest.mark.parametrize(
    ("text", "folded"),
    [
        ("Silva", "silva"),
        ("SÃO  João\tda\nBoa Vista ", "sao joao da boa vista"),
        ("Conceição", "conceicao"),
        ("Conceic\u0327a\u0303o", "conceicao"),
        ("Straße", "strasse"),
        ("\uff21\uff22\uff23", "abc"),
        ("\u0391\u03a3 \u03c2", "\u03b1\u03c3 \u03c3"),
        ("İzmir", "izmir"),
        ("ﬁm", "fim"),
        ("a\u00a0b", "a b"),
        ("", ""),
        ("  ", ""),
    ],
)
def test_case_accents_and_blanks_do_not_matter(text: str, folded: str) -> None:
    assert fold(text) == folded
    assert fold(fold(text)) == folded


def test_different_letters_stay_different() -> None:
    assert fold("Silva") != fold("Sylva")
    assert fold("a-b") != fold("a b")


def test_words_are_folded_distinct_and_bounded() -> None:
    assert words("Dor no Peito, dor; PEITO_2 " + "x" * 65) == ["dor", "no", "peito", "peito_2"]
    assert words("Pressão pressao") == ["pressao"]
    assert words("") == []


def test_a_narrative_loses_its_tags() -> None:
    assert words(plain_text("<div><b>Dor</b>&nbsp;&amp; febre&#225; &#xE1; &#55296; <p>x</p></div>")) == [
        "dor",
        "febrea",
        "a",
        "x",
    ]


def test_folding_twice_changes_nothing_and_leaves_no_mark() -> None:
    for code in range(0x3100):
        folded = fold(f"a{chr(code)}b")
        assert fold(folded) == folded, hex(code)
        assert not any(unicodedata.combining(c) for c in folded), hex(code)
