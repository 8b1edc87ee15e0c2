"""Everything the kit asks of OpenSearch: client, index, bulk requests and their answers."""
