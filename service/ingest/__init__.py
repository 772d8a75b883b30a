"""From bytes to slots: a deterministic core that reads OTLP, joins traces, prices calls and adds them up."""
