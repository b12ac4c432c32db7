"""The query of a request as an AuditEvent keeps it: names and order as sent, values that identify people as tokens.

A token is `h:` and 16 hexadecimal digits of HMAC-SHA-256(K_pseudo, code LF value): who searched for a value stays
answerable to those who know the value and hold the key, and nobody else learns it. Secrets are starred out.
"""

from __future__ import annotations

import base64
import hmac
import re
from dataclasses import dataclass
from typing import NamedTuple
from urllib.parse import unquote_plus

from fhirserver.context import Request

LARGEST = 8 * 2**10
SECRETS = frozenset(
    (
        "password", "client_secret", "code_verifier", "refresh_token", "client_assertion",
        "access_token", "id_token_hint", "token", "new_password", "otp",
    )
)  # fmt: skip
_PUBLIC = frozenset(
    ("grant_type", "client_id", "client_assertion_type", "scope", "redirect_uri", "resource", "audience")
)  # of a token request; whatever else is in one may be a secret
_PERSONAL = frozenset(
    (
        "identifier", "name", "given", "family", "phone", "email", "telecom", "birthdate", "phonetic",
        "_text", "_content", "_filter",
    )
)  # fmt: skip
_SEPARATOR = re.compile(rb"([&;])")


class Recorded(NamedTuple):
    """What an event says of a query: `query`, base64 of what was sent; `description`, the request line, readable."""

    query: str
    description: str


@dataclass(frozen=True, slots=True)
class QueryRecorder:
    """Records queries. `key`: K_pseudo. `raw`: keep the literal values (audit.query_values=raw)."""

    key: bytes
    raw: bool = False

    def record(self, request: Request) -> Recorded:
        """The query of a FHIR request: request line, headers, form."""
        path, mark, query = request.target.partition(b"?")
        line = request.method.encode("latin-1", "replace") + b" " + path + mark + self.cleaned(query)
        lines = [line, *(f"{name}: {value}".encode("latin-1", "replace") for name, value in request.headers)]
        lines.append(b"X-Request-Id: " + request.id.encode())
        if request.form:
            lines += [b"", self.cleaned(request.form)]
        return _recorded(b"\n".join(lines), line)

    def token_request(self, line: str, form: str) -> Recorded:
        """A request to the token endpoint: its line and its form, with the values of public parameters only."""
        pairs = [pair.partition("=") for pair in form.split("&")]
        kept = "&".join(f"{name}={value if name in _PUBLIC else '*'}" for name, _, value in pairs)
        text = line.encode("latin-1", "replace")
        return _recorded(text + b"\n\n" + kept.encode("latin-1", "replace"), text)

    def cleaned(self, query: bytes) -> bytes:
        """A query string or form with tokens for what identifies people and stars for secrets."""
        if not query:
            return query
        return b"".join(
            part if part in (b"&", b";") else self._pair(part) for part in _SEPARATOR.split(query)
        )

    def _pair(self, pair: bytes) -> bytes:
        name, mark, value = pair.partition(b"=")
        if not mark or not value:
            return pair
        shown = unquote_plus(name.decode("latin-1"))
        code = code_of(shown)
        if shown in SECRETS:
            return name + b"=*"
        if self.raw or not is_personal(shown, code):
            return pair
        text = unquote_plus(value.decode("latin-1"))
        return name + b"=" + ",".join(self.token(code, each) for each in text.split(",")).encode()

    def token(self, code: str, value: str) -> str:
        """What stands for `value` of the search parameter `code`."""
        message = f"{code}\n{value}".encode(errors="surrogatepass")
        return f"h:{hmac.new(self.key, message, 'sha256').hexdigest()[:16]}"


def code_of(name: str) -> str:
    """The search parameter that a name in a query ends in: `patient:Patient.identifier:of-type` is `identifier`."""
    last = name.rpartition(".")[2]
    if last.startswith("_has:"):
        return last.rpartition(":")[2]
    return last.partition(":")[0]


def is_personal(name: str, code: str) -> bool:
    """True for a parameter whose values identify people; on a reference, `:identifier` does too."""
    return code in _PERSONAL or code.startswith("address") or ":identifier" in name


def _recorded(whole: bytes, line: bytes) -> Recorded:
    description = line.decode("latin-1")
    if len(whole) > LARGEST:
        whole, description = whole[:LARGEST], f"truncated; {description[: LARGEST // 8]}"
    return Recorded(base64.b64encode(whole).decode(), description)
