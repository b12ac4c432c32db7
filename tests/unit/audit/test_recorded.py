"""What an AuditEvent keeps of a query: audit.md 3.1, brazil.md P-07."""

from __future__ import annotations

import base64

import pytest

from fhirserver.audit.recorded import LARGEST, QueryRecorder, code_of
from fhirserver.context import Request
from tests.kit.audit import KEY

RECORDER = QueryRecorder(KEY)
CPF = "52998224725"


def recorded(target: str, form: str = "", **more: object) -> tuple[str, str]:
    request = Request(
        "r-1",
        "POST" if form else "GET",
        target.encode(),
        (("Accept", "application/fhir+json"), ("Prefer", "handling=strict")),
        form.encode(),
    )
    found = QueryRecorder(KEY, **more).record(request)  # type: ignore[arg-type]
    return base64.b64decode(found.query).decode(), found.description


def test_the_request_line_stays_as_it_was_sent() -> None:
    text, description = recorded("/fhir/Observation?code=http%3A%2F%2Floinc.org%7C4548-4&_count=50")
    line = "GET /fhir/Observation?code=http%3A%2F%2Floinc.org%7C4548-4&_count=50"
    assert description == line
    assert text == f"{line}\nAccept: application/fhir+json\nPrefer: handling=strict\nX-Request-Id: r-1"


@pytest.mark.parametrize(
    "pair",
    [
        f"identifier=cpf%7C{CPF}",
        f"identifier={CPF}",
        f"patient.identifier={CPF}",
        f"patient:Patient.identifier={CPF}",
        f"subject:identifier=cpf|{CPF}",
        f"_has:Patient:general-practitioner:identifier={CPF}",
        f"name:exact={CPF}",
        f"phone={CPF}",
        f"address-city={CPF}",
        f"birthdate={CPF}",
        f"_content={CPF}",
        f"_filter=identifier+eq+{CPF}",
    ],
)
def test_a_value_that_identifies_a_person_leaves_no_trace_but_a_token(pair: str) -> None:
    for text in (*recorded(f"/fhir/Patient?{pair}&_sort=name"), *recorded("/fhir/Patient/_search", pair)):
        assert CPF not in text
    text, _ = recorded(f"/fhir/Patient?{pair}&_sort=name")
    assert f"{pair.partition('=')[0]}=h:" in text
    assert "&_sort=name" in text
    assert CPF in recorded(f"/fhir/Patient?{pair}", raw=True)[0], "what raw keeps"


def test_equal_values_have_equal_tokens_and_others_do_not() -> None:
    one = RECORDER.cleaned(f"identifier={CPF}".encode())
    assert RECORDER.cleaned(f"identifier={CPF}".encode()) == one
    assert RECORDER.cleaned(b"identifier=52998224%37" + b"25") == one, "however it was escaped"
    assert RECORDER.cleaned(b"identifier=11144477735") != one
    assert QueryRecorder(b"other" * 8).cleaned(f"identifier={CPF}".encode()) != one


def test_alternatives_have_tokens_of_their_own() -> None:
    both = RECORDER.cleaned(f"identifier={CPF},1".encode()).decode().partition("=")[2].split(",")
    assert both == [RECORDER.token("identifier", CPF), RECORDER.token("identifier", "1")]


@pytest.mark.parametrize(
    "name", ["password", "client_secret", "refresh_token", "access_token", "client_assertion"]
)
def test_secrets_are_starred_out(name: str) -> None:
    for raw in (False, True):
        text, description = recorded(f"/fhir/Patient?{name}=s3cret", raw=raw)
        assert "s3cret" not in text + description
        assert f"{name}=*" in text


def test_a_token_request_keeps_the_values_of_public_parameters_only() -> None:
    form = "grant_type=authorization_code&code=abc&code_verifier=def&client_id=app&Client_Secret=x&y&scope=user%2F*.rs"
    text = base64.b64decode(RECORDER.token_request("POST /auth/token", form).query).decode()
    assert text == (
        "POST /auth/token\n\ngrant_type=authorization_code&code=*&code_verifier=*&client_id=app&Client_Secret=*&y=*"
        "&scope=user%2F*.rs"
    )


def test_a_long_query_is_cut_and_says_so() -> None:
    text, description = recorded("/fhir/Observation?code=" + "1," * LARGEST)
    assert len(text) == LARGEST
    assert description.startswith("truncated; GET /fhir/Observation")


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("identifier", "identifier"),
        ("identifier:of-type", "identifier"),
        ("patient:Patient.name", "name"),
        ("_has:Observation:patient:code", "code"),
        ("a.b.c:x", "c"),
    ],
)
def test_the_last_step_of_a_chain_counts(name: str, code: str) -> None:
    assert code_of(name) == code
