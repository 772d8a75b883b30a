"""The hot path with the address and the undefined-behaviour sanitizer."""
