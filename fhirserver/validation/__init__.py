"""Checks resources against the R4 definitions, compiled once per type to plain Python closures."""

from fhirserver.validation.validator import Validator

__all__ = ["Validator"]
