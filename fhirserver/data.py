"""Where the data that ships with the server lives: profiles and terminology, in a checkout and in a wheel."""

from __future__ import annotations

from pathlib import Path
from typing import Literal


def data_root(name: Literal["profiles", "terminology"]) -> Path:
    """The folder `name` of the shipped data.

    In a wheel it stands in the package (`fhirserver/_data/<name>`), in a checkout beside the package.
    Raises FileNotFoundError where neither exists: the installation is broken.
    """
    package = Path(__file__).resolve().parent
    for folder in (package / "_data" / name, package.parent / name):
        if folder.is_dir():
            return folder
    raise FileNotFoundError(f"the folder {name!r} is missing from this installation of fhirserver")
