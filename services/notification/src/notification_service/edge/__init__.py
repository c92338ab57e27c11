"""How notification is called over gRPC."""
