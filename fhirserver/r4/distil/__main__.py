"""`python -m fhirserver.r4.distil <package folder>`: runs every distilling step and writes r4/tables.

A step is a module beside this one with `distil(package: Path, tables: Path) -> None`.
"""

from __future__ import annotations

import argparse
import importlib
import pkgutil
from pathlib import Path

from fhirserver.r4 import distil


def main() -> None:
    """Parse the arguments and run the steps in the order of their names."""
    parser = argparse.ArgumentParser(prog="python -m fhirserver.r4.distil", description=main.__doc__)
    parser.add_argument("package", type=Path, help="folder with the JSON files of hl7.fhir.r4.examples@4.0.1")
    parser.add_argument("--tables", type=Path, default=Path(__file__).parent.parent / "tables")
    parser.add_argument("--only", action="append", help="name of a step; may be repeated")
    arguments = parser.parse_args()
    arguments.tables.mkdir(exist_ok=True)
    for module in sorted(pkgutil.iter_modules(distil.__path__), key=lambda found: found.name):
        if module.name == "__main__" or (arguments.only and module.name not in arguments.only):
            continue
        step = getattr(importlib.import_module(f"{distil.__name__}.{module.name}"), "distil", None)
        if step is not None:
            step(arguments.package, arguments.tables)


if __name__ == "__main__":
    main()
