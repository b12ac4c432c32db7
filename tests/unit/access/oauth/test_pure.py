"""Pure parts: delays, buckets, forms, addresses, words."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pyotp
import pytest
from starlette.requests import Request

from fhirserver.access.oauth.buckets import Buckets, Busy
from fhirserver.access.oauth.lockout import delay
from fhirserver.access.oauth.request import Malformed, check_characters, read_form, read_pairs
from fhirserver.access.oauth.signin import matching_step, needs_factor
from fhirserver.console.pages import Pages, language_of, shown_date
from fhirserver.console.scopewords import explained
from fhirserver.console.typewords import TYPES
from fhirserver.console.words import WORDS
from fhirserver.http.oauth_desk import peer
from fhirserver.settings import Settings


def test_the_wait_grows_and_ends() -> None:
    waits = [delay(failures).total_seconds() for failures in (0, 4, 5, 6, 7, 9, 10, 1000)]
    assert waits == [0, 0, 30, 60, 120, 480, 900, 900]


def test_a_bucket_fills_again_with_time() -> None:
    now = [0.0]
    buckets = Buckets(60, lambda: now[0])
    for _ in range(60):
        buckets.take("a")
    with pytest.raises(Busy) as busy:
        buckets.take("a")
    assert busy.value.seconds == 1
    buckets.take("b")
    now[0] += 1
    buckets.take("a")
    with pytest.raises(Busy):
        buckets.take("a")


@pytest.mark.parametrize(
    ("body", "found"),
    [
        (b"a=1&b=", {"a": "1", "b": ""}),
        (b"a=%C3%A7+x", {"a": "ç x"}),
        (b"", {}),
        (b"scope=a&scope=b", {"scope": "a b"}),
    ],
)
def test_forms_are_read(body: bytes, found: dict[str, str]) -> None:
    assert read_pairs(body, repeated=("scope",)) == found


@pytest.mark.parametrize(
    "body", [b"a=1&a=2", b"a=%00", b"a=%ff", b"\xff=1", b"a=1&" * 101, b"a=" + b"x" * 70000]
)
def test_forms_that_mean_two_things_are_refused(body: bytes) -> None:
    with pytest.raises(Malformed):
        read_pairs(body)


def test_only_forms_are_forms() -> None:
    assert read_form("application/x-www-form-urlencoded; charset=utf-8", b"a=1") == {"a": "1"}
    for kind in ("", "application/json", "multipart/form-data; boundary=x", "text/plain"):
        with pytest.raises(Malformed):
            read_form(kind, b"a=1")
    check_characters({"client_id": "a-b", "state": "ç"})
    for value in ('a"b', "a\\b", "ç", "a\nb"):
        with pytest.raises(Malformed):
            check_characters({"client_id": value})


def asked(client: str, forwarded: str) -> Request:
    headers = [(b"x-forwarded-for", forwarded.encode())] if forwarded else []
    return Request({"type": "http", "client": (client, 1), "headers": headers})


@pytest.mark.parametrize(
    ("client", "forwarded", "expected"),
    [
        ("203.0.113.9", "198.51.100.1", "203.0.113.9"),
        ("10.0.0.1", "", "10.0.0.1"),
        ("10.0.0.1", "198.51.100.1", "198.51.100.1"),
        ("10.0.0.1", "1.1.1.1, 198.51.100.1", "198.51.100.1"),
        ("10.0.0.1", "198.51.100.1, 10.0.0.2", "198.51.100.1"),
        ("10.0.0.1", "nonsense", "10.0.0.1"),
        ("10.0.0.1", "198.51.100.1, nonsense", "10.0.0.1"),
    ],
)
def test_only_trusted_proxies_say_who_asks(client: str, forwarded: str, expected: str) -> None:
    import ipaddress

    assert peer(asked(client, forwarded), [ipaddress.ip_network("10.0.0.0/8")]) == expected


def test_a_network_that_is_none_is_refused_at_the_start() -> None:
    with pytest.raises(ValueError, match="trusted_proxies"):
        Settings(trusted_proxies=["everywhere"])


def test_codes_count_one_step_back_and_ahead() -> None:
    seed, now = pyotp.random_base32(), datetime(2026, 1, 1, tzinfo=UTC)
    step = int(now.timestamp()) // 30
    totp = pyotp.TOTP(seed)
    for offset, found in ((-2, None), (-1, step - 1), (0, step), (1, step + 1), (2, None)):
        code = totp.generate_otp(step + offset)
        others = {totp.generate_otp(step + near) for near in (-1, 0, 1)}
        if found is not None or code not in others:
            assert matching_step(seed, code, now) == found
    assert matching_step(seed, "é", now) is None
    assert matching_step(seed, "", now + timedelta(days=1)) is None


def test_who_needs_a_second_factor() -> None:
    assert [role for role in ("admin", "auditor", "billing", "custodian", "manager", "patient", "practitioner", "reception")
            if needs_factor([role], None)] == ["admin", "auditor", "custodian", "manager", "practitioner"]  # fmt: skip
    assert needs_factor(["patient"], "SEED")


def test_both_languages_say_everything() -> None:
    assert WORDS["pt"].keys() == WORDS["en"].keys()
    assert TYPES["pt"].keys() == TYPES["en"].keys()


@pytest.mark.parametrize(
    ("accept", "chosen", "expected"),
    [("en-US,en;q=0.9", "", "en"), ("pt-BR", "", "pt"), ("", "", "pt"), ("fr, en;q=0.5, pt;q=0.4", "", "en"),
     ("en", "pt", "pt"), ("en", "xx", "en"), ("de", "", "pt"), ("en;q=x, pt", "", "pt")],
)  # fmt: skip
def test_the_language_is_the_browsers_or_the_chosen_one(accept: str, chosen: str, expected: str) -> None:
    assert language_of(accept, chosen) == expected


@pytest.mark.parametrize(
    ("iso", "pt", "en"),
    [
        ("1980-05-07", "07/05/1980", "7 May 1980"),
        ("1980-05", "05/1980", "May 1980"),
        ("1980", "1980", "1980"),
        ("", "", ""),
    ],
)
def test_dates_are_shown_as_people_write_them(iso: str, pt: str, en: str) -> None:
    assert (shown_date(iso, "pt"), shown_date(iso, "en")) == (pt, en)


def test_scopes_are_told_in_plain_words_the_widest_first() -> None:
    lines = explained(
        ["openid", "patient/Observation.rs?category=a%26b", "patient/*.cruds", "user/Appointment.write"], "en"
    )
    assert [line.title for line in lines] == [
        "See, add, change and delete all health data of the person",
        "See test results and vital signs",
        "Add, change and delete appointments",
        "Know who you are",
    ]
    assert [line.wide for line in lines] == [True, False, False, False]
    assert "now and what comes later" in lines[0].detail
    assert "category=a&b" in lines[1].detail
    assert explained(["patient/Basic.r"], "pt")[0].title == "Ver Basic"


def test_values_of_a_page_are_escaped() -> None:
    html = Pages().login(
        "pt", app="<script>alert(1)</script>", username='"><b>', error=None, txn="t", csrf="c", switch="/x"
    )
    assert "<script>" not in html
    assert "<b>" not in html
