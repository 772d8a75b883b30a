"""Benchmarks: each `python -m tests.bench.NAME` prints a table, or with `--json` one object a line."""
