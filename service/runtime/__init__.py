"""What a long-running process needs: threads that are watched, clocks, descriptors, systemd, a calm log."""
