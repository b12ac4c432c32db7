"""From the command line to Settings: flags over environment over the TOML file over defaults."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import SecretStr, ValidationError
from pydantic_settings import SettingsConfigDict, SettingsError

from fhirserver.settings import Settings

FLAGS = ("host", "port", "workers", "data_dir", "mongodb_uri", "open_mode")


class UsageError(Exception):
    """The command line or a setting is wrong; the text says which."""


def load_settings(options: argparse.Namespace, **more: Any) -> Settings:
    """The settings for a command. `more` stands over everything. Raises UsageError."""
    given = {name: value for name in FLAGS if (value := getattr(options, name, None)) is not None}
    chosen = _reading(getattr(options, "config", None))
    try:
        return chosen(**{**given, **more})
    except ValidationError as problem:
        lines = [f"  {'.'.join(map(str, error['loc']))}: {error['msg']}" for error in problem.errors()]
        raise UsageError(
            "these settings are wrong (see docs/reference/settings.md):\n" + "\n".join(lines)
        ) from None
    except (SettingsError, ValueError) as problem:
        raise UsageError(f"the settings cannot be read: {problem}") from None


def _reading(file: Path | None) -> type[Settings]:
    if file is None:
        return Settings
    if not file.is_file():
        raise UsageError(f"there is no settings file {file}")

    class SettingsOfFile(Settings):
        model_config = SettingsConfigDict(toml_file=file)

    return SettingsOfFile


def environment(settings: Settings) -> Mapping[str, str]:
    """`settings` as FHIRSERVER_* variables, so that worker processes read the same."""
    variables = {}
    for name in sorted(settings.model_fields_set | set(FLAGS)):
        value = getattr(settings, name)
        if value is None:
            continue
        if isinstance(value, SecretStr):
            text = value.get_secret_value()
        elif isinstance(value, str | int | Path) and not isinstance(value, bool):
            text = str(value)
        else:
            text = json.dumps(settings.model_dump(mode="json", include={name})[name])
        variables[f"FHIRSERVER_{name.upper()}"] = text
    return variables
