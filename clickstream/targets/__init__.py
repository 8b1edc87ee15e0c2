"""The choice of Kafka and OpenSearch, local or hosted by `conf/`, and reachability checks."""
