"""Which Kafka and OpenSearch: this machine's, or those that `conf/` names; can they be reached."""
