"""The commands and their arguments, with the help that teaches them."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from fhirserver.cli.arguments_audit import audit
from fhirserver.cli.arguments_oauth import add_oauth_commands

_DESCRIPTION = """\
A FHIR R4 server on MongoDB.

Without a MongoDB URI it runs its own MongoDB in the data folder (.data)."""

_EPILOG = """\
examples:
  fhirserver serve                          a server at http://127.0.0.1:8000/fhir
  fhirserver serve --demo                   the same; a new server gets a demo clinic
  fhirserver load bundles/ patients.ndjson.gz
                                            load files and folders, with progress and a list of what failed
  fhirserver export --output backup/        every resource, one NDJSON file per type
  fhirserver doctor                         what is wrong here, and how to mend it

settings: flags, then FHIRSERVER_* variables, then fhirserver.toml in the current folder, then defaults.
exit codes: 0 done, 1 failed, 2 wrong command line or settings, 3 partly failed, 130 interrupted."""

if TYPE_CHECKING:
    _Commands = argparse._SubParsersAction[argparse.ArgumentParser]


def build_parser() -> argparse.ArgumentParser:
    """The parser of the whole command line."""
    parser = argparse.ArgumentParser(
        "fhirserver", description=_DESCRIPTION, epilog=_EPILOG, formatter_class=_Raw
    )
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    _serve(commands)
    _load(commands)
    _export(commands)
    _reindex(commands)
    _package(commands)
    _terminology(commands)
    _doctor(commands)
    _token(commands)
    text = "The audit log: check it, export it, report on it. `fhirserver audit ACTION --help` says more."
    audit(
        _add,
        _add(commands, "audit", "check and use the audit log", "fhirserver audit verify", text),
        _database,
    )
    add_oauth_commands(commands, _add, _database)
    _add(
        commands, "openapi", "print the OpenAPI 3.1 document of the API", "fhirserver openapi > openapi.json"
    )
    _add(commands, "version", "print the version", "fhirserver version")
    return parser


class _Raw(argparse.RawDescriptionHelpFormatter):
    """Help of a width that does not depend on the terminal, so that the reference page is stable."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=28, width=100)


def _add(
    commands: _Commands, name: str, summary: str, example: str, text: str = ""
) -> argparse.ArgumentParser:
    return commands.add_parser(
        name,
        help=summary,
        description=text or f"{summary[0].upper()}{summary[1:]}.",
        epilog=f"example:\n  {example}",
        formatter_class=_Raw,
    )


def _port(text: str) -> int:
    number = int(text)
    if not 0 < number < 65536:
        raise ValueError
    return number


def _count(text: str) -> int:
    number = int(text)
    if number < 1:
        raise ValueError
    return number


_port.__name__, _count.__name__ = "port", "number of at least 1"  # argparse names them in its messages


def _database(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--data-dir", type=Path, metavar="DIR", help="folder of the embedded MongoDB (default .data)"
    )
    parser.add_argument(
        "--mongodb-uri", metavar="URI", help="use this MongoDB replica set, not the embedded one"
    )
    parser.add_argument(
        "--config", type=Path, metavar="FILE", help="TOML file of settings (default fhirserver.toml)"
    )


