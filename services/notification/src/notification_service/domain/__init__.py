"""What customers are told, and where they are reached. No I/O, no protobuf."""
