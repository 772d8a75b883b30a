"""Everything goes wrong at once, and the same is told as if nothing had: `python -m tests.chaos`."""
