"""Every example of the package through JSON and XML: hl7.org/fhir/R4/json.html and xml.html."""

import json
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from lxml import etree

from fhirserver.r4.elements import Elements
from fhirserver.r4.jsontext import dump_json, parse_json
from fhirserver.r4.xmltext import dump_xml, parse_xml
from tests.kit.package import package_dir

ELEMENTS = Elements.load()
SHARDS = 16
DEFINITIONS = (
    "CapabilityStatement-",
    "CodeSystem-",
    "CompartmentDefinition-",
    "ConceptMap-",
    "NamingSystem-",
    "OperationDefinition-",
    "SearchParameter-",
    "StructureDefinition-",
    "StructureMap-",
    "ValueSet-",
)
LARGE = 800_000  # bytes: what is above are Bundles of definitions
LARGE_DEFINITION = 20_000  # definitions above it repeat what smaller ones show


@cache
def files() -> list[Path]:
    """All files of the package with a resource, without the large definitions."""
    found = [
        path for path in sorted(package_dir().glob("*.json")) if not path.name.startswith((".", "package"))
    ]
    limits = {True: LARGE_DEFINITION, False: LARGE}
    return [path for path in found if path.stat().st_size < limits[path.name.startswith(DEFINITIONS)]]


def shard(number: int) -> list[Path]:
    return files()[number::SHARDS]


def with_number_texts(data: bytes) -> Any:
    """The JSON value as another reader sees it, every number as its text."""
    return json.loads(data, parse_int=str, parse_float=str)


def test_there_are_as_many_examples_as_the_package_has() -> None:
    assert len(files()) > 4_000
    assert sum(not path.name.startswith(DEFINITIONS) for path in files()) > 700
    assert len({path.name.split("-")[0] for path in files()} & ELEMENTS.resource_types) >= 135


@pytest.mark.parametrize("number", range(SHARDS))
def test_json_is_read_and_written_unchanged(number: int) -> None:
    for path in shard(number):
        data = path.read_bytes()
        value = parse_json(data)
        written = dump_json(value)
        assert with_number_texts(written) == with_number_texts(data), path.name
        assert dump_json(parse_json(written)) == written, path.name
        assert parse_json(dump_json(value, pretty=True)) == value, path.name


@pytest.mark.parametrize("number", range(SHARDS))
def test_xml_and_back_is_the_same_resource(number: int) -> None:
    for path in shard(number):
        value = parse_json(path.read_bytes())
        xml = dump_xml(value, ELEMENTS)
        again = parse_xml(xml, ELEMENTS)
        assert same(value, again), path.name
        assert dump_xml(again, ELEMENTS) == xml or b"\r" in xml, path.name
        assert same(value, parse_xml(dump_xml(value, ELEMENTS, pretty=True), ELEMENTS)), path.name


def same(one: Any, other: Any) -> bool:
    """Equal to the last digit; narratives with a bare carriage return, if they mean the same as XML."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, str):
        return one == other or ("\r" in one and canonical(one) == canonical(other))
    return dump_json(one) == dump_json(other)


def canonical(narrative: str) -> bytes:
    return bytes(etree.tostring(etree.fromstring(narrative), method="c14n"))


def test_a_lost_digit_or_element_would_be_noticed() -> None:
    value = parse_json(b'{"a":[1.00,{"b":"x"}]}')
    assert same(value, parse_json(b'{"a":[1.00,{"b":"x"}]}'))
    for changed in (
        b'{"a":[1.0,{"b":"x"}]}',
        b'{"a":[1.00]}',
        b'{"a":[1.00,{"b":"y"}]}',
        b'{"a":[1.00,{"b":"x"}],"c":1}',
    ):
        assert not same(value, parse_json(changed))
