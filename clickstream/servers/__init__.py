"""Kafka and OpenSearch on this machine, without Docker: download, start, find and stop them."""
