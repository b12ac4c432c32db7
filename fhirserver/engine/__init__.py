"""Routes and stations: how an Exchange runs."""
