"""What Tocsin exports: metrics of its own health, and the levels of the rules' series."""
