"""Seeds of second factors and signing keys are not readable in the database. Rules: security.md K5, K1; decision 36."""

from __future__ import annotations

import asyncio
import re
import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pymongo
import pyotp
import pytest

from fhirserver import app
from fhirserver.access.oauth.keys import SigningKeys
from fhirserver.access.oauth.parts import digest, utc_now
from fhirserver.outcome import Unavailable
from fhirserver.r4.definitions import Definitions
from fhirserver.settings import Settings
from fhirserver.store import CannotStart
from fhirserver.store.client import connect_blocking
from fhirserver.store.inspect import inspect
from fhirserver.store.oauth import OAuthStore
from fhirserver.store.oauth_users import SessionRecord, UserRecord
from fhirserver.store.vault import Vault, is_sealed
from tests.kit.corpus import definitions
from tests.kit.oauth import PASSWORD, Person, Realm, tokens_of, web

Open = Callable[..., OAuthStore]
SEED = "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP"


@pytest.fixture
def opened(mongodb_uri: str, database_name: str, tmp_path: Path) -> Iterator[Open]:
    """The store of a database of its own; `key`: the name of its key file."""
    stores: list[OAuthStore] = []

    def open(key: str = "secrets.key") -> OAuthStore:
        stores.append(
            OAuthStore(connect_blocking(mongodb_uri), database_name, "default", Vault(tmp_path / key))
        )
        return stores[-1]

    yield open
    for store in stores:
        store.close()


def rows(mongodb_uri: str, database_name: str, collection: str) -> list[dict[str, Any]]:
    with pymongo.MongoClient[dict[str, Any]](mongodb_uri) as client:
        return list(client[database_name][collection].find())


def a_user(**more: Any) -> UserRecord:
    return UserRecord("u1", "maria", "$argon2id$", utc_now(), roles=("auditor",), **more)


def test_a_running_server_keeps_no_seed_and_no_private_key_in_clear(realm: Realm) -> None:
    user, app_ = realm.user("practitioner"), realm.app()
    tokens_of(app_, user, "openid user/Patient.rs")  # signs an id_token
    enrolling = Person(realm.server.root)
    enrolling.open("/auth/apps")
    newcomer = realm.user("auditor", totp=False)
    page = enrolling.send(username=newcomer.name, password=PASSWORD).text
    found = re.search(r"<code>([A-Z2-7 ]+)</code>", page)
    assert found is not None
    pending = found[1].replace(" ", "")
    database = realm.store.users._rows.database
    kept = {
        name: str(list(database[name].find())) for name in ("oauth_users", "oauth_sessions", "oauth_keys")
    }
    assert user.totp is not None
    assert user.totp not in kept["oauth_users"]
    assert pending not in kept["oauth_sessions"]
    assert "'d':" not in kept["oauth_keys"]
    assert "v1." in kept["oauth_users"]
    # beside it: what is sealed works, for the one who signs in and for who checks the signature
    assert web().get(f"{realm.server.root}/auth/jwks").json()["keys"]
    assert "Apps with access" in enrolling.send(code=pyotp.TOTP(pending).now()).text
    session = digest(enrolling.http.cookies["fhirserver-session"])
    assert realm.store.sessions.get(session, realm.parts.clock()) is not None


def test_what_an_older_server_left_in_clear_is_sealed_at_the_start(
    opened: Open, mongodb_uri: str, database_name: str
) -> None:
    with pymongo.MongoClient[dict[str, Any]](mongodb_uri) as client:
        database = client[database_name]
        plain = {"t": "default", "name": "maria", "password": "x", "created": utc_now(), "roles": [],
                 "acts_for": [], "old_passwords": []}  # fmt: skip
        database["oauth_users"].insert_many(
            [
                {"_id": "default/u1", "id": "u1", "totp": SEED, **plain},
                {"_id": "default/u2", "id": "u2", "totp": None, **plain, "name": "joana"},
                {"_id": "other/u1", "id": "u1", "totp": SEED, **plain, "t": "other"},
            ]
        )
        jwk = {"kty": "RSA", "d": "private"}
        database["oauth_keys"].insert_one(
            {
                "_id": "default/k",
                "t": "default",
                "kid": "k",
                "jwk": jwk,
                "created": utc_now(),
                "retired": None,
            }
        )
    store = opened()
    with pytest.raises(Unavailable):
        store.users.get("u1")  # not before it is sealed: a seed that somebody planted is worth nothing
    store.sealing.prepare()
    store.sealing.prepare()
    user, other = store.users.get("u1"), store.users.get("u2")
    assert user is not None
    assert other is not None
    assert (user.totp, other.totp) == (SEED, None)
    assert store.keys.all()[0].jwk == jwk
    found = {row["_id"]: row["totp"] for row in rows(mongodb_uri, database_name, "oauth_users")}
    assert is_sealed(found["default/u1"])
    assert found["default/u2"] is None
    assert found["other/u1"] == SEED  # another tenant's server holds that key
    assert "private" not in str(rows(mongodb_uri, database_name, "oauth_keys"))


def test_a_seed_that_was_copied_from_another_account_is_worth_nothing(
    opened: Open, mongodb_uri: str, database_name: str
) -> None:
    store = opened()
    store.sealing.prepare()
    store.users.add(a_user(totp=SEED))
    sealed = rows(mongodb_uri, database_name, "oauth_users")[0]["totp"]
    with pymongo.MongoClient[dict[str, Any]](mongodb_uri) as client:
        victim = {**client[database_name]["oauth_users"].find_one({}), "_id": "default/u2", "name": "joana"}  # type: ignore[dict-item]
        client[database_name]["oauth_users"].insert_one({**victim, "totp": sealed})
    with pytest.raises(Unavailable):
        store.users.get("u2")
    mine = store.users.get("u1")
    assert mine is not None
    assert mine.totp == SEED


