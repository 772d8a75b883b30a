"""Core, store and delivery under one seeded scheduler, in no time: `python -m tests.simulation`."""
