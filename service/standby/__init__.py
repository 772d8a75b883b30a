"""Several instances of role detect: one leads, the others stand by."""
