"""Narrative.div: well-formed XHTML of the allowed elements and attributes, nothing active or external.

Refused besides what the list leaves out: DTDs, entities and processing instructions, links with a scheme
other than http, https, mailto and tel, images that are not embedded, styles that load or run something.
Source: hl7.org/fhir/R4/narrative.html#xhtml
"""

from __future__ import annotations

import re
from typing import Any
from xml.parsers import expat

from fhirserver.outcome import IssueCode
from fhirserver.validation.problems import Problem, Problems, Scope, unsafe, wrong_type, wrong_value

XHTML = "http://www.w3.org/1999/xhtml "
DIV = f"{XHTML}div"
IMG = f"{XHTML}img"
MAX_DEPTH = 200
"""As deep may elements be nested: less than what XML parsers take by default."""
DECLARATION = re.compile(r"<!(?!--)|<!--?-?>")
"""DTDs, CDATA, and comments that HTML parsers end earlier than XML parsers: what follows would be live."""
TEXT = re.compile(r">\s*[^<\s&]")
ELEMENT_NAMES = """
a abbr acronym address area b bdo big blockquote br caption cite code col colgroup dd dfn div dl dt
em h1 h2 h3 h4 h5 h6 hr i img kbd li map ol p pre q samp small span strong sub sup table tbody td
tfoot th thead tr tt ul var
"""
ATTRIBUTE_NAMES = """
abbr accesskey align alt axis border cellpadding cellspacing char charoff charset cite class colspan
coords dir frame headers height href hreflang id ismap lang longdesc name nowrap rel rev rowspan
rules scope shape space span src style summary tabindex target title type usemap valign width
"""
ELEMENTS = frozenset(XHTML + name for name in ELEMENT_NAMES.split())
XML = "http://www.w3.org/XML/1998/namespace "
ATTRIBUTES = frozenset(ATTRIBUTE_NAMES.split()) | {f"{XML}id", f"{XML}lang", f"{XML}space"}
LINKS = frozenset({"href", "cite", "longdesc", "usemap"})
INERT = ATTRIBUTES - LINKS - {"src", "style"}
SCHEME = re.compile(r"[^/?#]*?:")
SAFE_SCHEMES = frozenset({"http:", "https:", "mailto:", "tel:", "urn:", "ftp:"})
_DATA = r"data:\s*image/(?:png|jpe?g|gif|webp|bmp|tiff)\s*;\s*base64,[A-Za-z0-9+/=\s]*"
IMAGE_DATA = re.compile(_DATA, re.IGNORECASE)
STYLE_DATA = re.compile(rf"url\(\s*{_DATA}\)", re.IGNORECASE)
ACTIVE_STYLE = re.compile(
    r"url\s*\(|expression\s*\(|@import|javascript:|behaviou?r\s*:|-moz-binding|\\|/\*|<", re.IGNORECASE
)
BLANKS = re.compile(r"[\x00-\x20\x7f-\xa0]+")

FORBIDDEN = (
    "Only the formatting elements of XHTML, links, lists, tables and images are allowed in a narrative."
)
NOT_XHTML = (
    'The div must be well-formed XML with one root, <div xmlns="http://www.w3.org/1999/xhtml">; '
    "write characters or &#160; instead of named entities."
)


def check_div(value: Any, scope: Scope) -> Problems | None:
    """A check for the string in Narrative.div."""
    if type(value) is not str:
        return wrong_type(value, str)
    if "<?" in value or ("<!" in value and DECLARATION.search(value)):
        text = "A narrative has no DTD, no CDATA section and no processing instruction."
        return unsafe("narrative-forbidden-markup", text)
    names: dict[str, None] = {}
    attributes: list[list[str]] = []
    if not _read(value, names, attributes) or next(iter(names)) != DIV:
        return wrong_value("narrative-not-xhtml", NOT_XHTML)
    if not names.keys() <= ELEMENTS:
        return unsafe("narrative-forbidden-element", FORBIDDEN)
    for pairs in attributes:
        for index in range(0, len(pairs), 2):
            if pairs[index] not in INERT and (problems := _attribute(pairs[index], pairs[index + 1])):
                return problems
    if IMG not in names and _blank(value):
        text = "The narrative SHALL have some non-whitespace content. (txt-2)"
        return [Problem("invariant-txt-2", IssueCode.INVARIANT, text)]
    return None


def _read(text: str, names: dict[str, None], attributes: list[list[str]]) -> bool:
    """Collect the names of the elements, the root first, and their attributes (name, value, name, value ...).

    False if the text is not well-formed or nested too deep. There is no DTD, so no entity can be expanded.
    """

    def start(name: str, pairs: list[str]) -> None:
        names[name] = None
        if pairs:
            attributes.append(pairs)

    parser = expat.ParserCreate(namespace_separator=" ")
    parser.ordered_attributes = True
    parser.StartElementHandler = start
    try:
        parser.Parse(text, True)
    except (expat.ExpatError, ValueError):
        return False
    return text.count("<") <= MAX_DEPTH or _shallow(text)


def _shallow(text: str) -> bool:
    """False if elements are nested deeper than MAX_DEPTH."""
    depth = deepest = 0

    def start(name: str, attributes: dict[str, str]) -> None:
        nonlocal depth, deepest
        depth += 1
        deepest = max(deepest, depth)

    def end(name: str) -> None:
        nonlocal depth
        depth -= 1

    parser = expat.ParserCreate()
    parser.StartElementHandler = start
    parser.EndElementHandler = end
    parser.Parse(text, True)
    return deepest <= MAX_DEPTH


def _blank(text: str) -> bool:
    """True if a well-formed narrative has no text besides white space."""
    if "<!" not in text and TEXT.search(text):
        return False
    parser = expat.ParserCreate()
    found: list[str] = []
    parser.CharacterDataHandler = found.append
    parser.Parse(text, True)
    return not "".join(found).strip()


def _attribute(name: str, content: str) -> Problems | None:
    if name not in ATTRIBUTES:
        text = "Only formatting attributes are allowed in a narrative: no event handlers, no scripts."
        return unsafe("narrative-forbidden-attribute", text)
    if name in LINKS:
        scheme = SCHEME.match(BLANKS.sub("", content))
        if scheme is not None and scheme.group().lower() not in SAFE_SCHEMES:
            return unsafe(
                "narrative-unsafe-link", "A link in a narrative uses http, https, mailto, tel or #."
            )
    elif name == "src":
        source = BLANKS.sub("", content)
        external = source.startswith(("//", "\\")) or SCHEME.match(source) is not None
        if external and not IMAGE_DATA.fullmatch(content):
            text = "An image in a narrative is embedded: #id, a relative URL, or data:image/ with base64."
            return unsafe("narrative-external-image", text)
    elif name == "style" and ACTIVE_STYLE.search(STYLE_DATA.sub("", content)):
        return unsafe("narrative-active-style", "A style in a narrative may not load or run anything.")
    return None
