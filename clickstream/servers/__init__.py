"""Kafka and OpenSearch on this machine, without Docker: fetched, started, found again, stopped."""
