"""The command line. Every module here that defines `command` is a command of that name; nothing registers it."""
