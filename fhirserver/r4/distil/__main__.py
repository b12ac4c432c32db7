"""`python -m fhirserver.r4.distil <package folder>`: runs every distilling step and writes r4/tables.

A step is a module beside this one with `distil(package: Path, tables: Path) -> None`, named in STEPS; search
parameters come last, because their expressions are resolved against the elements and value sets.
"""

from __future__ import annotations

import argparse
import importlib
from pathlib import Path

from fhirserver.r4 import distil

STEPS = ("elements", "valuesets", "terminology", "profiles", "searchparams")


def main() -> None:
    """Parse the arguments and run the steps in their order."""
    parser = argparse.ArgumentParser(prog="python -m fhirserver.r4.distil", description=main.__doc__)
    parser.add_argument("package", type=Path, help="folder with the JSON files of hl7.fhir.r4.examples@4.0.1")
    parser.add_argument("--tables", type=Path, default=Path(__file__).parent.parent / "tables")
    parser.add_argument("--only", action="append", choices=STEPS, help="name of a step; may be repeated")
    arguments = parser.parse_args()
    arguments.tables.mkdir(exist_ok=True)
    for name in STEPS:
        if not arguments.only or name in arguments.only:
            importlib.import_module(f"{distil.__name__}.{name}").distil(arguments.package, arguments.tables)


if __name__ == "__main__":
    main()
