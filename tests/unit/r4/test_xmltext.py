"""XML text: hl7.org/fhir/R4/xml.html; attacks H2 of the threat table."""

import re
import time
from typing import Any

import pytest

from fhirserver.outcome import BadRequest, NotAcceptable
from fhirserver.r4.elements import Elements
from fhirserver.r4.jsontext import ExactDecimal, dump_json, parse_json
from fhirserver.r4.xmltext import dump_xml, parse_xml

ELEMENTS = Elements.load()
NS = 'xmlns="http://hl7.org/fhir"'
DIV = '<div xmlns="http://www.w3.org/1999/xhtml">'


def read(inside: str, type: str = "Patient") -> dict[str, Any]:
    return parse_xml(f"<{type} {NS}>{inside}</{type}>".encode(), ELEMENTS)


def write(resource: dict[str, Any], *, pretty: bool = False) -> str:
    return dump_xml(resource, ELEMENTS, pretty=pretty).decode()


def refusal(data: str | bytes) -> BadRequest:
    with pytest.raises(BadRequest) as caught:
        parse_xml(data.encode() if isinstance(data, str) else data, ELEMENTS)
    assert caught.value.status == 400
    return caught.value


CASES = [
    ("", {}),
    ('<active value="true"/>', {"active": True}),
    ('<multipleBirthInteger value="2"/>', {"multipleBirthInteger": 2}),
    ('<id value="a"/><birthDate value="2020-01"/>', {"id": "a", "birthDate": "2020-01"}),
    (
        '<name id="n"><given value="A"/><given value="B"/></name>',
        {"name": [{"id": "n", "given": ["A", "B"]}]},
    ),
    (
        '<name><given value="A"/><given id="x" value="B"/><given value="C"/></name>',
        {"name": [{"given": ["A", "B", "C"], "_given": [None, {"id": "x"}, None]}]},
    ),
    (
        '<name><given><extension url="u"><valueCode value="x"/></extension></given><given value="C"/></name>',
        {"name": [{"given": [None, "C"], "_given": [{"extension": [{"url": "u", "valueCode": "x"}]}, None]}]},
    ),
    (
        '<name><given value="C"/><given><extension url="u"><valueCode value="x"/></extension></given></name>',
        {"name": [{"given": ["C", None], "_given": [None, {"extension": [{"url": "u", "valueCode": "x"}]}]}]},
    ),
    (
        '<name><given><extension url="u"><valueCode value="x"/></extension></given></name>',
        {"name": [{"_given": [{"extension": [{"url": "u", "valueCode": "x"}]}]}]},
    ),
    (
        '<birthDate id="b" value="2020"><extension url="u"><valueBoolean value="false"/></extension>'
        "</birthDate>",
        {"birthDate": "2020", "_birthDate": {"id": "b", "extension": [{"url": "u", "valueBoolean": False}]}},
    ),
    (
        '<contained><Organization><id value="o"/></Organization></contained>',
        {"contained": [{"resourceType": "Organization", "id": "o"}]},
    ),
    (
        '<extension id="e" url="u"><extension url="v"><valueDecimal value="1.00"/></extension></extension>',
        {
            "extension": [
                {"id": "e", "url": "u", "extension": [{"url": "v", "valueDecimal": ExactDecimal("1.00")}]}
            ]
        },
    ),
    (
        f'<text><status value="generated"/>{DIV}a &amp; b &lt; &quot;c&quot;<br/><br /> <i>x</i></div>'
        "</text>",
        {
            "text": {
                "status": "generated",
                "div": f"{DIV}a &amp; b &lt; &quot;c&quot;<br/><br /> <i>x</i></div>",
            }
        },
    ),
    (
        "<name><text value=\"&lt;a&gt; &amp; &quot;b&quot; 'c'&#10;&#13;&#9;é 🙂 \"/></name>",
        {"name": [{"text": "<a> & \"b\" 'c'\n\r\té 🙂 "}]},
    ),
]


@pytest.mark.parametrize(("inside", "content"), CASES)
def test_xml_and_json_say_the_same(inside: str, content: dict[str, Any]) -> None:
    resource = {"resourceType": "Patient", **content}
    assert read(inside) == resource
    body = f"<Patient {NS}>{inside}</Patient>" if inside else f"<Patient {NS}/>"
    assert write(resource) == f'<?xml version="1.0" encoding="UTF-8"?>{body}'
    assert parse_xml(write(resource, pretty=True).encode(), ELEMENTS) == resource


