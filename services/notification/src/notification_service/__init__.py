"""The shop's notification service."""
