"""From the command line to Settings: flags over environment over the TOML file over defaults."""

from __future__ import annotations

import argparse
import json
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, SecretStr, ValidationError
from pydantic_settings import SettingsConfigDict, SettingsError

from fhirserver.settings import Settings

FLAGS = ("host", "port", "workers", "data_dir", "mongodb_uri", "open_mode")


class UsageError(Exception):
    """The command line or a setting is wrong; the text says which."""


def load_settings(options: argparse.Namespace, **more: Any) -> Settings:
    """The settings for a command. `more` stands over everything. Raises UsageError."""
    given = {name: value for name in FLAGS if (value := getattr(options, name, None)) is not None}
    file = getattr(options, "config", None)
    chosen = _reading(file)
    _check_kept(file or Path(str(Settings.model_config.get("toml_file"))))
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


def _check_kept(file: Path) -> None:
    """Raises UsageError for a file with secrets that others than its owner can read."""
    try:
        given = tomllib.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return  # reading the settings says what is wrong
    if _holds_secret(Settings, given) and file.stat().st_mode & 0o077:
        raise UsageError(f"{file} holds secrets and can be read by others; run: chmod 600 {file}")


def _holds_secret(model: type[BaseModel], given: Mapping[str, Any]) -> bool:
    """True where a value of `given` is secret; the address of a database only where it holds a password."""
    for name, field in model.model_fields.items():
        value, kind = given.get(name), field.annotation
        if isinstance(value, dict) and isinstance(kind, type) and issubclass(kind, BaseModel):
            if _holds_secret(kind, value):
                return True
        elif isinstance(value, str) and "SecretStr" in str(kind) and ("://" not in value or "@" in value):
            return True
    return False


def _plain(value: object) -> object:
    """A value of the settings that JSON has no form for."""
    return value.get_secret_value() if isinstance(value, SecretStr) else str(value)


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
            text = json.dumps(settings.model_dump(include={name})[name], default=_plain)
        variables[f"FHIRSERVER_{name.upper()}"] = text
    return variables
