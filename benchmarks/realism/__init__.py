"""What the README promises about the readers, measured (`make report`)."""
