"""How analytics is called over gRPC."""