def test_elements_are_written_in_the_order_of_the_definition() -> None:
    resource = {
        "birthDate": "2020",
        "name": [{"given": ["B"], "use": "old"}],
        "id": "a",
        "resourceType": "Patient",
    }
    assert write(resource).endswith(
        '<id value="a"/><name><use value="old"/><given value="B"/></name><birthDate value="2020"/></Patient>'
    )
    assert read('<birthDate value="2020"/><id value="a"/>')["id"] == "a"


def test_pretty_text_has_one_element_on_a_line() -> None:
    assert write({"resourceType": "Patient", "name": [{"given": ["A"]}]}, pretty=True).split("\n") == [
        '<?xml version="1.0" encoding="UTF-8"?>',
        f"<Patient {NS}>",
        "  <name>",
        '    <given value="A"/>',
        "  </name>",
        "</Patient>",
    ]


@pytest.mark.parametrize(
    "text", ["1.00", "0.010", "1E3", "-0", "12345678901234567890.1", "7", "12.5", "1e-7"]
)
def test_decimal_keeps_its_text(text: str) -> None:
    resource = read(f'<valueQuantity><value value="{text}"/></valueQuantity>', "Observation")
    assert dump_json(resource["valueQuantity"]) == f'{{"value":{text}}}'.encode()
    assert f'<value value="{text}"/>' in write(resource)
    assert dump_xml(parse_json(dump_json(resource)), ELEMENTS) == dump_xml(resource, ELEMENTS)


def test_bundle_holds_resources() -> None:
    inside = (
        '<type value="collection"/><entry><fullUrl value="urn:x"/><resource><Patient><id value="a"/>'
        "</Patient>"
        '</resource></entry><entry><resource><Binary><contentType value="a/b"/></Binary></resource></entry>'
    )
    bundle = read(inside, "Bundle")
    assert bundle["entry"][0]["resource"] == {"resourceType": "Patient", "id": "a"}
    assert write(bundle).endswith(f"{inside}</Bundle>")


def test_values_that_do_not_fit_stay_for_the_validator() -> None:
    assert read('<active value="yes"/><multipleBirthInteger value="+1"/>') == {
        "resourceType": "Patient",
        "active": "yes",
        "multipleBirthInteger": "+1",
    }
    assert read('<birthDate value=""/>')["birthDate"] == ""


def test_comments_and_instructions_and_schema_location_mean_nothing() -> None:
    text = (
        f"\ufeff<?xml version='1.0' encoding='utf-8'?>\n<?style x?><!-- <div> -->\n<Patient {NS} "
        'xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xsi:schemaLocation="a b">'
        '<!-- c --><active\n value="true"><!-- d --></active> \n <?pi x?></Patient><!-- e -->'
    )
    assert parse_xml(text.encode(), ELEMENTS) == {"resourceType": "Patient", "active": True}


def test_prefix_is_as_good_as_a_default_namespace() -> None:
    text = (
        '<f:Patient xmlns:f="http://hl7.org/fhir" xmlns:h="http://www.w3.org/1999/xhtml"><f:text>'
        '<f:status value="generated"/><h:div><h:p class="x">a<!-- c -->b</h:p>tail</h:div>'
        "</f:text></f:Patient>"
    )
    assert (
        parse_xml(text.encode(), ELEMENTS)["text"]["div"] == f'{DIV}<p class="x">a<!-- c -->b</p>tail</div>'
    )


def test_narratives_keep_their_own_text_each() -> None:
    inner = f"{DIV}one <div title='a>b'>&quot;</div><![CDATA[<div>]]></div>"
    text = (
        f"<Bundle {NS}><!-- <div> --><entry><resource><Patient><text>{inner}</text></Patient></resource>"
        "</entry>"
        f"<entry><resource><Patient><text>{DIV}two</div></text></Patient></resource></entry></Bundle>"
    )
    entries = parse_xml(text.encode(), ELEMENTS)["entry"]
    assert entries[0]["resource"]["text"]["div"] == inner
    assert entries[1]["resource"]["text"]["div"] == f"{DIV}two</div>"


