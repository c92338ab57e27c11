"""The rules of a shipping: states, events and calls as plain values."""
