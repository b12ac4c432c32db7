"""The generated reference pages: `python -m fhirserver.cli.reference docs/reference` (make docs)."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from pydantic import BaseModel, SecretStr
from pydantic_core import PydanticUndefined

from fhirserver.cli.arguments import build_parser
from fhirserver.cli.reference_errors import errors_page
from fhirserver.cli.reference_masks import masks_page
from fhirserver.cli.reference_rest import rest_page
from fhirserver.cli.reference_search import search_page
from fhirserver.settings import Settings

_SETTINGS = """\
# Settings

Flags of the command line stand over `FHIRSERVER_*` variables, these over `fhirserver.toml` in the current
folder (or the file of `--config`), that over the defaults. A nested name has two underscores in a variable
(`FHIRSERVER_LIMITS__COUNT_MAX=500`) and a table in the file:

```toml
port = 8080
[limits]
count_max = 500
```

Lists and tables in a variable are JSON. A name that does not exist is refused in the file. This page is
generated from `fhirserver/settings.py` by `make docs`.

| variable | default | meaning |
|---|---|---|
"""
_CLI = """\
# Command line

`fhirserver COMMAND`, or `python -m fhirserver COMMAND`. Generated from the help texts by `make docs`.

| exit code | meaning |
|---|---|
| 0 | done |
| 1 | failed: nothing, or nothing useful, was done; the last line of stderr says why |
| 2 | the command line or the settings are wrong |
| 3 | `load`: some resources failed, the others are stored; `doctor`: warnings only |
| 130 | interrupted (Ctrl+C) |

Results go to stdout, everything else (progress, failures, logs) to stderr.
"""


def settings_page() -> str:
    """docs/reference/settings.md."""
    return _SETTINGS + "".join(_rows(Settings, "FHIRSERVER_"))


def _rows(model: type[BaseModel], prefix: str) -> list[str]:
    rows = []
    for name, field in model.model_fields.items():
        variable = f"{prefix}{name.upper()}"
        if isinstance(field.default, BaseModel):
            rows += _rows(type(field.default), f"{variable}__")
        else:
            rows.append(f"| `{variable}` | {_default(field.default)} | {field.description} |\n")
    return rows


def _default(value: Any) -> str:
    if value is PydanticUndefined:
        return "required"
    if value is None or value == "" or isinstance(value, SecretStr):
        return ""
    return f"`{value}`"


def cli_page() -> str:
    """docs/reference/cli.md."""
    return "\n".join([_CLI, *_sections("fhirserver", build_parser())])


def _sections(title: str, parser: argparse.ArgumentParser) -> list[str]:
    """The help of a command, then that of its own commands."""
    sections = [_section(title, parser)]
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for name, command in action.choices.items():
                sections += _sections(f"{title} {name}", command)
    return sections


def _section(title: str, parser: argparse.ArgumentParser) -> str:
    return f"## {title}\n\n```text\n{parser.format_help().strip()}\n```\n"


PAGES = {
    "settings.md": settings_page,
    "cli.md": cli_page,
    "errors.md": errors_page,
    "masks.md": masks_page,
    "rest.md": rest_page,
    "search.md": search_page,
}


def main(folder: Path) -> None:
    """Writes the pages into `folder`."""
    for name, page in PAGES.items():
        (folder / name).write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