@pytest.mark.parametrize(
    ("data", "code"),
    [
        ("", "xml-empty"),
        (" \n", "xml-empty"),
        ("<Patient", "xml-syntax"),
        (f"<Patient {NS}></Group>", "xml-syntax"),
        (f"<Patient {NS}/><Patient {NS}/>", "xml-syntax"),
        (f"<Patient {NS}/>x", "xml-syntax"),
        ("{}", "xml-syntax"),
        (f'<Patient {NS} id="a" id="b"/>', "xml-syntax"),
        (f"<Patient {NS}>&nbsp;</Patient>", "xml-syntax"),
        (f'<Patient {NS}><id value="&#0;"/></Patient>', "xml-syntax"),
        (f'<Patient {NS}><id value="&#x1;"/></Patient>', "xml-syntax"),
        (f'<Patient {NS}><id value="<"/></Patient>', "xml-syntax"),
        ("<Patient/>", "xml-root"),
        ('<Patient xmlns="http://example.org"/>', "xml-root"),
        (f"<Unknown {NS}/>", "xml-root"),
        (f"<DomainResource {NS}/>", "xml-root"),
        (f"<HumanName {NS}/>", "xml-root"),
        (f'<Patient {NS}><unknown value="1"/></Patient>', "xml-unknown-element"),
        (f'<Patient {NS}><name><url value="1"/></name></Patient>', "xml-unknown-element"),
        (f'<Patient {NS}><x:active xmlns:x="urn:x" value="true"/></Patient>', "xml-unknown-element"),
        (f'<Patient {NS}><active xmlns="" value="true"/></Patient>', "xml-unknown-element"),
        (f"<Patient {NS}>{DIV}</div></Patient>", "xml-unknown-element"),
        (f"<Patient {NS}><text><div/></text></Patient>", "xml-unknown-element"),
        (f'<Patient {NS}><birthDate><value value="x"/></birthDate></Patient>', "xml-unknown-element"),
        (f"<Patient {NS}><contained><name/></contained></Patient>", "xml-unknown-element"),
        (f"<Patient {NS}><contained><Group/><Group/></contained></Patient>", "xml-unknown-element"),
        (f"<Patient {NS}><contained/></Patient>", "xml-unknown-element"),
        (f'<Patient {NS}><extension><url value="u"/></extension></Patient>', "xml-unknown-element"),
        (f'<Patient {NS} id="a"/>', "xml-unknown-attribute"),
        (f'<Patient {NS}><active value="true" extra="1"/></Patient>', "xml-unknown-attribute"),
        (f'<Patient {NS}><name value="x"/></Patient>', "xml-unknown-attribute"),
        (f'<Patient {NS}><active value="true"/><active value="true"/></Patient>', "xml-repeated-element"),
        (f'<Patient {NS}><active id="a"/><active id="b"/></Patient>', "xml-repeated-element"),
        (f"<Patient {NS}>text</Patient>", "xml-text"),
        (f'<Patient {NS}><active value="true"/>text</Patient>', "xml-text"),
        (f"<Patient {NS}><active>true</active></Patient>", "xml-text"),
        (f"<Patient {NS}><![CDATA[x]]></Patient>", "xml-text"),
        (f"<Patient {NS}><active/></Patient>", "xml-empty-element"),
        (f"<Patient {NS}><name> </name></Patient>", "xml-empty-element"),
        (
            f'<Observation {NS}><valueQuantity><value value="1e999"/></valueQuantity></Observation>',
            "json-number",
        ),
    ],
)
def test_text_that_is_not_fhir_xml_is_refused(data: str, code: str) -> None:
    assert refusal(data).issues[0].code == code


def test_refusal_names_line_and_expression() -> None:
    error = refusal(
        f'<Patient {NS}>\n<name><given value="A"/></name>\n<name>\n<given foo="A"/></name></Patient>'
    )
    assert error.issues[0].expression == ("Patient.name[1].given[0]",)
    assert error.issues[0].text.endswith("Line 4.")
    assert "Line 2, column" in refusal("<Patient>\n<x></Patient>").issues[0].text


BOMB = "".join(f'<!ENTITY l{n} "{f"&l{n - 1};" * 10}">' for n in range(1, 10))


@pytest.mark.parametrize(
    "data",
    [
        f"<!DOCTYPE Patient><Patient {NS}/>",
        f'<!DOCTYPE Patient SYSTEM "http://127.0.0.1:9/x.dtd"><Patient {NS}/>',
        f'<!DOCTYPE p [<!ENTITY x SYSTEM "file:///etc/passwd">]><Patient {NS}><id value="&x;"/></Patient>',
        f'<!DOCTYPE p [<!ENTITY % x SYSTEM "file:///etc/passwd"> %x;]><Patient {NS}/>',
        f'<!DOCTYPE p [<!ENTITY l0 "lol">{BOMB}]><Patient {NS}><id value="&l9;"/></Patient>',
        f'<!DOCTYPE p [<!ENTITY a "{"a" * 100_000}">]><Patient {NS}><id value="{"&a;" * 10_000}"/></Patient>',
        f'<?xml version="1.0"?>\n<!-- x -->\n<!DOCTYPE p><Patient {NS}/>',
    ],
    ids=["plain", "external", "file", "parameter", "laughs", "quadratic", "late"],
)
def test_document_type_is_refused_before_anything_is_resolved(data: str) -> None:
    started = time.process_time()
    assert refusal(data).issues[0].code == "xml-doctype"
    assert time.process_time() - started < 1


