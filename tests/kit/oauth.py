"""A running authorization server as its users know it: accounts, apps, and a person at a browser.

`Realm` adds users and clients to the database of a running server. `Person` is a browser without scripts: it keeps
cookies, follows redirects within the server, reads forms and fills them in.
"""

from __future__ import annotations

import base64
import hashlib
import secrets
import time
import uuid
from dataclasses import dataclass, field
from html.parser import HTMLParser
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import httpx
import pyotp
from joserfc import jwt
from joserfc.jwk import ECKey, RSAKey

from fhirserver.access.oauth import registering
from fhirserver.access.oauth.assemble import assemble
from fhirserver.access.oauth.minting import mint
from fhirserver.access.oauth.parts import Parts, Visit
from fhirserver.access.oauth.passwords import hashed
from fhirserver.access.oauth.signin import ENROL_WITHIN, needs_factor
from fhirserver.settings import Settings
from fhirserver.store.client import socket_uri
from fhirserver.store.mongod_home import running_socket
from fhirserver.store.oauth import ClientRecord, OAuthStore
from fhirserver.store.oauth_users import UserRecord
from tests.kit.client import Fhir, unique
from tests.kit.corpus import definitions
from tests.kit.server import Server

PASSWORD = "nuvem lenta pinta o muro 7"
OWN = "vento morno leva a pipa 4"
CALLBACK = "https://app.example/cb"
FULL = "openid fhirUser launch launch/patient launch/encounter offline_access online_access patient/*.cruds user/*.cruds"
ASSERTION = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"


_OPEN: list[httpx.Client] = []
_WEB: list[httpx.Client] = []
_HASHED: list[str] = []
_KEYS: dict[str, Any] = {}


def browser(**options: Any) -> httpx.Client:
    """An HTTP client that Realm.close closes."""
    client = httpx.Client(timeout=60, verify=False, **options)  # noqa: S501 nothing here speaks TLS; loading roots is slow
    _OPEN.append(client)
    return client


def web() -> httpx.Client:
    """A client without memory, for single calls."""
    client = _WEB[0] if _WEB and not _WEB[0].is_closed else browser()
    _WEB[:] = [client]
    client.cookies.clear()
    return client


def challenge(verifier: str) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()


class Realm:
    """Users, clients and tokens of a running server."""

    def __init__(self, server: Server) -> None:
        self.server = server
        socket = running_socket(server.data_dir)
        settings = Settings(
            port=server.port,
            mongodb_uri=socket_uri(str(socket)),  # type: ignore[arg-type]
            data_dir=server.data_dir,
        )
        self.store = OAuthStore.of(settings)
        self.parts: Parts = assemble(settings, definitions(), self.store)
        self.visit = Visit("test")

    def close(self) -> None:
        self.store.close()
        while _OPEN:
            _OPEN.pop().close()

    def user(self, *roles: str, totp: bool = True, **more: Any) -> UserRecord:
        """An account with PASSWORD; its second factor is set up already, where the roles need one."""
        roles = roles or ("reception",)
        if not _HASHED:
            _HASHED.append(hashed(PASSWORD))
        needed = needs_factor(roles, None)
        now = self.parts.clock()
        made = UserRecord(
            uuid.uuid4().hex,
            unique("user"),
            _HASHED[0],
            now,
            roles=roles,
            totp=pyotp.random_base32() if needed and totp else None,
            enrol_until=now + ENROL_WITHIN if needed and not totp else None,
            **{"display": "Test Person"} | more,
        )
        self.store.users.add(made)
        return made

    def app(self, kind: str = "none", **more: Any) -> App:
        """An active client; `more`: fields of ClientRecord."""
        record = ClientRecord(
            unique("app"),
            more.pop("name", "Test App"),
            kind,
            self.parts.clock(),
            redirect_uris=more.pop("redirect_uris", (CALLBACK,)),
            grant_types=more.pop("grant_types", ("authorization_code", "refresh_token")),
            scope=more.pop("scope", FULL),
            **more,
        )
        record, secret = registering.add(self.parts, self.visit, record)
        return App(self.server.root, record, secret)

    def service(self, scope: str = "system/*.cruds", alg: str = "RS384", **more: Any) -> App:
        """A backend service with a key of its own."""
        key = _KEYS.setdefault(alg, None) or new_key(alg)
        _KEYS[alg] = key
        app = self.app(
            "private_key_jwt",
            grant_types=("client_credentials",),
            redirect_uris=(),
            scope=scope,
            jwks={"keys": [key.as_dict(private=False)]},
            **more,
        )
        app.key = key
        return app

    def token(self, scope: str = "system/*.cruds", **more: Any) -> str:
        return mint(self.parts, self.visit, scope=scope, ttl=3600, **more)

    def fhir(self, token: str | None = None) -> Fhir:
        """A FHIR client with a token (default: one that may do everything)."""
        client = Fhir(self.server.fhir)
        client.headers["authorization"] = f"Bearer {token or self.token()}"
        return client


