"""What people and Prometheus read: /metrics, health, and the API."""