def _client(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--server", metavar="URL", help="base URL of a running server (default http://127.0.0.1:8000/fhir; "
        "where none runs there, one is started on the data folder for the duration)"
    )  # fmt: skip
    parser.add_argument(
        "--token",
        metavar="TOKEN",
        help="access token, if the server asks for one; @FILE reads it from a file",
    )


def _serve(commands: _Commands) -> None:
    text = """\
Runs the server until SIGTERM or Ctrl+C; accepted requests are finished first.

Without --mongodb-uri it starts its own MongoDB in the data folder and stops it at the end. Every request
needs an access token (`fhirserver token`), but for discovery and health; --open asks for none, on loopback."""
    parser = _add(
        commands, "serve", "run the server", "fhirserver serve --port 8080 --workers 2 --demo", text
    )
    parser.add_argument("--host", help="address to listen on (default 127.0.0.1)")
    parser.add_argument("--port", type=_port, help="port to listen on (default 8000)")
    parser.add_argument("--workers", type=_count, metavar="N", help="worker processes (default 1)")
    parser.add_argument(
        "--open",
        dest="open_mode",
        action="store_const",
        const=True,
        help="ask for no token: whoever reaches this machine's loopback may do everything",
    )
    parser.add_argument(
        "--demo",
        action=argparse.BooleanOptionalAction,
        default=False,
        help="fill an empty server with the demo clinic",
    )
    _database(parser)


def _load(commands: _Commands) -> None:
    text = """\
Loads FHIR R4 JSON: Bundles, single resources and NDJSON, plain or .gz; folders are searched; - is stdin.

  transaction Bundle       sent as it is; never split, so one over the server's limit is reported
  batch Bundle             sent in parts where it is over the limit
  collection, searchset    each resource by PUT under its id, or POST without one; as one transaction
                           where entries refer to each other by urn: addresses
  document, message, ...   stored as the Bundle that it is
  resources, NDJSON        by PUT (or POST without id) in batches of 100

Running it again is safe: what was created by POST from the same content is remembered beside the data and
not sent again (--again sends it)."""
    parser = _add(
        commands, "load", "load files into a server", "fhirserver load synthea/ patients.ndjson.gz", text
    )
    parser.add_argument("paths", nargs="+", metavar="PATH", help="files and folders; - reads stdin")
    _client(parser)
    parser.add_argument(
        "--parallel", type=_count, default=4, metavar="N", help="requests at a time (default 4)"
    )
    parser.add_argument("--again", action="store_true", help="also send what an earlier run has created")
    parser.add_argument("--failures", type=Path, metavar="FILE", help="write all failures there, as NDJSON")
    _database(parser)


def _export(commands: _Commands) -> None:
    text = """\
Writes all resources but AuditEvents, which are to be named. That is a disclosure: the audit log says of each patient to whom
the data went, where and what for, before the files appear under their names."""
    parser = _add(
        commands, "export", "write all resources to NDJSON files, one per type",
        "fhirserver export --output backup/ --type Patient --type Encounter", text,
    )  # fmt: skip
    parser.add_argument("--output", type=Path, required=True, metavar="DIR", help="folder for <Type>.ndjson")
    parser.add_argument("--type", action="append", metavar="TYPE", help="only this type; may be repeated")
    parser.add_argument("--gzip", action="store_true", help="write <Type>.ndjson.gz")
    parser.add_argument(
        "--recipient",
        metavar="WHO",
        help="who gets the files, as Organization/12 or by name (default: your user name at this machine)",
    )
    parser.add_argument(
        "--purpose", default="HOPERAT", metavar="CODE",
        help="what for: HOPERAT (default), HPAYMT, TREAT, PATRQT, HRESCH, PUBHLTH, COC",
    )  # fmt: skip
    _client(parser)
    _database(parser)


def _reindex(commands: _Commands) -> None:
    text = """\
Indexes stored resources again, after a SearchParameter was added or changed. Can be interrupted: the next
run goes on where it stopped. Until it is done, a new parameter is answered as not ready."""
    parser = _add(
        commands, "reindex", "index stored resources again", "fhirserver reindex --type Patient", text
    )
    parser.add_argument("--type", action="append", metavar="TYPE", help="only this type; may be repeated")
    _database(parser)


def _package(commands: _Commands) -> None:
    text = """\
Manages packages of conformance resources: profiles, extensions, search parameters, terminology.

  add PATH...              a FHIR NPM package (.tgz), such a package as a folder, or single .json files; in the
                           order of their dependencies. The same name and version is replaced.
  list                     what is there
  remove NAME[#VERSION]... what nothing else depends on

Running servers take up the change within seconds. Search parameters are not ready until `fhirserver reindex`
has run. Exit code 3: added, but some of its profiles cannot be used; they are named."""
    parser = _add(
        commands, "package", "add, list and remove packages of profiles", "fhirserver package add profiles/clinic", text
    )  # fmt: skip
    parser.add_argument("action", choices=("add", "list", "remove"), help="what to do")
    parser.add_argument("names", nargs="*", metavar="PATH|NAME", help="paths to add, names to remove")
    _database(parser)


def _terminology(commands: _Commands) -> None:
    text = """\
Code systems that are too large to be stored as resources: LOINC, SNOMED CT, CID-10, TUSS and others. Each is
imported from the files of its publisher; none of them ships with the server."""
    actions = _add(
        commands, "terminology", "import, list and remove large code systems",
        "fhirserver terminology import --format loinc Loinc_2.78/ --version 2.78", text,
    ).add_subparsers(dest="action", metavar="ACTION", required=True)  # fmt: skip
    _terminology_import(actions)
    listing = _add(actions, "list", "list the imported code systems", "fhirserver terminology list")
    _database(listing)
    removal = _add(
        actions, "remove", "remove an imported code system",
        "fhirserver terminology remove --system http://loinc.org --version 2.77",
    )  # fmt: skip
    removal.add_argument("--system", required=True, metavar="URL", help="canonical url of the code system")
    removal.add_argument("--version", metavar="V", help="only this version (default: all)")
    _database(removal)


def _terminology_import(actions: _Commands) -> None:
    text = """\
Imports one version of a code system. The version that is there is served until the new one is complete, then
replaced at once; running it again is safe. Running servers use it within seconds.

  loinc        release folder, or Loinc.csv alone: with the folder also hierarchy and linguistic variants
  snomed-rf2   release folder (Snapshot: concepts, descriptions, relationships, language reference sets)
  cid10        folder of CID-10-CAPITULOS, -GRUPOS, -CATEGORIAS, -SUBCATEGORIAS .CSV of DATASUS
  tuss         CSV of a TUSS table: code, term, valid from, valid to
  csv          CSV with the columns code and display; optional: definition, parent, inactive,
               display:<language>; every other column becomes a property
  fhir         a CodeSystem resource as JSON, plain or .gz"""
    parser = _add(
        actions, "import", "import a code system from its files",
        "fhirserver terminology import --format cid10 cid10csv/ --version 2008", text,
    )  # fmt: skip
    parser.add_argument("path", type=Path, metavar="PATH", help="file or folder")
    parser.add_argument(
        "--format", required=True, choices=("loinc", "snomed-rf2", "cid10", "tuss", "csv", "fhir")
    )
    parser.add_argument("--system", metavar="URL", help="canonical url (default: that of the format)")
    parser.add_argument("--version", metavar="V", help="version (default: where the files say it)")
    _database(parser)


def _doctor(commands: _Commands) -> None:
    text = """\
Checks settings, MongoDB (version, replica set), indexes, disk space and clock, and says how to mend
what is wrong. Exit code 0: all well; 3: warnings only; 1: something must be mended."""
    parser = _add(
        commands, "doctor", "check this installation and say how to mend it", "fhirserver doctor", text
    )
    parser.add_argument(
        "--server", metavar="URL", help="also ask this running server (default: the configured one)"
    )
    _database(parser)


def _token(commands: _Commands) -> None:
    parser = _add(
        commands, "token", "mint an access token for the local server",
        "fhirserver token --scope 'system/*.rs' --ttl 3600",
        "Mints an access token for the local server, for development and scripts, and prints it.",
    )  # fmt: skip
    parser.add_argument("--scope", required=True, help="SMART scopes, separated by blanks")
    parser.add_argument(
        "--ttl", type=_count, default=3600, metavar="SECONDS", help="valid for (default 3600)"
    )
    parser.add_argument("--user", metavar="NAME", help="the user whose user/ or patient/ scopes they are")
    parser.add_argument("--patient", metavar="ID", help="the patient that patient/ scopes are about")
    _database(parser)
