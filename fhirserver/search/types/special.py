"""Special parameters.

Location `near`. Stored: `geo`, a GeoJSON point. Source: hl7.org/fhir/R4/location.html#search.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from fhirserver.outcome import InvalidSearchValue
from fhirserver.search.types.escapes import split, unescape

DEFAULT_METRES = 10_000.0
_METRES = {"km": 1000.0, "m": 1.0, "[mi_i]": 1609.344, "mi": 1609.344, "[ft_i]": 0.3048, "": 1000.0}


@dataclass(frozen=True, slots=True)
class NearValue:
    """A circle: degrees north and east (WGS84), metres."""

    latitude: float
    longitude: float
    metres: float


def parse_near(text: str) -> NearValue:
    """A search text.

    `latitude|longitude[|distance[|units]]`; without a distance 10 km, without units kilometres.

    Raises InvalidSearchValue (search-value-near).
    """
    parts = [unescape(part) for part in split(text, "|")]
    try:
        latitude, longitude = float(parts[0]), float(parts[1])
        unit = parts[3] if len(parts) > 3 else ""
        metres = float(parts[2]) * _METRES[unit] if len(parts) > 2 and parts[2] else DEFAULT_METRES
    except (ValueError, IndexError, KeyError):
        latitude = longitude = metres = math.nan
    if len(parts) > 4 or not _on_earth(latitude, longitude) or not 0 <= metres < math.inf:
        raise InvalidSearchValue(
            "near takes latitude|longitude|distance|units, in degrees and km, m or [mi_i].",
            code="search-value-near",
        )
    return NearValue(latitude, longitude, metres)


def index_position(value: Any) -> dict[str, Any] | None:
    """The point of a Location.position, None when it is not on the earth."""
    if not isinstance(value, dict) or "latitude" not in value or "longitude" not in value:
        return None
    latitude, longitude = float(value["latitude"]), float(value["longitude"])
    if not _on_earth(latitude, longitude):
        return None
    return {"type": "Point", "coordinates": [longitude, latitude]}


def _on_earth(latitude: float, longitude: float) -> bool:
    return -90 <= latitude <= 90 and -180 <= longitude <= 180
