"""Narrative.div: well-formed XHTML of the allowed elements and attributes, without anything active or external.

Refused besides what the list leaves out: DTDs, entities and processing instructions, links with a scheme other than
http, https, mailto and tel, images that are not embedded, styles that load or run something.
Source: hl7.org/fhir/R4/narrative.html#xhtml
"""

from __future__ import annotations

import re
from typing import Any

from lxml import etree

from fhirserver.outcome import IssueCode
from fhirserver.validation.problems import Problem, Problems, Scope, unsafe, wrong_type, wrong_value

XHTML = "{http://www.w3.org/1999/xhtml}"
DIV = f"{XHTML}div"
ELEMENTS = frozenset(
    XHTML + name
    for name in [
        "a",
        "abbr",
        "acronym",
        "address",
        "area",
        "b",
        "bdo",
        "big",
        "blockquote",
        "br",
        "caption",
        "cite",
        "code",
        "col",
        "colgroup",
        "dd",
        "dfn",
        "div",
        "dl",
        "dt",
        "em",
        "h1",
        "h2",
        "h3",
        "h4",
        "h5",
        "h6",
        "hr",
        "i",
        "img",
        "kbd",
        "li",
        "map",
        "ol",
        "p",
        "pre",
        "q",
        "samp",
        "small",
        "span",
        "strong",
        "sub",
        "sup",
        "table",
        "tbody",
        "td",
        "tfoot",
        "th",
        "thead",
        "tr",
        "tt",
        "ul",
        "var",
    ]
)
ATTRIBUTES = frozenset(
    [
        "abbr",
        "accesskey",
        "align",
        "alt",
        "axis",
        "border",
        "cellpadding",
        "cellspacing",
        "char",
        "charoff",
        "charset",
        "cite",
        "class",
        "colspan",
        "coords",
        "dir",
        "frame",
        "headers",
        "height",
        "href",
        "hreflang",
        "id",
        "ismap",
        "lang",
        "longdesc",
        "name",
        "nowrap",
        "rel",
        "rev",
        "rowspan",
        "rules",
        "scope",
        "shape",
        "space",
        "span",
        "src",
        "style",
        "summary",
        "tabindex",
        "target",
        "title",
        "type",
        "usemap",
        "valign",
        "width",
        "{http://www.w3.org/XML/1998/namespace}id",
        "{http://www.w3.org/XML/1998/namespace}lang",
        "{http://www.w3.org/XML/1998/namespace}space",
    ]
)
LINKS = frozenset({"href", "cite", "longdesc", "usemap"})
SCHEME = re.compile(r"[^/?#]*?:")
SAFE_SCHEMES = frozenset({"http:", "https:", "mailto:", "tel:", "urn:", "ftp:"})
_DATA = r"data:\s*image/(?:png|jpe?g|gif|webp|bmp|tiff)\s*;\s*base64,[A-Za-z0-9+/=\s]*"
IMAGE_DATA = re.compile(_DATA, re.IGNORECASE)
STYLE_DATA = re.compile(rf"url\(\s*{_DATA}\)", re.IGNORECASE)
ACTIVE_STYLE = re.compile(
    r"url\s*\(|expression\s*\(|@import|javascript:|behaviou?r\s*:|-moz-binding|\\|/\*|<", re.IGNORECASE
)
BLANKS = re.compile(r"[\x00-\x20\x7f-\xa0]+")

NOT_XHTML = 'The div must be well-formed XML with one root <div xmlns="http://www.w3.org/1999/xhtml">.'


def check_div(value: Any, scope: Scope) -> Problems | None:
    """A check for the string in Narrative.div."""
    if type(value) is not str:
        return wrong_type(value, str)
    if "<!D" in value or "<!E" in value or "<?" in value:
        text = "A narrative has no DTD, no entities of its own and no processing instructions."
        return unsafe("narrative-forbidden-markup", text)
    root = _parse(value)
    if root is None:
        return wrong_value("narrative-not-xhtml", NOT_XHTML)
    if root.tag != DIV:
        return wrong_value("narrative-not-xhtml", NOT_XHTML)
    images = False
    for element in root.iter():
        tag = element.tag
        if tag not in ELEMENTS:
            if tag is etree.Comment:
                continue
            text = "Only the formatting elements of XHTML, links, lists, tables and images are allowed in a narrative."
            return unsafe("narrative-forbidden-element", text)
        if tag == f"{XHTML}img":
            images = True
        for name, content in element.items():
            problems = _attribute(name, content)
            if problems is not None:
                return problems
    if not images and not "".join(root.itertext()).strip():
        text = "The narrative SHALL have some non-whitespace content. (txt-2)"
        return [Problem("invariant-txt-2", IssueCode.INVARIANT, text)]
    return None


def _parse(text: str) -> etree._Element | None:
    """The root element, None if the text is not well-formed. No entity is expanded, nothing is fetched."""
    parser = etree.XMLParser(resolve_entities=False, no_network=True, load_dtd=False, huge_tree=False)
    try:
        return etree.fromstring(text, parser)
    except (etree.XMLSyntaxError, ValueError):
        return None


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
            text = "An image in a narrative is embedded: #id of a contained resource, a relative URL or data:image/."
            return unsafe("narrative-external-image", text)
    elif name == "style" and ACTIVE_STYLE.search(STYLE_DATA.sub("", content)):
        return unsafe("narrative-active-style", "A style in a narrative may not load or run anything.")
    return None
