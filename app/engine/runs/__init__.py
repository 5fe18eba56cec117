"""Runs: how they start, end, are tried again, rest and come back, and what they leave."""
