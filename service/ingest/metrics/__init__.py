"""Metric points and evaluations on their way into cells."""
