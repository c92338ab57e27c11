"""Streams of events with expected versions and snapshots."""
