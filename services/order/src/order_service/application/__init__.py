"""One file a use case: what happens on each message, command and timer."""
