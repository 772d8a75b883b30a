"""Spans in columns, joined: from what a span says to what its call, its trace and its session came to."""
