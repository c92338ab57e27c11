"""The shop's analytics service."""
