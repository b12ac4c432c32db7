"""How long validation takes: by type, with profiles known, against a sliced profile, and beside fhir.resources.

`python -m tests.benchmarks.validation [--rounds N] [--out FILE]` (make bench-validation). All contenders run in turn
within each round and are timed by the processor time they use, so that their ratios hold on a busy machine; the figure
of each is its best round.
"""

from __future__ import annotations

import argparse
import json
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable, Mapping
from io import BytesIO
from pathlib import Path
from typing import Any

import orjson
from fhir.resources.R4B.claim import Claim
from fhir.resources.R4B.patient import Patient

from fhirserver.r4.packages import load_package
from fhirserver.terminology import Terminology
from fhirserver.validation import Validator
from fhirserver.validation.profiles import Profiles
from tests.benchmarks.processes import machine
from tests.kit.package import package_dir

Json = dict[str, Any]
BASE = "http://hl7.org/fhir/StructureDefinition/"
OWN = "https://fhirserver.example/StructureDefinition/bench-patient"
CPF = "https://fhirserver.example/cpf"
DEFINITIONS = 1000
TARGETS = (  # row, field, how it compares, target
    ("Patient, type alone", "us", "<", 60),
    ("Claim, type alone", "us", "<", 250),
    ("Patient, sliced profile", "ratio", "<", 4),
    ("Patient, fhir.resources", "ratio", ">=", 3),
    ("Claim, fhir.resources", "ratio", ">=", 3),
    ("package of 1000 definitions", "seconds", "<", 20),
)


def sliced_profile() -> Json:
    """A patient as a clinic wants it: slices of identifiers and telecoms, patterns, bounds, an invariant."""

    def element(id_: str, **more: Any) -> Json:
        path = ".".join(step.partition(":")[0] for step in id_.split("."))
        name = id_.rpartition(".")[2].partition(":")[2]
        return {"id": id_, "path": path} | ({"sliceName": name} if name else {}) | more

    by_system = {"discriminator": [{"type": "value", "path": "system"}], "rules": "open"}
    digits = {
        "key": "cpf-1",
        "severity": "error",
        "human": "11 digits",
        "expression": "matches('^[0-9]{11}$')",
    }
    rows = [
        element("Patient.identifier", slicing=by_system, min=1),
        element("Patient.identifier:cpf", min=1, max="1"),
        element("Patient.identifier:cpf.system", min=1, fixedUri=CPF),
        element("Patient.identifier:cpf.value", min=1, maxLength=11, constraint=[digits]),
        element("Patient.identifier:cns", max="1"),
        element("Patient.identifier:cns.system", min=1, fixedUri="https://fhirserver.example/cns"),
        element("Patient.identifier:cns.value", min=1, maxLength=15),
        element("Patient.telecom", slicing=by_system),
        element("Patient.telecom:phone", min=1),
        element("Patient.telecom:phone.system", min=1, fixedCode="phone"),
        element("Patient.telecom:phone.value", min=1),
        element("Patient.name", min=1),
        element("Patient.name.given", min=1),
        element("Patient.gender", min=1),
        element("Patient.birthDate", min=1, minValueDate="1890-01-01"),
        element("Patient.address.country", fixedString="BR"),
    ]
    return {
        "resourceType": "StructureDefinition",
        "url": OWN,
        "type": "Patient",
        "kind": "resource",
        "baseDefinition": BASE + "Patient",
        "derivation": "constraint",
        "differential": {"element": rows},
    }


def example(name: str) -> Json:
    """An example of the definitions package."""
    resource: Json = orjson.loads((package_dir() / f"{name}.json").read_bytes())
    return resource


def patient() -> Json:
    """Patient-example without its extensions, with a CPF, so that it keeps to the profile."""
    resource = example("Patient-example")
    del resource["_birthDate"], resource["contact"]
    resource["identifier"] = [{"system": CPF, "value": "12345678909", "use": "official"}]
    resource["address"][0]["country"] = "BR"
    resource["address"][0].pop("district", None)
    return resource


