"""What docs/speed.md promises, measured."""
