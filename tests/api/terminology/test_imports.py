"""`fhirserver terminology` on a running server: what is imported is served at once, by every operation."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.kit import codefiles
from tests.kit.client import Fhir, assert_outcome
from tests.kit.server import Server
from tests.kit.terminology import codes, told

LOINC = "http://loinc.org"
ICD = "http://hl7.org/fhir/sid/icd-10"


def terminology(server: Server, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {k: v for k, v in os.environ.items() if not k.startswith("FHIRSERVER_")}
    command = [
        sys.executable,
        "-m",
        "fhirserver",
        "terminology",
        *arguments,
        "--data-dir",
        str(server.data_dir),
    ]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)


def imported(server: Server, format: str, path: Path, version: str, *more: str) -> str:
    done = terminology(server, "import", "--format", format, str(path), "--version", version, *more)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_loinc_is_imported_searched_replaced_and_removed(server: Server, fhir: Fhir, tmp_path: Path) -> None:
    assert "5 concepts of http://loinc.org|2.78 imported" in imported(
        server, "loinc", codefiles.loinc(tmp_path / "loinc"), "2.78"
    )
    whole = {"url": f"{LOINC}/vs"}
    assert set(codes(fhir.get("/ValueSet/$expand", params=whole))) == {
        "29463-7",
        "8302-2",
        "1000-9",
        "LP1",
        "LP2",
    }
    assert codes(fhir.get("/ValueSet/$expand", params=whole | {"filter": "peso"})) == ["29463-7"]
    lookup = {"system": LOINC, "code": "29463-7", "displayLanguage": "pt-BR"}
    assert told(fhir.get("/CodeSystem/$lookup", params=lookup))["display"] == "Peso corporal"
    asked = {"url": "http://hl7.org/fhir/ValueSet/observation-codes", "system": LOINC, "code": "8302-2"}
    assert told(fhir.get("/ValueSet/$validate-code", params=asked))["result"]
    assert not told(fhir.get("/ValueSet/$validate-code", params=asked | {"code": "8302-3"}))["result"]
    below = {"system": LOINC, "codeA": "LP1", "codeB": "8302-2"}
    assert told(fhir.get("/CodeSystem/$subsumes", params=below))["outcome"] == "subsumes"
    listed = terminology(server, "list")
    assert "http://loinc.org|2.78  5 concepts" in listed.stdout
    removed = terminology(server, "remove", "--system", LOINC)
    assert (removed.returncode, removed.stdout) == (0, "1 version removed\n")
    assert_outcome(fhir.get("/CodeSystem/$lookup", params=lookup), 404, "not-found", "code-system-unknown")
    again = terminology(server, "remove", "--system", LOINC)
    assert again.returncode == 2
    assert "no such imported code system" in again.stderr


def test_search_reaches_below_an_imported_code(server: Server, fhir: Fhir, tmp_path: Path) -> None:
    imported(server, "cid10", codefiles.cid10(tmp_path / "cid"), "2008")
    condition = fhir.made(
        {
            "resourceType": "Condition",
            "subject": {"display": "someone"},
            "code": {"coding": [{"system": ICD, "code": "A00.0"}]},
        }
    )
    found = [f"Condition/{condition['id']}"]
    assert fhir.ids(f"/Condition?code:below={ICD}|A00-A09") == found
    assert fhir.ids(f"/Condition?code:below={ICD}|J11") == []
    assert fhir.ids(f"/Condition?code:in={ICD}?fhir_vs=isa/I") == found


def test_a_broken_file_is_refused_and_nothing_changes(server: Server, fhir: Fhir, tmp_path: Path) -> None:
    wards = "urn:test:wards"
    file = codefiles.table(tmp_path / "wards.csv")
    imported(server, "csv", file, "1", "--system", wards)
    broken = codefiles.table(tmp_path / "broken.csv", "x,y,z,nowhere,,,")
    refused = terminology(
        server, "import", "--format", "csv", str(broken), "--version", "1", "--system", wards
    )
    assert refused.returncode == 1
    assert "nothing was imported" in refused.stderr
    assert "line 5: the parent is not a code of this table" in refused.stderr
    lookup = {"system": wards, "code": "icu"}
    assert told(fhir.get("/CodeSystem/$lookup", params=lookup))["display"] == "UTI"
