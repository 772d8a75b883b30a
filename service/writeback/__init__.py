"""Outcomes and what foretold them, written back as telemetry beside the traces they are of."""
