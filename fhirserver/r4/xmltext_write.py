"""Resources as XML text, elements and attributes in the order of their definitions.

Source: hl7.org/fhir/R4/xml.html
"""

from __future__ import annotations

import re
from typing import Any

from fhirserver.outcome import NotAcceptable
from fhirserver.r4.elements import Element, Elements
from fhirserver.r4.jsontext import number_text
from fhirserver.r4.xmltext_narrative import markup

FHIR = "http://hl7.org/fhir"
_IMPOSSIBLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")
_ESCAPES = str.maketrans(
    {"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "\n": "&#10;", "\r": "&#13;", "\t": "&#9;"}
)


def dump_xml(resource: dict[str, Any], elements: Elements, *, pretty: bool = False) -> bytes:
    """The XML text (UTF-8) of a resource in JSON shape; numbers as they came, narratives as they are.

    `pretty`: two spaces of indent. Raises NotAcceptable xml-not-possible, with the expression, for what XML
    cannot show: an unknown type or property, a character that XML forbids, a narrative that is no XHTML.
    """
    writer = _Writer(elements, pretty)
    writer.resource(resource, 0, f' xmlns="{FHIR}"', "")
    text = "".join(writer.parts)
    if _IMPOSSIBLE.search(text):
        raise _impossible("A string holds a character that XML forbids.", str(resource["resourceType"]))
    return text.encode()


class _Writer:
    """Collects the parts of the text."""

    def __init__(self, elements: Elements, pretty: bool) -> None:
        self.elements = elements
        self.pretty = pretty
        self.parts = ['<?xml version="1.0" encoding="UTF-8"?>']

    def line(self, depth: int, text: str) -> None:
        """One tag, on a line of its own where the text is pretty."""
        self.parts.append("\n" + "  " * depth + text if self.pretty else text)

    def resource(self, value: Any, depth: int, namespace: str, where: str) -> None:
        """A resource as the element that bears its type's name."""
        name = value.get("resourceType") if isinstance(value, dict) else None
        if not isinstance(name, str) or name not in self.elements.resource_types:
            raise _impossible("No resource of R4.", where or "Resource")
        self.object(name, value, name, depth, where or name, namespace)

    def object(
        self, tag: str, value: Any, path: str, depth: int, where: str, attributes: str = "", text: str = ""
    ) -> None:
        """The element `tag` with the properties of `value`; `text`: its value attribute, ready to write."""
        if not isinstance(value, dict):
            raise _impossible("Not an object.", where)
        written = {"resourceType"} if depth == 0 or path in self.elements.resource_types else set()
        content: list[tuple[str, str, Element]] = []
        for element in self.elements.children(path):
            for name, code in element.json_names.items():
                if element.xml_attribute and name in value:
                    if not isinstance(value[name], str):
                        raise _impossible("Not a string.", f"{where}.{name}")
                    attributes += f' {name}="{value[name].translate(_ESCAPES)}"'
                    written.add(name)
                elif name in value or "_" + name in value:
                    content.append((name, code, element))
                    written.update((name, "_" + name))
        if unknown := value.keys() - written:
            raise _impossible("R4 does not know a property.", f"{where}.{min(unknown)[:64]}")
        start = f"<{tag}{attributes}{text}"
        if not content:
            self.line(depth, start + "/>")
            return
        self.line(depth, start + ">")
        for name, code, element in content:
            self.property(name, code, element, value, depth + 1, where)
        self.line(depth, f"</{tag}>")

    def property(self, name: str, code: str, element: Element, parent: Any, depth: int, where: str) -> None:
        """All elements of one property of `parent`."""
        value, extra = parent.get(name), parent.get("_" + name)
        where = f"{where}.{name}"
        if element.max == 1:
            self.one(name, code, element, value, extra, depth, where)
            return
        values = [] if value is None else value
        extras = [] if extra is None else extra
        if not isinstance(values, list) or not isinstance(extras, list):
            raise _impossible("Not an array.", where)
        for index in range(max(len(values), len(extras))):
            value = values[index] if index < len(values) else None
            extra = extras[index] if index < len(extras) else None
            self.one(name, code, element, value, extra, depth, f"{where}[{index}]")

    def one(
        self, name: str, code: str, element: Element, value: Any, extra: Any, depth: int, where: str
    ) -> None:
        """One element, from its value and its id and extensions."""
        if self.elements.is_primitive(code):
            self.primitive(name, code, value, extra, depth, where)
        elif extra is not None:
            raise _impossible("Only a primitive has a property with an underscore.", where)
        elif self.elements.is_resource(code):
            self.line(depth, f"<{name}>")
            self.resource(value, depth + 1, "", where)
            self.line(depth, f"</{name}>")
        else:
            self.object(name, value, element.path or code, depth, where)

    def primitive(self, name: str, code: str, value: Any, extra: Any, depth: int, where: str) -> None:
        """A primitive: value in an attribute, extensions inside."""
        if code == "xhtml":
            narrative = markup(value)
            if narrative is None:
                raise _impossible("The narrative is no well-formed XHTML div.", where)
            self.line(depth, narrative)
            return
        if value is None:
            text = ""
        elif isinstance(value, bool):
            text = "true" if value else "false"
        elif isinstance(value, str):
            text = value.translate(_ESCAPES)
        elif isinstance(value, (dict, list)):
            raise _impossible("Not a primitive.", where)
        else:
            text = number_text(value)
        text = "" if value is None else f' value="{text}"'
        if extra is None and value is not None:
            self.line(depth, f"<{name}{text}/>")
        elif extra:
            self.object(name, extra, "Element", depth, where, text=text)
        else:
            raise _impossible("An empty primitive.", where)


def _impossible(text: str, where: str) -> NotAcceptable:
    return NotAcceptable(
        f"This resource cannot be shown as XML: {text} Ask for JSON.",
        code="xml-not-possible",
        expression=where,
    )
