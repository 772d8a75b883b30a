"""The hot path in Cython, compiled ahead of time: `rows.pxd` is what it holds. Begin there, or with ARCHITECTURE.md."""
