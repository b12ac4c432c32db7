"""Builds the tables of r4/ from the published definitions."""
