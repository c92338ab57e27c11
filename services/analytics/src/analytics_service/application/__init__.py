"""What analytics does with each message. Handlers are pure; they know protobuf messages, and no database."""
