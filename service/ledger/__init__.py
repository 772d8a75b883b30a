"""The record of each session: what it went through, what came of it later, and what foretold that."""
