"""Closing the loop, each part measured on a simulated fleet with known truth."""
