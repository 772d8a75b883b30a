"""Whether a page names the cause: `python -m tests.bench.causes`."""
