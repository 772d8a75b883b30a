"""Notice in, request out: one file a destination's wire format, and what its answers mean."""
