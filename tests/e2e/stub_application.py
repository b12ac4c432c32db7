"""An ASGI application in the place of the real one, for tests of the processes around it."""

import asyncio
import json
import os
import sys
from typing import Any

from fhirserver.cli import main, serve


def create() -> Any:
    """Ready at once; /slow answers after a second; / tells the settings that arrived and the state."""
    slow = [0]

    async def application(scope: dict[str, Any], receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            await receive()
            await send({"type": "lifespan.startup.complete"})
            await receive()
            await send({"type": "lifespan.shutdown.complete"})
            return
        if scope["path"] == "/slow":
            slow[0] += 1
            await asyncio.sleep(1)
        body = {"pid": os.getpid(), "slow": slow[0], "uri": os.environ.get("FHIRSERVER_MONGODB_URI", "")}
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": json.dumps(body).encode()})

    return application


if __name__ == "__main__":
    serve.APPLICATION = "tests.e2e.stub_application:create"
    sys.exit(main(sys.argv[1:]))
