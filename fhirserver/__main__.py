"""`python -m fhirserver` is the command `fhirserver`."""

import sys

from fhirserver.cli import main

if __name__ == "__main__":
    sys.exit(main())
