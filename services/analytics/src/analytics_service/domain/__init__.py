"""What analytics records and what it makes of it. No I/O, no protobuf."""
