"""Readers of a news site, through Kafka and OpenSearch, into live charts."""

import logging

logging.getLogger(__name__).addHandler(logging.NullHandler())