def new_key(alg: str = "RS384") -> Any:
    parameters = {"kid": secrets.token_hex(4), "use": "sig", "alg": alg}
    return RSAKey.generate_key(2048, parameters) if alg[0] == "R" else ECKey.generate_key("P-384", parameters)


@dataclass
class App:
    """A client as its developer has it."""

    root: str
    record: ClientRecord
    secret: str | None
    key: Any = None
    verifier: str = "v" * 43
    http: httpx.Client = field(default_factory=browser)

    @property
    def id(self) -> str:
        return self.record.client_id

    def request(self, scope: str = "launch/patient patient/*.rs", **more: str | None) -> dict[str, str]:
        """The parameters of an authorization request; None leaves one out."""
        parameters = {
            "response_type": "code",
            "client_id": self.id,
            "redirect_uri": self.record.redirect_uris[0],
            "scope": scope,
            "state": "s-" + secrets.token_hex(8),
            "aud": f"{self.root}/fhir",
            "code_challenge": challenge(self.verifier),
            "code_challenge_method": "S256",
        } | more
        return {name: value for name, value in parameters.items() if value is not None}

    def url(self, scope: str = "launch/patient patient/*.rs", **more: str | None) -> str:
        return f"{self.root}/auth/authorize?{urlencode(self.request(scope, **more))}"

    def post(self, path: str, form: dict[str, Any], **more: Any) -> httpx.Response:
        """A form to one of the endpoints, with this client's own authentication."""
        form = {name: value for name, value in form.items() if value is not None}
        method = self.record.auth_method
        if method == "none":
            form = {"client_id": self.id} | form
        elif method == "client_secret_basic":
            more.setdefault("auth", (self.id, self.secret))
        else:
            form = {"client_assertion_type": ASSERTION, "client_assertion": self.assertion()} | form
        return self.http.post(self.root + path, data=form, **more)

    def redeem(self, code: str, **more: Any) -> httpx.Response:
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": self.record.redirect_uris[0],
            "code_verifier": self.verifier,
        }
        return self.post("/auth/token", form | more)

    def refresh(self, token: str, **more: Any) -> httpx.Response:
        return self.post("/auth/token", {"grant_type": "refresh_token", "refresh_token": token} | more)

    def credentials(self, scope: str | None = "system/*.rs", **more: Any) -> httpx.Response:
        return self.post("/auth/token", {"grant_type": "client_credentials", "scope": scope} | more)

    def assertion(self, header: dict[str, Any] | None = None, key: Any = None, **claims: Any) -> str:
        """A client assertion; claims and header members given replace those of a good one, None removes them."""
        key = key or self.key
        now = int(time.time())
        good = {
            "iss": self.id, "sub": self.id, "aud": f"{self.root}/auth/token", "exp": now + 240, "iat": now,
            "jti": secrets.token_hex(16),
        }  # fmt: skip
        body = {name: value for name, value in (good | claims).items() if value is not None}
        alg = self.record_alg()
        head = {"alg": alg, "kid": key.kid, "typ": "JWT"} | (header or {})
        head = {name: value for name, value in head.items() if value is not None}
        return jwt.encode(head, body, key, algorithms=[head["alg"]])

    def record_alg(self) -> str:
        return "ES384" if isinstance(self.key, ECKey) else "RS384"


