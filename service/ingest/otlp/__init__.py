"""OTLP bodies to columns and points, whoever decodes them."""
