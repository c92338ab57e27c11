"""Drives a running shop from outside, over gRPC and Kafka alone: for the integration tests, the chaos test and benchmarks."""
