"""`fhirserver package` against a running server of two workers: what is added takes effect without a restart."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from fhirserver.cli import main
from tests.kit.client import JSON, Fhir, assert_outcome
from tests.kit.server import Server
from tests.kit.wait import eventually
from tests.unit.validation.profilekit import CANONICAL, extension, profile, sliced

Json = dict[str, Any]
ASKED = 16  # requests on connections of their own, so that each of two workers answers some
NICK: Json = {
    "resourceType": "SearchParameter",
    "url": f"{CANONICAL}nick",
    "name": "Nick",
    "status": "active",
    "description": "nickname",
    "code": "nick",
    "base": ["Patient"],
    "type": "string",
    "expression": "Patient.name.where(use='nickname').text",
}
BORN = profile(
    "package-born",
    "Patient",
    {
        "birthDate": {"min": 1},
        "identifier": sliced("value", "system"),
        "identifier:a": {"max": "1"},
        "identifier:a.system": {"fixedUri": "urn:a"},
    },
)
COLORS: Json = {
    "resourceType": "CodeSystem",
    "url": "https://fhirserver.example/CodeSystem/package-colors",
    "status": "active",
    "content": "complete",
    "concept": [{"code": "red", "display": "Red"}, {"code": "blue"}],
}
SHADES: Json = {
    "resourceType": "ValueSet",
    "url": "https://fhirserver.example/ValueSet/package-shades",
    "status": "active",
    "compose": {"include": [{"system": COLORS["url"]}]},
}
PAINTED = profile(
    "package-painted",
    "Patient",
    {"maritalStatus": {"binding": {"strength": "required", "valueSet": SHADES["url"]}}},
)
TONE = extension("package-tone", "string")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with Server(tmp_path_factory.mktemp("packages") / "data", workers="2") as running:
        yield running


def package(path: Path, name: str, *resources: Json, version: str = "1.0.0", **needs: str) -> Path:
    """A package as a folder."""
    path.mkdir()
    dependencies = {key.replace("_", "."): value for key, value in needs.items()}
    manifest = {"name": name, "version": version, "fhirVersions": ["4.0.1"], "dependencies": dependencies}
    (path / "package.json").write_text(json.dumps(manifest))
    for number, resource in enumerate(resources):
        (path / f"{number}.json").write_text(json.dumps(resource))
    return path


def run(server: Server, *arguments: str | Path) -> int:
    return main(["package", *map(str, arguments), "--data-dir", str(server.data_dir)])


def statuses(server: Server, resource: Json) -> set[int]:
    """What both workers answer to a write."""
    found = set()
    for _ in range(ASKED):
        with Fhir(server.fhir) as fhir:
            found.add(fhir.create(resource).status_code)
    return found


def test_a_package_takes_effect_in_all_workers_is_replaced_and_ends_when_it_is_removed(
    server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    claiming = {"resourceType": "Patient", "active": True, "meta": {"profile": [BORN["url"]]}}
    toned = {"resourceType": "Patient", "extension": [{"url": TONE["url"], "valueInteger": 1}]}
    question = f"/Patient/$validate?profile={BORN['url']}"
    with Fhir(server.fhir) as fhir:

        def ask() -> httpx.Response:
            return fhir.post(question, json=claiming, headers={"content-type": JSON})

        assert statuses(server, claiming) == statuses(server, toned) == {201}
        assert_outcome(ask(), 404, "not-found", "profile-unknown")
        assert run(server, "add", package(tmp_path / "one", "test.one", BORN, TONE)) == 0
        assert eventually(lambda: statuses(server, claiming) == statuses(server, toned) == {422})
        assert statuses(server, claiming | {"birthDate": "2020"}) == {201}
        assert "missing-element" in ask().text
        capsys.readouterr()
        assert run(server, "list") == 0
        assert "test.one#1.0.0  2 definitions" in capsys.readouterr().out
        assert run(server, "add", package(tmp_path / "same", "test.one", TONE)) == 0
        assert eventually(lambda: statuses(server, claiming) == {201})
        assert statuses(server, toned) == {422}
        assert run(server, "remove", "test.one") == 0
        assert eventually(lambda: statuses(server, toned) == {201})


def test_a_dependency_must_be_there_and_cannot_be_taken_away(
    server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    above = package(tmp_path / "above", "test.above", BORN, test_below="2.0.x", hl7_fhir_r4_core="4.0.1")
    below = package(tmp_path / "below", "test.below", TONE, version="2.0.3")
    assert run(server, "add", above) == 1
    assert "test.above#1.0.0 needs test.below#2.0.x" in capsys.readouterr().err
    assert run(server, "add", above, below) == 0
    assert run(server, "remove", "test.below") == 1
    assert "test.above#1.0.0" in capsys.readouterr().err
    assert run(server, "remove", "test.below", "test.above") == 0
    assert run(server, "remove", "test.below") == 1


def test_profiles_that_cannot_be_used_are_named(
    server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = profile("package-broken", "Patient", {"gender": {"max": "2"}})
    assert run(server, "add", package(tmp_path / "broken", "test.broken", broken, TONE)) == 3
    shown = capsys.readouterr()
    assert broken["url"] in shown.err
    assert "2 definitions" in shown.out
    assert run(server, "remove", "test.broken") == 0


def test_a_search_parameter_of_a_package_is_ready_after_a_reindex(server: Server, tmp_path: Path) -> None:
    assert run(server, "add", package(tmp_path / "nick", "test.nick", NICK)) == 0
    with Fhir(server.fhir) as fhir:
        fhir.made({"resourceType": "Patient", "name": [{"use": "nickname", "text": "Zuleika"}]})
        assert eventually(lambda: fhir.get("/Patient?nick=zul").status_code == 503)
        assert main(["reindex", "--data-dir", str(server.data_dir)]) == 0
        assert eventually(lambda: fhir.get("/Patient?nick=zul").status_code == 200)
        assert len(fhir.ids("/Patient?nick=zul")) == 1
        assert run(server, "remove", "test.nick") == 0


@pytest.mark.parametrize("arguments", [("add",), ("remove",)])
def test_a_command_without_names_is_a_wrong_command_line(server: Server, arguments: tuple[str, ...]) -> None:
    assert run(server, *arguments) == 2


def test_the_terminology_of_a_package_answers_bindings_and_operations(server: Server, tmp_path: Path) -> None:
    def painted(code: str) -> Json:
        concept = {"coding": [{"system": COLORS["url"], "code": code}]}
        return {"resourceType": "Patient", "maritalStatus": concept, "meta": {"profile": [PAINTED["url"]]}}

    assert run(server, "add", package(tmp_path / "paint", "test.paint", COLORS, SHADES, PAINTED)) == 0
    assert eventually(lambda: statuses(server, painted("green")) == {422})
    assert statuses(server, painted("red")) == {201}
    with Fhir(server.fhir) as fhir:
        expansion = fhir.get(f"/ValueSet/$expand?url={SHADES['url']}").json()["expansion"]
        assert [item["code"] for item in expansion["contains"]] == ["red", "blue"]
        assert fhir.get(f"/CodeSystem/$lookup?system={COLORS['url']}&code=red").status_code == 200
        assert run(server, "remove", "test.paint") == 0
        assert fhir.get(f"/ValueSet/$expand?url={SHADES['url']}").status_code == 404


def test_a_path_that_is_no_package_fails_and_says_so(
    server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(server, "add", tmp_path / "nothing") == 1
    assert run(server, "add", tmp_path) == 1
    assert "package.json" in capsys.readouterr().err
