"""The language: what travels between the parts of Headgate, and no I/O. Everybody imports it, it imports nobody."""
