"""Outcomes and what foretold them, written back as telemetry beside the traces they are of.

The SDK that writes takes a while to import: only a daemon that writes back does, and this file has what others ask for.
"""

LOST = ("full", "expired", "stopped")
"""Why something is not written back: too much waits, it was tried for an hour, or Tocsin stopped."""
EXPORTERS = (
    "opentelemetry.exporter.otlp.proto.http.trace_exporter",
    "opentelemetry.exporter.otlp.proto.http._log_exporter",
)
"""Loggers that say why an endpoint took nothing."""
