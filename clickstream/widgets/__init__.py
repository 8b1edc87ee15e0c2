"""What moves on a page: the control room, its pipeline, the live chart, chaos."""
