"""Recorded telemetry instead of a stream: inspected, played through rules, or one series of a CSV file."""
