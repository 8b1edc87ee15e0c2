"""A chart of the index: its aggregation, its table, its figure."""
