"""One program per side; each does the same work, `benchmarks.sides.side` says which."""
