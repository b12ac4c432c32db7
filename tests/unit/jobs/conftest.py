from tests.kit.mongo import database_name, mongodb_uri

__all__ = ["database_name", "mongodb_uri"]
