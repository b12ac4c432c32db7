"""The only door to MongoDB."""

from fhirserver.store.client import CannotStart, check, connect
from fhirserver.store.history import HistoryPage
from fhirserver.store.mongod import Mongod
from fhirserver.store.store import Store
from fhirserver.store.write import DELETE, Deletion

__all__ = ["DELETE", "CannotStart", "Deletion", "HistoryPage", "Mongod", "Store", "check", "connect"]
