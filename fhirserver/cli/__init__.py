"""The command line: parse, call, print. `main` is the console script `fhirserver`.

argparse of the standard library: the commands are few and flat, the help texts are ours word for word, and
starting costs no import that the server does not need anyway.

Exit codes: 0 done; 1 failed; 2 the command line or the settings are wrong; 3 partly failed (load) or warnings
only (doctor); 130 interrupted.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from importlib import import_module

from fhirserver.cli.arguments import build_parser
from fhirserver.cli.config import UsageError
from fhirserver.cli.terminal import CommandFailed, complain

INTERRUPTED = 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command and returns its exit code."""
    options = build_parser().parse_args(arguments)
    command = import_module(f"fhirserver.cli.{options.command}")  # only what this command needs is imported
    try:
        code: int = command.run(options)
    except UsageError as problem:
        complain(str(problem))
        return 2
    except CommandFailed as problem:
        complain(str(problem))
        return 1
    except KeyboardInterrupt:
        complain("interrupted")
        return INTERRUPTED
    except BrokenPipeError:  # `fhirserver openapi | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    return code
