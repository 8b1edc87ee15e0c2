"""All that is asked of OpenSearch: client, index, bulk requests and what their answers mean."""
