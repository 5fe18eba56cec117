"""The outside: one file per source of events, the file's name being the registry. They know `topics`, never `app`."""
