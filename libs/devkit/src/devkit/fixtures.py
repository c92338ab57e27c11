"""The pytest plugin: real servers, one of each a session."""
