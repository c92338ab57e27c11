"""What notification does, a use case a file. Handlers are pure; they know protobuf messages, and no database."""
