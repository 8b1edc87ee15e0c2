"""The operations that notebooks use, on one target."""
