"""The order and its rules, pure."""
