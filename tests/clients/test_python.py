"""Real Python clients: fhirclient, Authlib's OAuth2Session and fhirpy sign in, read, refresh."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from authlib.integrations.requests_client import OAuth2Session
from fhirclient.client import FHIRClient
from fhirclient.models.patient import Patient
from fhirpy import SyncFHIRClient

from fhirserver.store.oauth_users import UserRecord
from tests.kit.oauth import Realm

SCOPE = "openid fhirUser patient/*.rs offline_access"


@pytest.mark.parametrize("kind", ["none", "client_secret_basic"])
def test_fhirclient_finds_everything_in_the_capability_statement(
    realm: Realm, signing_in: Callable[[str], str], ana: UserRecord, kind: str
) -> None:
    app = realm.app(kind)
    settings: dict[str, Any] = {
        "app_id": app.id, "app_secret": app.secret, "api_base": realm.server.fhir, "scope": SCOPE,
        "redirect_uri": app.record.redirect_uris[0],
    }  # fmt: skip
    client = FHIRClient(settings=settings)
    client.prepare()
    client.handle_callback(signing_in(client.authorize_url))
    assert client.ready
    assert f"Patient/{client.patient_id}" == ana.fhir_user
    assert client.patient.name[0].family == "Souza"
    assert client.reauthorize()
    assert Patient.read(client.patient_id, client.server).id == client.patient_id
    client.server.session.close()


def test_authlib_and_fhirpy_work_together(
    realm: Realm, signing_in: Callable[[str], str], ana: UserRecord
) -> None:
    app = realm.app("client_secret_basic")
    root = realm.server.root
    with OAuth2Session(
        app.id, app.secret, scope=f"launch/patient {SCOPE}", redirect_uri=app.record.redirect_uris[0],
        code_challenge_method="S256", token_endpoint=f"{root}/auth/token",
    ) as session:  # fmt: skip
        verifier = "x" * 48
        url, state = session.create_authorization_url(
            f"{root}/auth/authorize", code_verifier=verifier, aud=realm.server.fhir
        )
        tokens = session.fetch_token(
            authorization_response=signing_in(url), state=state, code_verifier=verifier
        )
        id = tokens["patient"]
        assert f"Patient/{id}" == ana.fhir_user
        assert session.get(f"{realm.server.fhir}/Patient/{id}").status_code == 200
        fresh = session.refresh_token(f"{root}/auth/token")
        assert fresh["access_token"] != tokens["access_token"]
        assert session.get(f"{realm.server.fhir}/Patient/{id}").status_code == 200
        told = session.introspect_token(f"{root}/auth/introspect", token=fresh["access_token"])
        assert told.json()["active"] is True

    fhir = SyncFHIRClient(realm.server.fhir, authorization=f"Bearer {fresh['access_token']}")
    assert fhir.reference("Patient", id).to_resource()["name"][0]["family"] == "Souza"
    assert [one.id for one in fhir.resources("Patient").fetch()] == [id]
