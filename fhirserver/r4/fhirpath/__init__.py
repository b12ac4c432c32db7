"""FHIRPath as the invariants of profiles need it: expressions compiled to closures over FHIR JSON.

`evaluate` has the two entrances. `model` knows the types, `values` and `temporal` and `quantities` the values
of the System types, `compile` turns the syntax tree of r4/paths into closures, `functions_*` hold the
functions by name. What is left out stands in docs/explanation/fhirpath.md.
Source: hl7.org/fhirpath/N1, hl7.org/fhir/R4/fhirpath.html
"""
