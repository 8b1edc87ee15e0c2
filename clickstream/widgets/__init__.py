"""Live elements of a notebook: control room, its pipeline, live chart, and faults."""