def test_xinclude_is_an_unknown_element() -> None:
    include = (
        '<xi:include xmlns:xi="http://www.w3.org/2001/XInclude" href="file:///etc/passwd" parse="text"/>'
    )
    assert refusal(f"<Patient {NS}>{include}</Patient>").issues[0].code == "xml-unknown-element"
    narrative = read(f'<text><status value="generated"/>{DIV}{include}</div></text>')["text"]["div"]
    assert "root:" not in narrative
    assert "xi:include" in narrative


@pytest.mark.parametrize(
    "data",
    [
        f'<?xml version="1.0" encoding="UTF-7"?><Patient {NS}/>'.encode(),
        f'<?xml version="1.0" encoding="UTF-7"?>+ADw-Patient {NS}/+AD4-'.encode(),
        f"<?xml version='1.0' encoding = 'ISO-8859-1'?><Patient {NS}/>".encode(),
        f"<Patient {NS}/>".encode("utf-16"),
        f"<Patient {NS}/>".encode("utf-16-le"),
        f'<Patient {NS}><id value="\xe9"/></Patient>'.encode("latin-1"),
    ],
)
def test_other_encodings_are_refused(data: bytes) -> None:
    assert refusal(data).issues[0].code in ("xml-encoding", "xml-syntax")


def test_depth_is_limited() -> None:
    def nested(count: int) -> str:
        return '<extension url="u">' * count + "</extension>" * count

    assert refusal(f"<Patient {NS}>{nested(64)}</Patient>").issues[0].code == "xml-depth"
    assert refusal(f"<Patient {NS}>{nested(100_000)}</Patient>").issues[0].code in ("xml-depth", "xml-syntax")
    assert refusal(f"<Patient {NS}>{nested(32)}</Patient>").issues[0].code == "xml-depth"  # 65 levels of JSON
    assert read(nested(31))
    assert (
        refusal(f"<Patient {NS}><text>{DIV}{'<p>' * 10_000}{'</p>' * 10_000}</div></text></Patient>")
        .issues[0]
        .code
        == "xml-syntax"
    )


@pytest.mark.parametrize(
    ("content", "expression"),
    [
        ({"foo": 1}, "Patient.foo"),
        ({"name": {"given": ["A"]}}, "Patient.name"),
        ({"name": ["A"]}, "Patient.name[0]"),
        ({"_name": [{}]}, "Patient.name[0]"),
        ({"name": [{"foo": 1}]}, "Patient.name[0].foo"),
        ({"active": {}}, "Patient.active"),
        ({"contained": [{"resourceType": "Nothing"}]}, "Patient.contained[0]"),
        ({"text": {"div": "<div>no namespace</div>"}}, "Patient.text.div"),
        ({"text": {"div": f"{DIV}</div><script/>"}}, "Patient.text.div"),
        ({"text": {"div": f'<!DOCTYPE d [<!ENTITY a "b">]>{DIV}&a;</div>'}}, "Patient.text.div"),
        ({"name": [{"text": "a\x01b"}]}, "Patient"),
        ({"name": [{"text": "a\ufffe"}]}, "Patient"),
        ({"extension": [{"url": 1}]}, "Patient.extension[0].url"),
    ],
)
def test_what_xml_cannot_show_is_refused(content: dict[str, Any], expression: str) -> None:
    with pytest.raises(NotAcceptable) as caught:
        write({"resourceType": "Patient", **content})
    assert caught.value.issues[0].code == "xml-not-possible"
    assert caught.value.issues[0].expression == (expression,)


def test_unknown_type_cannot_be_written() -> None:
    for resource in ({}, {"resourceType": "Nothing"}, {"resourceType": "HumanName"}, {"resourceType": []}):
        with pytest.raises(NotAcceptable):
            write(resource)


def test_markup_in_values_cannot_break_out() -> None:
    hostile = '"/><script/><!-- ]]> <!DOCTYPE x> &amp; &#0;'
    text = write({"resourceType": "Patient", "name": [{"text": hostile}]})
    assert re.search(r"<(script|!--|!DOCTYPE)", text) is None
    assert parse_xml(text.encode(), ELEMENTS)["name"][0]["text"] == hostile
