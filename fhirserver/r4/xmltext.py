"""XML text in and out, in the JSON shape that the rest of the server works with.

Names, order, attributes and types come from the definitions (`Elements`); no type has a case of its own here.
Reading trusts nothing: no document type, no entities, no other encoding than UTF-8, no network, a limit of
depth, and every element or attribute that the definitions do not know is refused. What is dropped has no
meaning: comments and processing instructions outside narratives, and the place of a schema.
Sources: hl7.org/fhir/R4/xml.html, hl7.org/fhir/R4/json.html
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NoReturn

from lxml import etree  # type: ignore[import-untyped]

from fhirserver.outcome import BadRequest, IssueCode
from fhirserver.r4.elements import Elements
from fhirserver.r4.jsontext import MAX_DEPTH, exact_number, is_deeper
from fhirserver.r4.xmltext_narrative import XHTML, Narratives
from fhirserver.r4.xmltext_write import dump_xml

__all__ = ["dump_xml", "parse_xml"]

FHIR = "http://hl7.org/fhir"
_SCHEMA_LOCATION = "{http://www.w3.org/2001/XMLSchema-instance}schemaLocation"
_DECLARATION = re.compile(rb"""<\?xml[^>]*?encoding\s*=\s*["']([^"'>]*)["']""")
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?")
_NUMBER_TYPES = frozenset(("decimal", "integer", "positiveInt", "unsignedInt"))


def parse_xml(data: bytes, elements: Elements, *, max_depth: int = MAX_DEPTH) -> dict[str, Any]:
    """The resource that the XML text `data` (UTF-8) holds, as parse_json would give it from JSON.

    A value that does not fit its type stays a string: to refuse it is the validator's work. Raises BadRequest
    with one of the codes xml-empty, xml-encoding, xml-doctype, xml-syntax, xml-depth, xml-root,
    xml-unknown-element, xml-unknown-attribute, xml-repeated-element, xml-text, xml-empty-element, with the
    line and the expression. Like libxml2, it takes no single value above 10 million characters.
    """
    root = _tree(data)
    if root.tag.startswith(f"{{{FHIR}}}") and root.tag.partition("}")[2] in elements.resource_types:
        resource = _Reader(elements, max_depth, Narratives(data)).resource(root, root.tag.partition("}")[2])
        if is_deeper(resource, max_depth):
            raise _bad("xml-depth", "The body has too many elements inside each other.")
        return resource
    raise _bad("xml-root", f"The root must be a resource type of R4 in the namespace {FHIR}.", root)


def _tree(data: bytes) -> Any:
    """The root element of a text that is safe to look at."""
    data = data.removeprefix(b"\xef\xbb\xbf")
    if not data.strip():
        raise _bad("xml-empty", "The body is empty.")
    declared = _DECLARATION.match(data)
    try:
        data.decode()
        if declared and declared[1].upper() not in (b"UTF-8", b"UTF8"):
            raise _bad("xml-encoding", "The body must be UTF-8 and say nothing else.")
    except UnicodeDecodeError:
        raise _bad("xml-encoding", "The body must be UTF-8.") from None
    if b"<!DOCTYPE" in data or b"<!ENTITY" in data:
        raise _bad("xml-doctype", "A document type or entity declaration is not accepted.")
    parser = etree.XMLParser(
        encoding="UTF-8", resolve_entities=False, no_network=True, load_dtd=False, huge_tree=False
    )
    try:
        return etree.fromstring(data, parser)
    except etree.XMLSyntaxError as error:
        text = f"The body is not well-formed XML. Line {error.position[0]}, column {error.position[1]}."
        raise _bad("xml-syntax", text) from None


@dataclass(frozen=True, slots=True)
class _Slot:
    """What an XML name means in one type: JSON name, type code, path of its children, whether it repeats."""

    name: str
    code: str
    path: str
    many: bool
    attribute: bool


@lru_cache(maxsize=4096)
def _slots(elements: Elements, path: str) -> Mapping[str, _Slot]:
    return {
        name: _Slot(name, code, element.path or code, element.max != 1, element.xml_attribute)
        for element in elements.children(path)
        for name, code in element.json_names.items()
    }


class _Reader:
    """Turns elements into JSON objects; `max_depth` bounds the recursion."""

    def __init__(self, elements: Elements, max_depth: int, narratives: Narratives) -> None:
        self.elements = elements
        self.max_depth = max_depth
        self.narratives = narratives

    def resource(self, node: Any, type: str, where: str = "", depth: int = 1) -> dict[str, Any]:
        """The resource of an element that bears the name of its type."""
        return {"resourceType": type, **self.members(node, type, where or type, depth)}

    def members(self, node: Any, path: str, where: str, depth: int) -> dict[str, Any]:
        """The properties of the element `node` of the type or backbone element `path`."""
        if depth > self.max_depth:
            raise _bad("xml-depth", "The body has too many elements inside each other.", node, where)
        slots = _slots(self.elements, path)
        found: dict[str, Any] = {}
        for name, value in node.attrib.items():
            slot = slots.get(name)
            if slot is not None and slot.attribute:
                found[name] = value
            elif name != _SCHEMA_LOCATION:
                _refuse_attribute(node, where)
        for child, name in _children(node, where):
            slot = slots.get(name)
            if slot is None or slot.attribute:
                raise _bad("xml-unknown-element", f"{where} has no such element.", child, where)
            if (child.tag == f"{{{XHTML}}}div") != (slot.code == "xhtml"):
                raise _bad("xml-unknown-element", "The element is in the wrong namespace.", child, where)
            self.add(found, slot, child, f"{where}.{slot.name}", depth)
        return found

    def add(self, found: dict[str, Any], slot: _Slot, node: Any, where: str, depth: int) -> None:
        """Put the value of `node` where JSON has it: a property, or an array, and `_property` beside it."""
        values = found.get(slot.name)
        before = found.get("_" + slot.name)
        if not slot.many and (values is not None or before is not None):
            raise _bad("xml-repeated-element", f"{where} may be there once.", node, where)
        index = max(len(values or ()), len(before or ())) if slot.many else 0
        if slot.many:
            where = f"{where}[{index}]"
        if not self.elements.is_primitive(slot.code):
            value = self.complex(node, slot, where, depth)
            if slot.many:
                found.setdefault(slot.name, []).append(value)
            else:
                found[slot.name] = value
            return
        value, extra = self.primitive(node, slot, where, depth)
        if not slot.many:
            found.update({slot.name: value} if value is not None else {})
            found.update({"_" + slot.name: extra} if extra else {})
            return
        _align(found, slot.name, value, index)
        _align(found, "_" + slot.name, extra or None, index)

    def complex(self, node: Any, slot: _Slot, where: str, depth: int) -> dict[str, Any]:
        """The object of an element that is no primitive: a data type, a backbone element, a resource."""
        if self.elements.is_resource(slot.code):
            inside = list(_children(node, where))
            if len(inside) != 1 or node.attrib or inside[0][1] not in self.elements.resource_types:
                raise _bad("xml-unknown-element", f"{where} must hold one resource of R4.", node, where)
            return self.resource(*inside[0], where, depth + 1)
        value = self.members(node, slot.path, where, depth + 1)
        if not value:
            _refuse_empty(node, where)
        return value

    def primitive(self, node: Any, slot: _Slot, where: str, depth: int) -> tuple[Any, dict[str, Any]]:
        """The value of a primitive (None if it has none) and its id and extensions."""
        if slot.code == "xhtml":
            return self.narratives.text(node), {}
        attributes = dict(node.attrib)
        text = attributes.pop("value", None)
        extra: dict[str, Any] = {}
        if attributes or len(node) or (node.text and not node.text.isspace()):
            value = node.attrib.pop("value", None)
            extra = self.members(node, "Element", where, depth + 1)
            if value is not None:
                node.set("value", value)
        if text is None and not extra:
            _refuse_empty(node, where)
        return _value(text, slot.code), extra


def _align(found: dict[str, Any], name: str, value: Any, index: int) -> None:
    """Append to one of the two arrays of a repeating primitive, filling up with null where they need it."""
    if value is None and name not in found:
        return
    array = found.setdefault(name, [])
    array.extend([None] * (index - len(array)))
    array.append(value)


def _children(node: Any, where: str) -> Iterator[tuple[Any, str]]:
    """The child elements with their local names. Refuses text between them and foreign namespaces."""
    text = node.text
    for child in node:
        if text and not text.isspace():
            break
        text = child.tail
        if not isinstance(child.tag, str):  # comment or processing instruction
            continue
        namespace, _, name = child.tag[1:].rpartition("}")
        if namespace != FHIR and (namespace, name) != (XHTML, "div"):
            raise _bad("xml-unknown-element", "The element is not in the namespace of FHIR.", child, where)
        yield child, name
    if text and not text.isspace():
        raise _bad("xml-text", f"{where} has text; FHIR keeps values in attributes.", node, where)


def _value(text: str | None, code: str) -> Any:
    if code == "boolean":
        return {"true": True, "false": False}.get(text or "", text)
    if text is not None and code in _NUMBER_TYPES and _NUMBER.fullmatch(text):
        return exact_number(text)
    return text


def _refuse_attribute(node: Any, where: str) -> NoReturn:
    raise _bad("xml-unknown-attribute", f"{where} has an attribute that R4 does not know.", node, where)


def _refuse_empty(node: Any, where: str) -> NoReturn:
    raise _bad("xml-empty-element", f"{where} is empty; leave it out or give it a value.", node, where)


def _bad(code: str, text: str, node: Any = None, where: str = "") -> BadRequest:
    line = "" if node is None else f" Line {node.sourceline}."
    return BadRequest(text + line, code=code, expression=where and (where,), issue_code=IssueCode.STRUCTURE)
