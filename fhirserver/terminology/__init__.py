"""Codes: code systems, value sets, concept maps."""
