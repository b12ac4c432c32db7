"""JSON text: RFC 8259, hl7.org/fhir/R4/json.html; attacks D3 and H3 of the threat table."""

import copy
import json
import pickle
import time
from decimal import Decimal

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fhirserver.outcome import BadRequest
from fhirserver.r4.jsontext import (
    ExactDecimal,
    dump_json,
    exact_number,
    number_text,
    parse_json,
    parse_json_object,
)


def refusal(data: bytes, **limits: int) -> BadRequest:
    with pytest.raises(BadRequest) as caught:
        parse_json(data, **limits)
    return caught.value


KEPT_NUMBERS = [
    "7",
    "-7",
    "0",
    "12.5",
    "1.00",
    "0.010",
    "-0",
    "-0.0",
    "0.0",
    "1E3",
    "1e3",
    "1.0e-5",
    "1e16",
    "1e+16",
    "1E400"[:4],
    "12345678901234567890.1",
    "9223372036854775808",
    "18446744073709551615",
    "18446744073709551616",
    "-9223372036854775809",
    "123456789012345678901234567890",
    "0.1",
    "3.14159265358979323846",
    "100.0",
    "1e-300",
]


@pytest.mark.parametrize("text", KEPT_NUMBERS)
def test_number_is_written_as_it_came(text: str) -> None:
    assert dump_json(parse_json(f'{{"a":[{text}]}}'.encode())) == f'{{"a":[{text}]}}'.encode()
    assert number_text(parse_json(text.encode())) == text
    assert number_text(exact_number(text)) == text


def test_usual_numbers_are_plain_and_unusual_ones_exact() -> None:
    value = parse_json(b"[7, 12.5, 1.00, 123456789012345678901]")
    assert [type(number) for number in value] == [int, float, ExactDecimal, ExactDecimal]
    assert value == [7, 12.5, Decimal(1), 123456789012345678901]


def test_exact_decimal_survives_copies() -> None:
    number = ExactDecimal("1.00E2")
    copies = [copy.copy(number), copy.deepcopy([number])[0], pickle.loads(pickle.dumps(number))]  # noqa: S301
    assert [c.text for c in copies] == ["1.00E2"] * 3
    assert number == 100
    assert number + 1 == 101


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"", "json-empty"),
        (b" \n\t", "json-empty"),
        (b"\xef\xbb\xbf{}", "json-encoding"),
        ('{"a":1}'.encode("utf-16"), "json-encoding"),
        ('{"a":1}'.encode("utf-16-le"), "json-encoding"),
        ('{"a":1}'.encode("utf-32"), "json-encoding"),
        (b'{"a":"\xff"}', "json-encoding"),
        (b'{"a":"\xed\xa0\x80"}', "json-encoding"),
        (b'{"a":"\xc0\xaf"}', "json-encoding"),
        (b'{"a":"\\ud800"}', "json-encoding"),
        (b'{"a":"\\udc00\\ud800"}', "json-encoding"),
        (b'{"a":1}x', "json-syntax"),
        (b'{"a":1}{"a":1}', "json-syntax"),
        (b'{"a":1,}', "json-syntax"),
        (b"{'a':1}", "json-syntax"),
        (b'{"a":01}', "json-syntax"),
        (b'{"a":+1}', "json-syntax"),
        (b'{"a":1.}', "json-syntax"),
        (b'{"a":.5}', "json-syntax"),
        (b'{"a":0x1}', "json-syntax"),
        (b'{"a":1 /* */}', "json-syntax"),
        (b'{"a":"\x01"}', "json-syntax"),
        (b'{"a":"\n"}', "json-syntax"),
        (b'{"a":tru}', "json-syntax"),
        (b'{"a":NaN}', "json-number"),
        (b'{"a":Infinity}', "json-number"),
        (b'{"a":-Infinity}', "json-number"),
        (b'{"a":1e400}', "json-number"),
        (b'{"a":1e-400}', "json-number"),
        (b'{"a":0e999999999}', "json-number"),
        (b'{"a":0.' + b"1" * 100 + b"}", "json-number"),
        (b'{"a":' + b"1" * 65 + b"}", "json-number"),
        (b'{"a":"\\u0000"}', "json-control-character"),
        (b'{"a":"\\\\\\u0000"}', "json-control-character"),
        (b'{"a\\u001f":1}', "json-control-character"),
        (b'{"a":"\\b"}', "json-control-character"),
        (b'{"a":"\\f"}', "json-control-character"),
    ],
)
def test_text_that_is_not_strict_json_is_refused(data: bytes, code: str) -> None:
    error = refusal(data)
    assert error.status == 400
    assert error.issues[0].code == code


