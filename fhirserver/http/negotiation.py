"""Which format goes out, which comes in. Source: hl7.org/fhir/R4/http.html#mime-type."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

from fhirserver.outcome import NotAcceptable, UnsupportedMedia


class Format(StrEnum):
    """A format that the server speaks."""

    JSON = "application/fhir+json"
    XML = "application/fhir+xml"


_OUT: Mapping[str, Format] = {
    "*/*": Format.JSON,
    "application/*": Format.JSON,
    "application/fhir+json": Format.JSON,
    "application/json": Format.JSON,
    "application/json+fhir": Format.JSON,
    "text/json": Format.JSON,
    "json": Format.JSON,
    "application/fhir+xml": Format.XML,
    "application/xml": Format.XML,
    "application/xml+fhir": Format.XML,
    "text/xml": Format.XML,
    "xml": Format.XML,
}
JSON_PATCH = "application/json-patch+json"
FORM = "application/x-www-form-urlencoded"


def chosen(accept: str | None, format: str | None) -> Format:
    """The format of the answer: `_format` wins over Accept, higher q wins, JSON where all are equal.

    Raises NotAcceptable (406).
    """
    if format is not None:
        return _named(format.replace(" ", "+"))
    if accept is None or accept in ("*/*", "application/fhir+json", "application/json"):
        return Format.JSON
    best: tuple[float, int, Format] | None = None
    for number, part in enumerate(accept.split(",")[:50]):
        media, parameters = parse_media(part)
        offered = _OUT.get(media)
        if media == "text/html":
            offered = Format.JSON if "*/*" in accept else None
        quality = _quality(parameters.get("q"))
        if offered is None or quality <= 0 or not _version_fits(parameters):
            continue
        if best is None or quality > best[0]:
            best = (quality, number, offered)
    if best is None:
        raise NotAcceptable(
            "The server answers in application/fhir+json and application/fhir+xml, FHIR version 4.0.",
            code="format-unknown",
        )
    return best[2]


def _named(format: str) -> Format:
    media, parameters = parse_media(format)
    offered = _OUT.get(media)
    if offered is None or not _version_fits(parameters):
        raise NotAcceptable(
            "_format is json, xml, application/fhir+json or application/fhir+xml, FHIR version 4.0.",
            code="format-unknown",
        )
    return offered


def of_body(content_type: str | None) -> Format:
    """The format of a request body that holds a resource. Raises UnsupportedMedia (415)."""
    if content_type in ("application/fhir+json", "application/json"):
        return Format.JSON
    media, parameters = parse_media(content_type or "")
    offered = _OUT.get(media) if "/" in media and "*" not in media else None
    charset = parameters.get("charset", "utf-8").strip('"').lower()
    if offered is None or charset not in ("utf-8", "utf8") or not _version_fits(parameters):
        raise UnsupportedMedia(
            "Send application/fhir+json or application/fhir+xml in UTF-8, FHIR version 4.0, and say so in Content-Type.",
            code="media-type-unknown",
        )
    return offered


def parse_media(text: str) -> tuple[str, dict[str, str]]:
    """A media type, lower case, and its parameters."""
    media, *rest = text.split(";")
    pairs = (part.partition("=") for part in rest)
    return media.strip().lower(), {name.strip().lower(): value.strip() for name, _, value in pairs}


def _quality(text: str | None) -> float:
    try:
        return float(text) if text is not None else 1.0
    except ValueError:
        return 0.0


def _version_fits(parameters: Mapping[str, str]) -> bool:
    return parameters.get("fhirversion", "4.0").strip('"') in ("4.0", "4.0.1")
