"""What stock and reservations are: states, events, and how one changes the other. No I/O, no protobuf."""
