"""What of the world a source may reach: addresses and files, and HTTP under that policy."""
