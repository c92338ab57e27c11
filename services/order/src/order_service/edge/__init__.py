"""Answers gRPC calls: checks requests and maps them to commands and queries."""
