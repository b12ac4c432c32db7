"""The password policy. Rules: security.md B12, B13. Source: OWASP ASVS 5.0 6.2."""

from __future__ import annotations

from pathlib import Path

import pytest

from fhirserver.access.oauth import common, passwords
from fhirserver.access.oauth.common import folded, frequent, words
from fhirserver.access.oauth.passwords import (
    PasswordRefused,
    check,
    generated,
    hashed,
    is_outdated,
    is_right,
)

FOLDER = Path(common.__file__).parent / "words"
LONG = "é" * 20 + " uma frase comprida com espaços e acentos, de sessenta e quatro"


def rule(password: str, policy: str = "default", **more: object) -> str:
    try:
        check(password, policy=policy, **more)  # type: ignore[arg-type]
    except PasswordRefused as refused:
        return refused.rule
    return ""


@pytest.mark.parametrize(
    ("password", "expected"),
    [
        ("12345678", "short"), ("eleven chrs", "short"), ("x" * 257, "long"),
        ("password1234", "common"), ("P@ssw0rd!2024", "common"), ("Senha12345678", "common"), ("qwertyuiop12", "common"),
        ("123456789012", "common"), ("abcdefghijkl", "common"), ("aaaaaaaaaaaa", "common"), ("flamengoflamengo1", "common"),
        ("bemvindobrasil1", "common"), ("!!flamengo2024", "common"), ("abababababab", "common"),
        ("correct horse battery staple", "common"), ("987654321098", "common"),
        ("minha avó faz pão às 7h", ""), ("kQ8#vLz2pWn!", ""), (LONG, ""), ("cavalo correto bateria grampo", ""),
    ],
)  # fmt: skip
def test_what_guessing_programs_try_is_refused(password: str, expected: str) -> None:
    assert rule(password) == expected


def test_the_three_thousand_most_frequent_are_refused_as_they_are_and_dressed_up() -> None:
    first = (FOLDER / "passwords.txt").read_text(encoding="utf-8").split()[:3000]
    assert len(set(first)) == 3000
    for word in first:
        assert rule(word) in ("short", "common"), word
        for dressed in (f"{word}!2026!2026", f"#{word.title()}#1234567890"):
            assert rule(dressed) == "common", dressed


def test_the_words_are_in_the_form_that_they_are_compared_in() -> None:
    lists = {
        name: (FOLDER / name).read_text(encoding="utf-8").split() for name in ("passwords.txt", "clinic.txt")
    }
    assert len(lists["passwords.txt"]) == len(frequent()) == 10_000
    for name, listed in lists.items():
        assert [word for word in listed if word != folded(word) or not word.isprintable()] == [], name
    assert set(lists["clinic.txt"]) < words()
    assert {"password", "qwerty", "prontuario"} <= words()


@pytest.mark.parametrize(
    "password", ["wolfgangerl12", "Wolfgangerl-2026!", "erlwolf.99999", "wolfgangerlwolfgangerl"]
)
def test_the_own_name_is_refused(password: str) -> None:
    assert rule(password, personal=("wolfgangerl", "Erlwolf")) == "own-data"
    assert rule(password, personal=("someone.else",)) == ""


def test_the_brazilian_policy_asks_for_four_classes_and_no_old_one() -> None:
    good = "Nuvem lenta 7!"
    assert rule("nuvem lenta pinta 7", "br") == "classes"
    assert rule(good, "br") == ""
    assert rule(good, "br", old=[hashed("Outra frase 8?"), hashed(good)]) == "used"
    assert rule(good, "default", old=[hashed(good)]) == ""


def test_every_character_of_a_long_password_counts() -> None:
    base = "a1 b2 c3 d4 " * 6
    assert len(base.encode()) == 72
    kept = hashed(base + "x")
    assert is_right(kept, base + "x")
    assert not is_right(kept, base + "y")
    assert not is_right(kept, base)


def test_accents_may_be_typed_either_way() -> None:
    kept = hashed("coração de pedra 9")
    assert is_right(kept, "corac\u0327a\u0303o de pedra 9")
    assert not is_right(kept, "coracao de pedra 9")


def test_an_unknown_account_has_no_right_password() -> None:
    assert not is_right(None, "anything at all")
    assert not is_right("", "")
    assert not is_outdated(hashed("nuvem lenta pinta"))


def test_generated_passwords_pass_every_time() -> None:
    made = {generated() for _ in range(50)}
    assert len(made) == 50
    assert [rule(password) for password in made] == [""] * 50


def test_an_unknown_account_costs_as_much_work_as_a_known_one() -> None:
    assert not is_outdated(passwords._DUMMY), "another cost would tell who exists"
    assert not is_right(None, "kQ8#vLz2pWn!")
    assert is_right(hashed("kQ8#vLz2pWn!"), "kQ8#vLz2pWn!")
