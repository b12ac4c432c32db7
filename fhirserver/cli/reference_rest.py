"""docs/reference/rest.md: every route and operation, from the tables that route the requests."""

from __future__ import annotations

from fhirserver.engine.routes import COMPARTMENTS, ROUTES
from fhirserver.operations import OPERATIONS

_PAGE = """\
# REST interface

FHIR R4 (4.0.1) below `/fhir`. `GET /fhir/metadata` says the same for programs (CapabilityStatement), and so does
`/openapi.json` (OpenAPI 3.1; `/docs` shows it). Generated from the route table by `make docs`.

## Routes

`{{type}}` is any of the resource types of R4. HEAD works wherever GET does.

| method | path below `/fhir` | interaction | what |
|---|---|---|---|
"""
_OPERATIONS = """
Compartments: {compartments}. `*` as the type of a compartment search stands for all types in it.

## Operations

| name | called on | by | what |
|---|---|---|---|
"""
_PROSE = """
## Formats

- `application/fhir+json` and `application/fhir+xml`, in and out, also as `application/json`, `application/xml`, `text/json`,
  `text/xml`; `_format=json|xml` wins over `Accept`. Others: 406 going out, 415 coming in. Bodies are UTF-8. The parameter
  `fhirVersion` may be 4.0. `_pretty=true` indents.
- `Content-Encoding: gzip` or `deflate` is accepted; `Accept-Encoding: gzip` is honoured from 1,400 bytes on.
- A Binary comes and goes in its own format too: `POST /Binary` with any other Content-Type stores the bytes, and a read that
  accepts that type by name gets them back, as an attachment in a sandbox.
- Numbers keep their text: 1.00 stays 1.00, on every way.

## Writing

- `If-Match: W/"3"` on update, patch and delete: 412 where the current version is another.
- `If-None-Match: *` on update: 412 where the resource exists. On a read, an ETag of the current version or an
  `If-Modified-Since` that is not older gives 304.
- `If-None-Exist: identifier=system|value` on create: the match is answered with 200, several with 412. Update, patch and
  delete with criteria in the query instead of an id act on the one match; several are 412; without a match an update creates, a
  patch is 404, a delete is 204. Requests with the same criteria wait for each other, others do not.
- An update to an id that is free creates it (201). A deleted resource answers 410; its history stays, and an update brings
  it back.
- A patch is JSON Patch (`application/json-patch+json`), or FHIRPath Patch: a Parameters resource.
- `Prefer: return=minimal`, `representation` or `OperationOutcome`; a single write answers with the representation, an entry of
  a Bundle without. `Prefer: handling=lenient` ignores search parameters that do not exist and says which; the default is strict.

## Bundles

`POST /fhir` takes a `batch` or a `transaction`. Entries are carried out in the order DELETE, POST, PUT and PATCH, GET. In a
transaction all entries take effect or none; `fullUrl`s of entries and conditional references (`Patient?identifier=...`) are
replaced by the references that result; two entries may not change the same resource. Entries answer with status, location,
etag and lastModified; a GET also with its resource.

## History

`_since`, `_at` and `_count`. Newest first; deletions are entries without a resource. The response of an entry says 201 where
the version created the resource, also after a deletion.

## Root

| path | what |
|---|---|
| `/healthz` | 200 while the process lives |
| `/readyz` | 200 when it can serve; 503 with the reasons while the database does not answer or an index is missing |
| `/metrics` | [metrics](metrics.md) for Prometheus; on this machine alone, or with `FHIRSERVER_METRICS_TOKEN` |
| `/openapi.json`, `/docs` | the OpenAPI document and its pages; on this machine alone, or with `FHIRSERVER_DOCS=true` |
"""


def rest_page() -> str:
    """The page."""
    page = [_PAGE.replace("{{", "{").replace("}}", "}")]
    for route in ROUTES:
        kind = f"{route.kind.value}, transaction" if route.kind.value == "batch" else route.kind.value
        page.append(f"| {route.method} | `{route.path}` | {kind} | {route.summary} |\n")
    page.append(_OPERATIONS.format(compartments=", ".join(COMPARTMENTS)))
    for operation in OPERATIONS.values():
        places = ", ".join(operation.levels) + (
            f" of {', '.join(operation.types)}" if operation.types else ""
        )
        page.append(
            f"| `${operation.name}` | {places} | {', '.join(operation.methods)} | {operation.summary} |\n"
        )
    page.append(_PROSE)
    return "".join(page)
