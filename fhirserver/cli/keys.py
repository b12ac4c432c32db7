"""`fhirserver keys`: the keys that sign id_tokens."""

from __future__ import annotations

import argparse

from fhirserver.cli.terminal import note, say
from fhirserver.cli.users import with_parts


def run(options: argparse.Namespace) -> int:
    """Lists the published keys, or makes a new one."""
    if options.action == "rotate":
        say(with_parts(options, lambda parts, _: parts.keys.rotate()))
        note("It signs from now on; the key before stays published for 24 hours.")
        return 0
    for key in with_parts(options, lambda parts, _: parts.keys.all()):
        state = f"retired {key.retired:%Y-%m-%d %H:%M}Z" if key.retired else "signs"
        say(f"{key.kid:20} made {key.created:%Y-%m-%d %H:%M}Z  {state}")
    return 0