def contenders() -> dict[str, Callable[[], Any]]:
    """What is timed, by name."""
    terminology = Terminology.of_shipped()
    knowing = Validator(profiles=Profiles.of([sliced_profile()], terminology=terminology))
    plain = Validator()
    whole, claim, own = example("Patient-example"), example("Claim-100150"), patient()
    claiming = own | {"meta": {"profile": [OWN]}}
    for validator, resource in ((plain, whole), (plain, claim), (knowing, claiming)):
        if validator.validate(resource):
            raise ValueError("what is timed must be valid")
    return {
        "Patient, type alone": lambda: plain.validate(whole),
        "Patient, extensions by their definitions": lambda: knowing.validate(whole),
        "Patient, fhir.resources": lambda: Patient.model_validate(whole),
        "Claim, type alone": lambda: plain.validate(claim),
        "Claim, no profile claimed": lambda: knowing.validate(claim),
        "Claim, fhir.resources": lambda: Claim.model_validate(claim),
        "clinic's Patient, type alone": lambda: plain.validate(own),
        "Patient, sliced profile": lambda: knowing.validate(claiming),
    }


BASELINES = {
    "Patient, extensions by their definitions": "Patient, type alone",
    "Patient, fhir.resources": "Patient, type alone",
    "Claim, no profile claimed": "Claim, type alone",
    "Claim, fhir.resources": "Claim, type alone",
    "Patient, sliced profile": "clinic's Patient, type alone",
}
"""Row -> the row that its ratio is against."""


def timed(subjects: Mapping[str, Callable[[], Any]], rounds: int, calls: int) -> list[Json]:
    """Microseconds of each subject's best round, and its ratio against its baseline."""
    best = dict.fromkeys(subjects, float("inf"))
    for _ in range(rounds):
        for name, subject in subjects.items():
            start = time.process_time()
            for _ in range(calls):
                subject()
            best[name] = min(best[name], (time.process_time() - start) / calls * 1e6)
    rows = []
    for name, microseconds in best.items():
        row: Json = {"row": name, "us": round(microseconds, 1)}
        if name in BASELINES:
            row |= {"against": BASELINES[name], "ratio": round(microseconds / best[BASELINES[name]], 2)}
        rows.append(row)
    return rows


def package(count: int) -> Json:
    """Seconds to read and compile a package of `count` definitions, made of R4's own profiles under new urls."""
    sources = [
        definition
        for file in sorted(package_dir().glob("StructureDefinition-*.json"))
        if (definition := orjson.loads(file.read_bytes())).get("derivation") == "constraint"
        and definition["id"] not in ("codesystem-history", "familymemberhistory-genetic")
    ]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "package.tgz"
        with tarfile.open(path, "w:gz") as archive:
            _put(archive, "package.json", {"name": "bench", "version": "1", "fhirVersions": ["4.0.1"]})
            for number in range(count):
                source = sources[number % len(sources)]
                url = f"https://fhirserver.example/StructureDefinition/{number}"
                _put(archive, f"{number}.json", source | {"url": url})
        start = time.perf_counter()
        read = load_package(path)
        profiles = Profiles.of(read.resources, terminology=Terminology.of_shipped())
        for resource in read.resources:
            profiles.overlay(resource["url"])
        seconds = time.perf_counter() - start
        size = path.stat().st_size
    return {"row": f"package of {count} definitions", "seconds": round(seconds, 2), "bytes": size}


def _put(archive: tarfile.TarFile, name: str, content: Json) -> None:
    data = orjson.dumps(content)
    member = tarfile.TarInfo(f"package/{name}")
    member.size = len(data)
    archive.addfile(member, BytesIO(data))


def judged(rows: list[Json]) -> list[Json]:
    """Each target with its figure, and whether it is met."""
    found = []
    for name, field, sign, target in TARGETS:
        for row in rows:
            if row["row"] == name:
                met = row[field] >= target if sign == ">=" else row[field] < target
                found.append(
                    {"target": f"{name}: {field} {sign} {target}", "measured": row[field], "met": met}
                )
    return found


def run(rounds: int, calls: int, definitions: int) -> Json:
    """The whole report."""
    rows = [*timed(contenders(), rounds, calls), package(definitions)]
    return {"machine": machine(), "rows": rows, "targets": judged(rows)}


def main(arguments: list[str] | None = None) -> int:
    """Print the report as JSON, and write it where --out says."""
    parser = argparse.ArgumentParser("python -m tests.benchmarks.validation", description=__doc__)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--calls", type=int, default=300)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args(arguments)
    report = run(options.rounds, options.calls, DEFINITIONS)
    text = json.dumps(report, indent=2, ensure_ascii=False)
    if options.out:
        options.out.write_text(text + "\n")
    print(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
