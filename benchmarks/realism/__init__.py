"""What docs/readers.md promises about the readers, measured (`make report`)."""
