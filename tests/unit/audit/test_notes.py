"""Checkpoints and signed notes against the published vectors (C2SP signed-note, tlog-checkpoint)."""

from __future__ import annotations

from contextlib import suppress

import pytest

from fhirserver.audit.notes import BadNote, Checkpoint, Signer, VerifierKey, sign, signed_by
from tests.unit.audit import vectors

KEY = VerifierKey.parse(vectors.VKEY)
SIGNER = Signer(vectors.ORIGIN, vectors.SEED)
OTHER = Signer(vectors.ORIGIN, bytes(32))


def test_the_key_is_the_published_one() -> None:
    assert KEY.public == vectors.PUBLIC == SIGNER.verifier.public
    assert KEY.key_id == vectors.KEY_ID
    assert KEY.vkey() == SIGNER.verifier.vkey() == vectors.VKEY


@pytest.mark.parametrize(
    ("size", "root", "sealed", "note"),
    [
        (3, vectors.ROOT_3, "2026-03-01T12:00:03Z", vectors.NOTE_3),
        (5, vectors.ROOT_5, "2026-03-01T12:00:05Z", vectors.NOTE_5),
    ],
)
def test_the_notes_are_the_published_ones(size: int, root: bytes, sealed: str, note: str) -> None:
    checkpoint = Checkpoint(vectors.ORIGIN, size, root, sealed)
    assert sign(checkpoint.text(), [SIGNER]) == note
    text, signers = signed_by(note, [OTHER.verifier, KEY])
    assert signers == [KEY]
    assert Checkpoint.parse(text) == checkpoint


def test_any_changed_byte_of_a_note_fails() -> None:
    note = vectors.NOTE_5
    for at in range(len(note)):
        for letter in {"A", "0", " ", "\n"} - {note[at]}:
            altered = note[:at] + letter + note[at + 1 :]
            with suppress(BadNote):
                assert signed_by(altered, [KEY])[1] == [], (at, letter)
        with suppress(BadNote):
            assert signed_by(note[:at], [KEY])[1] == [], at


def test_a_note_with_two_signatures_names_both_keys_and_an_unknown_one_is_passed_over() -> None:
    note = sign(Checkpoint(vectors.ORIGIN, 5, vectors.ROOT_5, "2026-03-01T12:00:05Z").text(), [SIGNER, OTHER])
    assert signed_by(note, [KEY, OTHER.verifier])[1] == [KEY, OTHER.verifier]
    assert signed_by(note, [KEY])[1] == [KEY]
    assert signed_by(note, [])[1] == []


def test_one_forged_line_under_a_known_key_spoils_the_note() -> None:
    text = Checkpoint(vectors.ORIGIN, 5, vectors.ROOT_5, "2026-03-01T12:00:05Z").text()
    forged = SIGNER.line(text.replace("5", "6"))
    assert signed_by(sign(text, [SIGNER]) + forged, [KEY])[1] == []
    assert signed_by(sign(text, [SIGNER]) + OTHER.line(text), [KEY])[1] == [KEY]


@pytest.mark.parametrize(
    "vkey",
    [
        "",
        "name",
        "name+7a1259fb",
        vectors.VKEY[:-1],
        vectors.VKEY.replace("7a1259fb", "7a1259fc"),
        vectors.VKEY.replace("clinic", "clinik"),
        vectors.VKEY.replace("+Aa2O", "+Ba2O"),
        "a b" + vectors.VKEY,
    ],
)
def test_a_malformed_key_is_refused(vkey: str) -> None:
    with pytest.raises(BadNote):
        VerifierKey.parse(vkey)


@pytest.mark.parametrize(
    "text", ["", "o\n1\n", "o\n01\nAAAA\nsealed x\n", "o\n-1\nAAAA\nsealed x\n", "o\n1\nAAAA\nsealed x\n"]
)
def test_a_text_that_is_no_checkpoint_is_refused(text: str) -> None:
    with pytest.raises(BadNote):
        Checkpoint.parse(text)


def test_a_key_name_with_blanks_cannot_sign() -> None:
    with pytest.raises(BadNote):
        Signer("two words", bytes(32))
