"""The `clickstream` command: the operations of `Demo` in a terminal."""
