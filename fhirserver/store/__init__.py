"""The only door to MongoDB."""

from fhirserver.store.client import CannotStart, check, connect
from fhirserver.store.mongod import Mongod
from fhirserver.store.store import Store
from fhirserver.store.write import DELETE

__all__ = ["DELETE", "CannotStart", "Mongod", "Store", "check", "connect"]
