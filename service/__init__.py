"""The daemon: everything that can wait, fail or tick, around a core that cannot."""
