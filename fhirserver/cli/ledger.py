"""What earlier runs of `load` have created by POST, so that running it again makes nothing twice."""

from __future__ import annotations

import hashlib
import threading
from pathlib import Path


class Ledger:
    """Digests in a file of `folder`, one list per server and database. Lines are appended as the server confirms them."""

    def __init__(self, folder: Path, server: str) -> None:
        self._path = folder / "loaded" / f"{hashlib.sha256(server.encode()).hexdigest()[:16]}.txt"
        self._lock = threading.Lock()

    def read(self) -> frozenset[str]:
        """The digests of earlier runs."""
        try:
            return frozenset(self._path.read_text().split())
        except FileNotFoundError:
            return frozenset()

    def add(self, digests: list[str]) -> None:
        """Remembers `digests`; empty ones stand for what can be sent again without harm."""
        kept = [digest for digest in digests if digest]
        if kept:
            with self._lock:
                self._path.parent.mkdir(parents=True, exist_ok=True)
                with self._path.open("a") as file:
                    file.write("".join(f"{digest}\n" for digest in kept))
