"""Benchmarks of Headgate beside its peers: `python -m benchmarks --help`."""
