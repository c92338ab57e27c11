"""The read model and the catalogue's table."""