def test_escapes_that_only_look_forbidden_are_accepted() -> None:
    assert parse_json(b'{"a":"\\\\u0000 \\\\b \\\\f C:\\\\bin \\n\\t\\r\\u0041"}') == {
        "a": "\\u0000 \\b \\f C:\\bin \n\t\rA"
    }


def test_refusal_names_line_and_column_and_nothing_of_the_text() -> None:
    error = refusal('{"naïve":"é",\n  "secret" 1}'.encode())
    assert error.issues[0].text == "The body is not valid JSON. Line 2, column 12."
    error = refusal(b'{"secret":1,\n  "other":1,\n  "secret":1}')
    assert error.issues[0].code == "json-duplicate-key"
    assert "Line 3, column 3." in error.issues[0].text
    assert "secret" not in error.issues[0].text
    error = refusal('{"é":\n "ü\\u0000"}'.encode())
    assert "Line 2, column 4." in error.issues[0].text
    error = refusal(b'{"a":1.0,\n"b":' + b"1" * 70 + b"}")
    assert "Line 2, column 5." in error.issues[0].text
    error = refusal(b'{"a":[\n[[1]]]}', max_depth=3)
    assert (error.issues[0].code, error.issues[0].text[-17:]) == ("json-depth", "Line 2, column 2.")


@pytest.mark.parametrize(
    "data",
    [
        b'{"id":"a","id":"b"}',
        b'{"id":"a","id":"a"}',
        b'{"resourceType":"Patient","resourceType":"Observation"}',
        b'{"id":"a","i\\u0064":"b"}',
        b'{"a":{"b":1,"c":[{"d":1,"d":2}]}}',
        b'{"a\\/b":1,"a/b":2}',
        # attempts to make up for the lost key with text that looks like keys
        b'{"id":"a","id":"\\":"}',
        b'{"id":"a","id":"b","x":"\\",\\"y\\":"}',
        b'{"id":"\\"id\\":","id":"\\"id\\":\\"id\\":"}',
        b'{"id" :"a","id": "b"}',
        b'{"":1,"":2}',
    ],
)
def test_duplicate_key_is_refused(data: bytes) -> None:
    assert refusal(data).issues[0].code == "json-duplicate-key"


@pytest.mark.parametrize(
    "text",
    [
        '{"id":"a","ID":"b"}',
        '{"a":{"id":1},"b":{"id":1}}',
        '{"a":"\\"id\\":1,\\"id\\":2"}',
        '{"a":"\\\\","b":"\\\\\\\\"}',
        '{"a":"{\\"x\\":1.00}","b":": 1.00"}',
        '{"é":"\\u00e9","e":"\\/"}',
        '[{"id":1},{"id":1}]',
    ],
)
def test_same_key_in_different_objects_is_accepted(text: str) -> None:
    assert parse_json(text.encode()) == json.loads(text)
    assert parse_json(f" [\n{text} ,\t{text}\r\n] ".encode()) == [json.loads(text)] * 2


def test_depth_is_limited_without_recursion() -> None:
    assert parse_json(b"[" * 64 + b"]" * 64)
    assert parse_json(b'{"a":' * 64 + b"1" + b"}" * 64)
    for data in (
        b"[" * 65 + b"]" * 65,
        b'{"a":' * 65 + b"1" + b"}" * 65,
        b"[" * 300 + b"]" * 300,
        b"[" * 100_000,
    ):
        assert refusal(data).issues[0].code == "json-depth"
    balanced_by_strings = b'["]",' * 65 + b"1" + b',"["]' * 65
    assert refusal(balanced_by_strings).issues[0].code == "json-depth"
    assert refusal(b"[[[]]]", max_depth=2).issues[0].code == "json-depth"
    assert parse_json(b"[" + b"[]," * 500 + b"[]]")


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b'{"a":' + b"1" * 5_000_000 + b"}", "json-number"),
        (b'{"a":0.' + b"1" * 5_000_000 + b"}", "json-number"),
        (b'{"a":[' + b"null," * 999_999 + b"null]}", "json-values"),
        (b'{"a":[' + b"null," * 100_000 + b"null]}", "json-nulls"),
        (b'{"' + b"a" * 1_000_000 + b'":1}', "json-key"),
        (b'{"' + b"\\u0061" * 200_000 + b'":1}', "json-key"),
        (b'{"a":"' + b"\\\\" * 2_000_000 + b'\\u0000"}', "json-control-character"),
        (b"[" * 5_000_000, "json-values"),
        (b"[" * 900_000, "json-depth"),
        (b"[" + b"[]," * 400_000 + b"[" * 65 + b"]" * 66, "json-depth"),
        (b"[" + b"1," * 5_000_000 + b"1.00]", "json-values"),
    ],
    ids=lambda value: value if isinstance(value, str) else f"{len(value)} bytes",
)
def test_document_built_to_exhaust_is_refused(data: bytes, code: str) -> None:
    started = time.process_time()
    assert refusal(data).issues[0].code == code
    assert time.process_time() - started < 2  # a bound against runaway work, not a measurement


