"""Mistral's SDK writes a span of each request itself, beside that of any instrumentation.

Source: wheel mistralai 1.12, extra/observability/otel.py, and its capture.
"""

from service.ingest.vocabulary import Dialect

DIALECT = Dialect(name="mistral", precedence=98, scopes=("mistralai_sdk_tracer",))
