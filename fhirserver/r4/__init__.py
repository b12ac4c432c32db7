"""FHIR R4 itself: definitions, paths, dates, references, text formats; no storage and no HTTP."""
