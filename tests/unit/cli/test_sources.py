"""Reading files: JSON and NDJSON, plain and gzipped, folders, and what cannot be read."""

import gzip
from pathlib import Path

import pytest

from fhirserver.cli.sources import Unreadable, find, read, size

ONE = b'{"resourceType":"Patient","id":"a"}'
PRETTY = b'{\n  "resourceType": "Patient"\n}\n'


def texts(path: Path) -> list[tuple[int | None, bytes]]:
    return [(document.line, document.text) for document in read(str(path), named=True)]


@pytest.mark.parametrize("name", ["a.json", "a.ndjson", "a.txt"])
def test_a_file_of_one_line_is_one_document(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(ONE + b"\n")
    assert [(line, text.strip()) for line, text in texts(tmp_path / name)] == [(None, ONE)]


def test_ndjson_is_read_by_line_whatever_its_name(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_bytes(ONE + b"\n\n" + ONE)
    assert texts(tmp_path / "a.json") == [(1, ONE), (3, ONE)]


def test_a_broken_first_line_does_not_hide_the_others_of_ndjson(tmp_path: Path) -> None:
    (tmp_path / "a.ndjson").write_bytes(b"{oops\n" + ONE)
    assert texts(tmp_path / "a.ndjson") == [(1, b"{oops"), (2, ONE)]


def test_a_document_of_many_lines_is_whole(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_bytes(PRETTY)
    assert texts(tmp_path / "a.json") == [(None, PRETTY)]


def test_gzip_is_known_by_its_content_and_counted_as_stored(tmp_path: Path) -> None:
    path = tmp_path / "a.ndjson"
    path.write_bytes(gzip.compress(ONE + b"\n" + ONE))
    documents = list(read(str(path), named=True))
    assert [document.text for document in documents] == [ONE, ONE]
    assert sum(document.read for document in documents) == path.stat().st_size


def test_a_damaged_gzip_is_unreadable(tmp_path: Path) -> None:
    path = tmp_path / "a.json.gz"
    path.write_bytes(gzip.compress(ONE * 1000)[:40])
    with pytest.raises(Unreadable, match="cannot be read"):
        list(read(str(path), named=True))


def test_folders_are_searched_for_json_and_hidden_files_left_out(tmp_path: Path) -> None:
    for name in ("b/x.json.gz", "a.json", "c.ndjson", "readme.md", ".index.json", ".git/y.json"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(ONE)
    files = find([str(tmp_path)])
    assert [Path(name).name for name, _ in files] == ["a.json", "x.json.gz", "c.ndjson"]
    assert size(files) == 3 * len(ONE)
    assert size([*files, ("-", True)]) is None


def test_a_missing_path_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        find([str(tmp_path / "absent")])
