"""A recorded fleet of other laws than the demo's and the nulls', replayed through a real daemon. See `__main__.py`."""