def test_a_wrong_or_missing_key_file_stops_the_start_and_says_which(
    opened: Open, tmp_path: Path, mongodb_uri: str, database_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened().sealing.prepare()
    for wrong in ("other.key", "absent.key"):
        if wrong == "other.key":
            (tmp_path / wrong).write_text("ab" * 32)
            (tmp_path / wrong).chmod(0o600)
        with pytest.raises(CannotStart, match=re.escape(str(tmp_path / wrong))):
            opened(wrong).sealing.prepare()
    assert not (tmp_path / "absent.key").exists()
    monkeypatch.setattr(Definitions, "load", staticmethod(definitions))
    settings = Settings(
        mongodb_uri=mongodb_uri,  # type: ignore[arg-type]
        database=database_name,
        data_dir=tmp_path / "data",
    )
    with pytest.raises(CannotStart, match="give-up-secrets"):
        asyncio.run(app.build(settings))
    assert "is not the one" in asyncio.run(inspect(settings)).secrets
    right = settings.model_copy(
        update={"oauth": settings.oauth.model_copy(update={"secrets_key_file": tmp_path / "secrets.key"})}
    )
    assert asyncio.run(inspect(right)).secrets == ""


def test_a_rotation_leaves_nothing_under_the_old_key_while_another_server_runs(
    opened: Open, mongodb_uri: str, database_name: str
) -> None:
    running, rotating = opened(), opened()
    running.sealing.prepare()
    running.users.add(a_user(totp=SEED))
    now = utc_now()
    end = now + timedelta(minutes=5)
    running.sessions.add(SessionRecord("s1", "u1", "enrol", now, end, end, pending=SEED))
    kid = SigningKeys(running.keys).rotate()
    before = running.keys.all()[0].jwk
    fresh, count = rotating.sealing.rotate()
    assert count == 3
    for _ in range(2):
        user, session = running.users.get("u1"), running.sessions.get("s1", now)
        assert user is not None
        assert session is not None
        assert (user.totp, session.pending) == (SEED, SEED)
        assert [(key.kid, key.jwk) for key in running.keys.all()] == [(kid, before)]
        kept = [
            rows(mongodb_uri, database_name, name) for name in ("oauth_users", "oauth_sessions", "oauth_keys")
        ]
        assert str(kept).count(f"v1.{fresh}.") == 3
        running.users.change("u1", totp=SEED)  # the server that went on seals with the new key
    fresh, _ = rotating.sealing.rotate()
    opened().sealing.prepare()


def test_two_rotations_at_once_lose_nothing(
    opened: Open, mongodb_uri: str, database_name: str, tmp_path: Path
) -> None:
    """Both have looked at everything before either changes the file: without a lock the second drops the first key."""
    at_file, changed, done = threading.Event(), threading.Event(), threading.Event()

    class Second(Vault):
        def rotate(self) -> str:
            at_file.set()
            changed.wait(20)
            id = super().rotate()
            done.set()
            return id

    class First(Vault):
        def rotate(self) -> str:
            other.start()
            at_file.wait(0.5)  # it never comes where it has to wait
            id = super().rotate()
            changed.set()
            done.wait(0.5)
            return id

    def of(vault: Vault) -> OAuthStore:
        return OAuthStore(connect_blocking(mongodb_uri), database_name, "default", vault)

    first, second = of(First(tmp_path / "secrets.key")), of(Second(tmp_path / "secrets.key"))
    other = threading.Thread(target=second.sealing.rotate, daemon=True)
    first.sealing.prepare()
    first.users.add(a_user(totp=SEED))
    assert first.sealing.rotate()[1] == 1
    other.join(20)
    user = opened().users.get("u1")
    assert user is not None
    assert user.totp == SEED
    opened().sealing.prepare()
    first.close()
    second.close()


def test_a_lost_key_is_given_up_on_purpose(opened: Open) -> None:
    store = opened()
    store.sealing.prepare()
    store.users.add(a_user(totp=SEED))
    SigningKeys(store.keys).rotate()
    anew = opened("anew.key")
    with pytest.raises(CannotStart):
        anew.sealing.prepare()
    until = utc_now() + timedelta(days=7)
    assert anew.sealing.give_up(until) == 1
    anew.sealing.prepare()
    user = anew.users.get("u1")
    assert user is not None
    assert (user.totp, user.enrol_until) == (None, until)
    assert anew.keys.all() == []
    with pytest.raises(CannotStart):
        opened().sealing.prepare()


def test_a_placeholder_is_no_secret() -> None:
    for value in (
        "changeme" * 5,
        "please-CHANGE-ME-to-something-long-enough",
        "<put 32 random characters here!>",
    ):
        with pytest.raises(ValueError, match="placeholder"):
            Settings(oauth={"registration_token": value})  # type: ignore[arg-type]
        with pytest.raises(ValueError, match="placeholder"):
            Settings(cursor_key=value)  # type: ignore[arg-type]
    assert Settings(oauth={"registration_token": "q8" * 20}).oauth.registration_token is not None  # type: ignore[arg-type]
