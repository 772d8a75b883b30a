"""Where state, offsets, alerts and the outbox are kept, so that a crash loses no page and repeats none."""
