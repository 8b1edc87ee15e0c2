"""Charts of the index: each has an aggregation, a table and a figure."""