class _Forms(HTMLParser):
    """The forms of a page: action, fields as a browser would send them, and what could be sent."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.forms: list[dict[str, Any]] = []
        self.feed(html)

    def handle_starttag(self, tag: str, pairs: list[tuple[str, str | None]]) -> None:
        attributes = {name: value or "" for name, value in pairs}
        if tag == "form":
            self.forms.append({"action": attributes["action"], "fields": [], "choices": []})
        elif tag in ("input", "button") and self.forms and "name" in attributes:
            form, kind = self.forms[-1], attributes.get("type", "text")
            pair = (attributes["name"], attributes.get("value", ""))
            if tag == "button" or kind in ("checkbox", "radio"):
                form["choices"].append(pair)
            if tag == "input" and (kind not in ("checkbox", "radio") or "checked" in attributes):
                form["fields"].append(pair)


class Person:
    """A person at a browser that runs no scripts."""

    def __init__(self, root: str, language: str = "en", **headers: str) -> None:
        self.root = root
        self.http = browser(headers={"accept-language": language, **headers})
        self.page: httpx.Response | None = None

    def open(self, url: str) -> httpx.Response:
        """GET, and follow redirects that stay on the server; the page, or the redirect that leaves it."""
        return self._follow(self.http.get(url if url.startswith("http") else self.root + url))

    def _follow(self, response: httpx.Response) -> httpx.Response:
        for _ in range(10):
            location = response.headers.get("location", "")
            if not location.startswith(("/", self.root)):
                break
            response = self.http.get(self.root + location if location[0] == "/" else location)
        self.page = response
        return response

    @property
    def form(self) -> dict[str, Any]:
        assert self.page is not None
        forms = _Forms(self.page.text).forms
        assert forms, self.page.text
        found: dict[str, Any] = forms[0]
        return found

    def send(
        self, drop: tuple[str, ...] = (), scopes: list[str] | None = None, **fields: str
    ) -> httpx.Response:
        """Submit the page's form with these fields changed."""
        form = self.form
        pairs = [(n, v) for n, v in form["fields"] if n not in fields and n not in drop]
        if scopes is not None:
            pairs = [pair for pair in pairs if pair[0] != "scope"] + [("scope", s) for s in scopes]
        pairs += list(fields.items())
        response = self.http.post(
            self.root + form["action"],
            content=urlencode(pairs),
            headers={"content-type": "application/x-www-form-urlencoded"},
        )
        return self._follow(response)

    def sign_in(self, user: UserRecord, password: str = PASSWORD) -> httpx.Response:
        """Fill in the sign-in form, and the second factor and an own password (OWN) where they are asked for."""
        response = self.send(username=user.name, password=password)
        if user.totp is not None and 'name="code"' in response.text:
            response = self.send(code=code_of(user.totp))
        if 'action="/auth/renew"' in response.text:
            response = self.send(password=OWN, again=OWN)
        return response

    def approve(self, patient: str | None = None, **fields: str) -> httpx.Response:
        if patient is not None:
            fields["patient"] = patient
        return self.send(decision="approve", **fields)


_STEPS: dict[str, int] = {}


def code_of(seed: str) -> str:
    """A code that was not used yet: each works once, so the steps around now are taken in turn."""
    now = int(time.time()) // 30
    step = max(_STEPS.get(seed, 0) + 1, now - 1)
    if step > now + 1:
        raise AssertionError("more than three codes of one seed in 30 s; take another user")
    _STEPS[seed] = step
    return pyotp.TOTP(seed).generate_otp(step)


def told(response: httpx.Response) -> dict[str, str]:
    """The parameters that a redirect brings to the app."""
    location = response.headers.get("location")
    assert location is not None, f"{response.status_code} {response.text[:500]}"
    return {
        name: values[0] for name, values in parse_qs(urlsplit(location).query, strict_parsing=True).items()
    }


def tokens_of(
    app: App, user: UserRecord, scope: str, *, patient: str | None = None, **more: str | None
) -> dict[str, Any]:
    """The token response of a whole sign-in."""
    person = Person(app.root)
    person.open(app.url(scope, **more))
    person.sign_in(user)
    response = (
        person.approve(patient) if person.page is not None and person.page.status_code == 200 else person.page
    )
    assert response is not None
    answer = told(response)
    assert "code" in answer, answer
    redeemed = app.redeem(answer["code"])
    assert redeemed.status_code == 200, redeemed.text
    body: dict[str, Any] = redeemed.json()
    return body