def test_large_document_of_usual_content_is_accepted() -> None:
    value = {"a": [{"text": "x" * 5000, "null": "null", "n": [None, 1.5]}] * 200}
    assert parse_json(orjson.dumps(value)) == value


def test_object_is_required_where_the_caller_needs_one() -> None:
    assert parse_json_object(b'{"a":1}') == {"a": 1}
    with pytest.raises(BadRequest) as caught:
        parse_json_object(b"[]")
    assert caught.value.issues[0].code == "json-not-object"


def test_dump_writes_pretty_and_refuses_what_json_cannot_hold() -> None:
    assert dump_json({"a": [ExactDecimal("1.00")]}, pretty=True) == b'{\n  "a": [\n    1.00\n  ]\n}'
    assert dump_json(Decimal("1.10")) == b"1.10"
    for value in (Decimal("NaN"), object(), {1: 2}):
        with pytest.raises(TypeError):
            dump_json(value)


@pytest.mark.parametrize(
    "text", ["", "01", "1.", "+1", "1e", "NaN", " 1", "1\n", "\u0661", "1e999", "1" * 65]
)
def test_exact_number_refuses_what_is_no_number(text: str) -> None:
    with pytest.raises(BadRequest) as caught:
        exact_number(text)
    assert caught.value.issues[0].code == "json-number"


# ---- properties: against the standard library as the judge

_text = st.text(st.characters(blacklist_categories=("Cs", "Cc")), max_size=6) | st.sampled_from(
    ['":', '"', "\\", '\\"', "{", "}", "[", "null", ": 1.00", ',"a":', "\\u0000", "\n\t\r"]
)
_number = st.sampled_from(KEPT_NUMBERS) | st.from_regex(
    r"-?(0|[1-9][0-9]{0,20})(\.[0-9]{1,20})?", fullmatch=True
)
_space = st.sampled_from(["", "", "", " ", "\n", "\r\n  ", "\t"])


@st.composite
def _string(draw: st.DrawFn) -> str:
    return json.dumps(draw(_text), ensure_ascii=draw(st.booleans())).replace(
        "/", draw(st.sampled_from(["/", "\\/"]))
    )


@st.composite
def _document(draw: st.DrawFn, depth: int = 3) -> str:
    kind = draw(st.sampled_from(["string", "number", "word"] + ["object", "array"] * bool(depth) * 2))
    if kind == "string":
        return draw(_string())
    if kind == "number":
        return draw(_number)
    if kind == "word":
        return draw(st.sampled_from(["true", "false", "null"]))
    comma = draw(_space) + "," + draw(_space)
    if kind == "array":
        return (
            "["
            + draw(_space)
            + comma.join(draw(st.lists(_document(depth - 1), max_size=3)))
            + draw(_space)
            + "]"
        )
    members = draw(st.lists(st.tuples(_string(), _document(depth - 1)), max_size=4))
    colon = draw(_space) + ":" + draw(_space)
    return "{" + draw(_space) + comma.join(key + colon + value for key, value in members) + "}"


class _Duplicate(Exception):
    pass


def _judge(pairs: list[tuple[str, object]]) -> dict[str, object]:
    if len(dict(pairs)) != len(pairs):
        raise _Duplicate
    return dict(pairs)


@settings(max_examples=400, deadline=None)
@given(_document())
def test_value_and_number_texts_are_those_of_the_text(text: str) -> None:
    try:
        exact = json.loads(text, object_pairs_hook=_judge, parse_int=str, parse_float=str)
    except _Duplicate:
        assert refusal(text.encode()).issues[0].code == "json-duplicate-key"
        return
    written = dump_json(parse_json(text.encode()))
    assert json.loads(written, parse_int=str, parse_float=str) == exact
    assert dump_json(parse_json(written)) == written


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=30) | _document(2).map(lambda text: text.encode()[:-1]))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    try:
        parse_json(data)
    except BadRequest as error:
        code = error.issues[0].code
    else:
        code = "json-read"
    assert code.startswith("json-")
