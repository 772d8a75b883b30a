"""Closing the loop, part by part, each on a simulated fleet with known truth."""
