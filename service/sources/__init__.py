"""Where bytes come in: each source turns its protocol into arrivals on one bounded queue."""
