"""What makes a message count once: consumer positions, ids already seen, and messages parked behind a failure."""
