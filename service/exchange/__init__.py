"""What passes between machines: ingest instances report what their partitions counted, detect adds the reports up."""
