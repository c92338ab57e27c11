"""How inventory is called over gRPC."""
