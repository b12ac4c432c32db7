"""The benchmark of the server: `make bench`. How it measures: docs/explanation/speed.md."""
