"""The benchmark of the server: `make bench`, or `python -m tests.benchmarks`. How it measures: docs/explanation/speed.md."""
