"""Narratives are safe to show. Source: hl7.org/fhir/R4/narrative.html#xhtml.

Rule: whatever passes can be put into an HTML page as it is, without running or loading anything.
"""

from __future__ import annotations

import pytest

from tests.unit.validation.kit import changed, validator

ROOT = '<div xmlns="http://www.w3.org/1999/xhtml">{}</div>'

ATTACKS = [
    "<iframe src='https://a.example'/>",
    "<object data='x'/>",
    "<embed src='x'/>",
    "<link rel='stylesheet' href='x'/>",
    "<style>p { color: red }</style>",
    "<base href='https://a.example'/>",
    "<meta http-equiv='refresh' content='0'/>",
    "<form action='x'><button>a</button></form>",
    "<math xmlns='http://www.w3.org/1998/Math/MathML'><mi>a</mi></math>",
    "<h:script xmlns:h='http://www.w3.org/1999/xhtml'>x()</h:script>",
    "<SCRIPT>x()</SCRIPT>",
    "<p ONCLICK='x()'>a</p>",
    "<p onmouseover='x()'>a</p>",
    "<p style='width: expression(x())'>a</p>",
    "<p style='behavior: url(#x)'>a</p>",
    "<p style='background: URL (x)'>a</p>",
    "<p style='background: u/**/rl(x)'>a</p>",
    "<p style='background: url(data:image/svg+xml;base64,YQ==)'>a</p>",
    "<a href='java&#x9;script:x()'>a</a>",
    "<a href='&#1;javascript:x()'>a</a>",
    "<a href='vbscript:x()'>a</a>",
    "<a href='file:///etc/passwd'>a</a>",
    "<img src='javascript:x()'/>",
    "<img src='\\\\a.example\\a.png'/>",
    "<img src='data:text/html,a'/>",
    "<blockquote cite='javascript:x()'>a</blockquote>",
    "<!---><script>x()</script>-->a",
    "<p>a</p><!DOCTYPE x>",
    "</div><div>",
]


@pytest.mark.parametrize("content", ATTACKS)
def test_an_attack_is_refused(content: str) -> None:
    text = {"status": "generated", "div": ROOT.format("a" + content)}
    [issue] = validator().validate(changed("Patient", {"text": text}))
    assert issue.expression == ("Patient.text.div",)
    assert issue.code.startswith("narrative-")


def test_entities_are_not_expanded() -> None:
    lol = "".join(f'<!ENTITY l{n} "' + f"&l{n - 1};" * 10 + '">' for n in range(1, 9))
    text = {"status": "generated", "div": f'<!DOCTYPE d [<!ENTITY l0 "a">{lol}]>' + ROOT.format("&l8;")}
    [issue] = validator().validate(changed("Patient", {"text": text}))
    assert issue.code == "narrative-forbidden-markup"


@pytest.mark.parametrize(
    "content",
    [
        "a &amp; b &lt; c &#160; ç",
        "<h1>a</h1><p id='x' class='y' title='z &quot;' dir='ltr'>a<br/>b</p><hr/>",
        "<table border='1'><thead><tr><th colspan='2'>a</th></tr></thead><tr><td/></tr></table>",
        "<ul><li>a <b>b</b> <i>c</i></li></ul><dl><dt>d</dt><dd>e</dd></dl>",
        "<a name='x'>a</a><a href='Patient/1'>b</a><a href='tel:+5511'>c</a><a href='?a=b:c'>d</a>",
        "<p style='color: red; background-image: url(data:image/png;base64,YQ==)'>a</p>",
        "<!-- a - b > c --><p>a</p>",
    ],
)
def test_formatting_is_accepted(content: str) -> None:
    text = {"status": "generated", "div": ROOT.format(content)}
    assert validator().validate(changed("Patient", {"text": text})) == []
