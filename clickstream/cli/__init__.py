"""The same verbs in a terminal: the `clickstream` command."""
