"""Narratives between XML and JSON: the same markup, character by character where that is possible.

Source: hl7.org/fhir/R4/narrative.html, hl7.org/fhir/R4/json.html#xhtml
"""

from __future__ import annotations

import re
from typing import Any

from lxml import etree  # type: ignore[import-untyped]

XHTML = "http://www.w3.org/1999/xhtml"
_DIV = f"{{{XHTML}}}div"
# What can hold "<div" without being a tag, and the tags; "<" cannot stand in an attribute of well-formed XML.
_TAGS = re.compile(
    r"""<!--.*?-->|<!\[CDATA\[.*?\]\]>|<\?.*?\?>
    |(?P<open><div(?=[\s/>])(?:[^>"']|"[^"]*"|'[^']*')*>)|(?P<close></div\s*>)""",
    re.VERBOSE | re.DOTALL,
)


class Narratives:
    """The narratives of one XML text, asked for in document order.

    `data`: the whole text, known to be well-formed UTF-8.
    """

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._written: list[str] | None = None

    def text(self, node: Any) -> str:
        """The narrative `node` as JSON holds it: as written if that means the same alone, else rewritten."""
        if self._written is None:
            self._written = _divs(self._data.decode())
            self._written.reverse()
        meant = etree.tostring(node, method="c14n", exclusive=True, with_tail=False)
        if self._written:
            written = self._written.pop()
            root = _parsed(written)
            if root is not None and etree.tostring(root, method="c14n", exclusive=True) == meant:
                return written
        return _rewritten(node)


def markup(narrative: Any) -> str | None:
    """The narrative of a JSON text, ready to stand in an XML text; None where it is no well-formed div."""
    if not isinstance(narrative, str):
        return None
    text = narrative.strip()
    root = _parsed(text)
    if root is None or root.tag != _DIV:
        return None
    return text if text.startswith("<div") and text.endswith(">") else _rewritten(root)


def _divs(text: str) -> list[str]:
    """The outermost divs of an XML text as they are written, line ends as XML reads them."""
    found: list[str] = []
    depth = start = 0
    for tag in _TAGS.finditer(text):
        if tag["open"]:
            if depth == 0:
                start = tag.start()
            depth += 0 if tag["open"].endswith("/>") else 1
        elif tag["close"]:
            depth -= 1
        else:
            continue
        if depth == 0:
            found.append(text[start : tag.end()].replace("\r\n", "\n").replace("\r", "\n"))
    return found


def _parsed(text: str) -> Any:
    if "<!DOCTYPE" in text or "<!ENTITY" in text:
        return None
    parser = etree.XMLParser(
        encoding="UTF-8", resolve_entities=False, no_network=True, load_dtd=False, huge_tree=False
    )
    try:
        return etree.fromstring(text.encode(errors="replace"), parser)
    except etree.XMLSyntaxError:
        return None


def _rewritten(node: Any) -> str:
    """The narrative with XHTML as its default namespace and no declarations that it does not need."""
    if any(isinstance(part.tag, str) and part.prefix is not None for part in node.iter()):
        node = _without_prefixes(node)
    alone = etree.fromstring(etree.tostring(node, encoding="unicode", with_tail=False))
    etree.cleanup_namespaces(alone)
    return str(etree.tostring(alone, encoding="unicode"))


def _without_prefixes(node: Any) -> Any:
    """A copy of `node` in which XHTML is the default namespace."""
    copy = etree.Element(node.tag, dict(node.attrib), nsmap={None: XHTML})
    copy.text = node.text
    for child in node:
        inner = _without_prefixes(child) if isinstance(child.tag, str) else etree.Comment(child.text)
        inner.tail = child.tail
        copy.append(inner)
    return copy
