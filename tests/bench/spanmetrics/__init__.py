"""Tocsin's ingest beside the OpenTelemetry Collector's spanmetrics connector, on bytes alone. See `__main__.py`."""
