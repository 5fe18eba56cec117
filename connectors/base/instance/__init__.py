"""One source: where it stands, how it is run, what becomes of what it reads, how it is."""
