"""Audit events as they are, sent to an ATNA repository over FHIR: one POST each, confirmed by its answer.

Source: IHE RESTful ATNA (ITI-20, ATX: FHIR Feed); hl7.org/fhir/R4/http.html#create
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from fhirserver.audit.outgoing import PATIENCE, Broken, tls
from fhirserver.store.ledger import Recorded

BATCH = 50  # that come again at most when one of them was not taken
_HEADERS = {
    "accept": "application/fhir+json",
    "content-type": "application/fhir+json",
    "prefer": "return=minimal",
}


@dataclass(frozen=True, slots=True)
class Repository:
    """An ATNA repository. `url`: its FHIR base. `token`: shown as a Bearer token. `note`: makes an event of a checkpoint.

    `ca_file`: what its certificate must descend from; `cert_file`, `key_file`: our own.
    """

    url: str
    note: Callable[[str], bytes]
    token: str | None = None
    ca_file: Path | None = None
    cert_file: Path | None = None
    key_file: Path | None = None
    name = "atna"
    batch = BATCH
    confirms = True

    @asynccontextmanager
    async def connect(self) -> AsyncIterator[RepositoryLine]:
        """A client that keeps its connection. Redirects are not followed: events go where the operator said."""
        headers = _HEADERS | ({"authorization": f"Bearer {self.token}"} if self.token else {})
        context = tls(self.ca_file, self.cert_file, self.key_file)
        async with httpx.AsyncClient(
            headers=headers, verify=context, timeout=PATIENCE, trust_env=False
        ) as client:
            yield RepositoryLine(client, f"{self.url.rstrip('/')}/AuditEvent", self.note)


@dataclass(frozen=True, slots=True)
class RepositoryLine:
    """Sends events to one address, one after the other."""

    client: httpx.AsyncClient
    address: str
    note: Callable[[str], bytes]

    async def send(self, events: Sequence[Recorded], note: str | None) -> None:
        """POST the events, then the checkpoint; come back when each was answered as created. Raises Broken."""
        for event in events:
            await self._post(event.raw)
        if note is not None:
            await self._post(self.note(note))

    async def wait(self, seconds: float) -> None:
        """Nothing is heard of a receiver until it is asked."""
        await asyncio.sleep(seconds)

    async def _post(self, body: bytes) -> None:
        try:
            answer = await self.client.post(self.address, content=body)
        except (httpx.HTTPError, OSError) as error:
            raise Broken(type(error).__name__) from error
        if not answer.is_success:
            raise Broken(f"it answered {answer.status_code}")
